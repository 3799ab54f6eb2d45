"""Printed words: what is drawn, what is reserved, and that it reads as photographs do."""

import unicodedata

import numpy as np
import pytest

from retrojax.data import batches, words
from retrojax.data.words import (
    INK,
    PAPER,
    PRINT,
    SIDE,
    WORDS,
    Placement,
    held_out_pair,
    render_word,
    target_words,
    train_pair,
    word_photos,
)

MIDDLE = Placement(size=11, bold=False, middle=24, baseline=27)


def scripts(text):
    return {unicodedata.name(letter).split()[0] for letter in text}


def test_the_vocabulary_is_a_bijection_between_two_scripts():
    english, russian = zip(*WORDS, strict=True)
    assert len(set(english)) == len(set(russian)) == len(WORDS) >= 48
    assert all(scripts(word) == {"LATIN"} and len(word) <= 5 for word in english)
    assert all(scripts(word) == {"CYRILLIC"} and len(word) <= 5 for word in russian)


def test_no_two_words_look_alike():
    # A missing glyph is drawn as one box for every letter: words of one length would be equal.
    pictures = np.stack([render_word(word, MIDDLE) for pair in WORDS for word in pair])
    assert len(np.unique(pictures.reshape(len(pictures), -1), axis=0)) == len(pictures)


def test_ink_is_dark_paper_is_light_and_the_edges_lie_between():
    picture = render_word("дом", MIDDLE)
    assert picture.shape == (SIDE, SIDE, 3) and picture.dtype == np.uint8
    assert np.ptp(picture, axis=-1).max() == 0
    assert picture.max() == PAPER and picture.min() < INK + 20
    assert len(np.unique(picture)) > 10


def test_a_word_moves_with_its_placement_and_grows_with_size_and_weight():
    picture = render_word("river", MIDDLE)
    moved = render_word("river", MIDDLE._replace(middle=22, baseline=30))
    np.testing.assert_array_equal(moved, np.roll(picture, (3, -2), axis=(0, 1)))
    darkness = [
        (PAPER - render_word("river", place).astype(float)).sum()
        for place in (MIDDLE, MIDDLE._replace(size=12), MIDDLE._replace(size=12, bold=True))
    ]
    assert darkness == sorted(darkness) and darkness[2] > 1.2 * darkness[0]


def test_a_word_stands_in_the_middle_of_its_placement_in_both_languages():
    for english, russian in WORDS:
        for word in (english, russian):
            columns = np.flatnonzero((render_word(word, MIDDLE)[..., 0] < PAPER).any(axis=0))
            assert abs((columns[0] + columns[-1] + 1) / 2 - MIDDLE.middle) <= 2, word


def test_every_word_fits_wherever_it_may_be_drawn():
    shift, size = words._SHIFT, words._SIZES[1]
    for across in (-shift, shift):
        for down in (-shift, shift):
            at = Placement(size, True, SIDE // 2 + across, SIDE // 2 + words._RISE + down)
            for pair in WORDS:
                for word in pair:
                    render_word(word, at)


def test_a_word_that_leaves_the_picture_is_refused():
    with pytest.raises(ValueError, match=r"'window' .*leaves a picture of 48x48 pixels; choose"):
        render_word("window", MIDDLE._replace(middle=10))


def test_a_missing_font_is_one_line_that_names_it(monkeypatch):
    words._font.cache_clear()
    monkeypatch.setattr(words, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"^the font .*DejaVuSans.ttf is missing .*reinstall"):
        words._font(11, False)
    words._font.cache_clear()


def test_a_pair_is_a_function_of_seed_and_index():
    first, again = train_pair(3, 7), train_pair(3, 7)
    np.testing.assert_array_equal(first.photo.source, again.photo.source)
    others = (train_pair(4, 7), train_pair(3, 7 + len(WORDS)), held_out_pair(3, 7))
    for other in others:
        assert other.word == first.word
        assert (other.photo.source != first.photo.source).any()


def test_the_target_is_the_clean_print_and_the_source_the_word_at_its_placement():
    for index in range(20):
        word, placement, photo = train_pair(0, index)
        english, russian = WORDS[word]
        np.testing.assert_array_equal(photo.target, render_word(russian, PRINT))
        np.testing.assert_array_equal(photo.target, target_words()[word])
        clean = render_word(english, placement)[..., 0].astype(float).ravel()
        source = photo.source[..., 0].astype(float).ravel()
        assert np.corrcoef(clean, source)[0, 1] > 0.4
        assert photo.name.endswith(english)


def test_paper_noise_size_weight_and_place_of_the_sources_vary():
    pairs = [train_pair(0, index) for index in range(100)]
    corners = np.stack([pair.photo.source[:12, :, 0] for pair in pairs]).astype(float) / 255
    assert np.ptp(corners.mean(axis=(1, 2))) > 0.25
    assert np.ptp(corners.std(axis=(1, 2))) > 0.05
    for values in zip(*(pair.placement for pair in pairs), strict=True):
        assert len(set(values)) > 1


def test_no_held_out_rendering_is_ever_trained_on():
    train = {(word, place) for word, place, _ in (train_pair(0, i) for i in range(600))}
    held = {(word, place) for word, place, _ in (held_out_pair(0, i) for i in range(200))}
    assert not train & held
    # And by the rule, not by luck: the remainder tells them apart.
    assert {(word + sum(place)) % 8 for word, place in held} == {0}
    assert {(word + sum(place)) % 8 for word, place in train} == set(range(1, 8))


def test_words_take_turns_among_what_is_held_out():
    pairs = [held_out_pair(0, index) for index in range(2 * len(WORDS))]
    assert [pair.word for pair in pairs] == 2 * list(range(len(WORDS)))


def test_batches_read_whole_pairs():
    data = word_photos(count=40, held_out=3, seed=5)
    (batch,) = batches(data, batch_size=6, window=SIDE, seed=0, first_step=2, steps=1)
    assert batch["source"].shape == batch["target"].shape == (6, SIDE, SIDE, 3)
    known = [train_pair(5, index).photo for index in range(40)]
    for source, target in zip(batch["source"], batch["target"], strict=True):
        assert any(
            (photo.source == source).all() and (photo.target == target).all() for photo in known
        )
    assert [photo.name for photo in data.validation] == ["00000-bag", "00001-ball", "00002-bee"]


def test_the_fingerprint_follows_what_is_drawn(monkeypatch):
    prints = {
        word_photos(count=count, held_out=1, seed=seed).fingerprint
        for count, seed in ((40, 0), (41, 0), (40, 1))
    }
    assert len(prints) == 3
    assert word_photos(count=40, held_out=1, seed=0).fingerprint in prints
    monkeypatch.setattr(words, "_NOISE", (0.0, 0.1))
    assert word_photos(count=40, held_out=1, seed=0).fingerprint not in prints


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "count 0 must be at least 1"),
        ({"held_out": 0}, "held_out 0 must be at least 1"),
        ({"seed": -1}, "seed -1 must be at least 0"),
    ],
)
def test_numbers_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        word_photos(**options)
