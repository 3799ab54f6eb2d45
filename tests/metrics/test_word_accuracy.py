"""Word accuracy: what reads as the right word, and what must not."""

import numpy as np
import pytest

from retrojax.data.words import SIDE, WORDS, held_out_pair, target_words
from retrojax.metrics.words import nearest_word, word_accuracy

CHANCE = 1 / len(WORDS)
PAIRS = [held_out_pair(0, index) for index in range(len(WORDS))]


@pytest.fixture(scope="module")
def candidates():
    return target_words()


def accuracy(images, candidates):
    return word_accuracy(np.stack(images), [pair.word for pair in PAIRS], candidates)


def test_true_targets_are_all_read(candidates):
    assert accuracy([pair.photo.target for pair in PAIRS], candidates) == 1.0


def test_sources_are_read_about_as_well_as_chance(candidates):
    # A few words look alike in both scripts, so a little above it.
    assert accuracy([pair.photo.source for pair in PAIRS], candidates) < 5 * CHANCE


def test_blank_pictures_are_read_at_chance(candidates):
    for grey in (128, 230):
        blank = np.full_like(PAIRS[0].photo.source, grey)
        assert accuracy([blank] * len(PAIRS), candidates) <= 2 * CHANCE


def test_the_mean_of_all_words_is_read_at_chance(candidates):
    mean = np.rint(candidates.mean(axis=0)).astype(np.uint8)
    assert accuracy([mean] * len(PAIRS), candidates) <= 2 * CHANCE


def test_another_word_is_read_as_that_word(candidates):
    read = [nearest_word(image, candidates) for image in candidates]
    assert read == list(range(len(WORDS)))


def test_a_right_word_is_read_through_blur_and_noise_but_not_at_a_wrong_place(candidates):
    noise = np.random.default_rng(0).normal(0, 25, (len(PAIRS), SIDE, SIDE, 3))
    rough = [
        np.clip(
            (pair.photo.target + np.roll(pair.photo.target, 1, axis=1) * 1.0) / 2 + extra, 0, 255
        )
        for pair, extra in zip(PAIRS, noise, strict=True)
    ]
    assert accuracy([image.astype(np.uint8) for image in rough], candidates) > 0.95
    moved = [np.roll(pair.photo.target, 6, axis=1) for pair in PAIRS]
    assert accuracy(moved, candidates) < 0.5


def test_distances_do_not_wrap_around():
    candidates = np.stack([np.full((2, 2, 3), grey, np.uint8) for grey in (0, 120)])
    assert nearest_word(np.full((2, 2, 3), 255, np.uint8), candidates) == 1


def test_of_equal_distances_the_first_is_read():
    candidates = np.stack([np.full((2, 2, 3), grey, np.uint8) for grey in (90, 110, 90)])
    assert nearest_word(np.full((2, 2, 3), 100, np.uint8), candidates) == 0


def test_input_that_does_not_fit_is_refused():
    image, words = np.zeros((4, 4, 3), np.uint8), np.zeros((5, 4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match=r"candidates have shape .* must be \(words, 4, 4, 3\)"):
        nearest_word(image, words[:, :3])
    with pytest.raises(ValueError, match="at least one word"):
        nearest_word(image, words[:0])
    with pytest.raises(ValueError, match="at least one image, got none"):
        word_accuracy(image[None][:0], [], words)
    with pytest.raises(ValueError, match="1 images need as many words, got 2"):
        word_accuracy(image[None], [0, 1], words)
