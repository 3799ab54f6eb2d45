"""Sources: what is opened, held out and prepared once, and every bad input's message."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import retrojax.data.builder as builder
from retrojax.data import default_cache_dir, open_data
from retrojax.data.photos import Photo, Photos, held_out


def fill(folder, names, *, size=(48, 40), shade=0):
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        rng = np.random.default_rng(i + 1000 * shade)
        pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


@pytest.fixture
def opened(tmp_path):
    def call(spec, *, photo_size=64, window=32):
        cache = tmp_path / "cache"
        return open_data(spec, photo_size=photo_size, window=window, cache_dir=cache)

    return call


@pytest.fixture
def decoded(monkeypatch):
    """Files decoded by a preparation."""
    files = []
    real = builder.decode_photo

    def count(file, **options):
        files.append(file)
        return real(file, **options)

    monkeypatch.setattr(builder, "decode_photo", count)
    return files


def test_bundled_photographs_hold_out_three_by_name(opened):
    data = opened("bundled", photo_size=128, window=64)
    assert {photo.name for photo in data.validation} == {"coffee", "flower", "chelsea"}
    names = [photo.name for photo in data.train]
    assert names == ["astronaut", "china", "motorcycle_left", "motorcycle_right", "rocket"]
    for photo in (*data.train, *data.validation):
        assert photo.source.dtype == np.uint8 and max(photo.source.shape[:2]) == 128
        assert photo.source.std() > 20 and photo.target is None
    assert "coffee" in data.description and not data.skipped


def test_a_second_opening_decodes_no_file_and_reads_the_same(tmp_path, opened, decoded):
    folder = fill(tmp_path / "in", ["a.png", "b.png", "c.png"])
    first = opened(f"folder:{folder}")
    assert len(decoded) == 3
    second = opened(f"folder:{folder}")
    assert len(decoded) == 3 and second.fingerprint == first.fingerprint
    for a, b in zip(first.train, second.train, strict=True):
        assert a.name == b.name
        np.testing.assert_array_equal(a.source, b.source)


def test_prepared_pixels_are_those_of_the_file(tmp_path, opened):
    folder = fill(tmp_path / "in", ["a.png", "b.png"])
    data = opened(f"folder:{folder}")
    for photo in (*data.train, *data.validation):
        np.testing.assert_array_equal(photo.source, np.asarray(Image.open(folder / photo.name)))


def test_a_changed_folder_or_size_is_prepared_anew(tmp_path, opened, decoded):
    folder = fill(tmp_path / "in", ["a.png", "b.png"])
    prints = {opened(f"folder:{folder}").fingerprint}
    prints.add(opened(f"folder:{folder}", photo_size=40).fingerprint)
    fill(folder, ["c.png"])
    prints.add(opened(f"folder:{folder}").fingerprint)
    fill(folder, ["a.png"], size=(50, 40))
    data = opened(f"folder:{folder}")
    prints.add(data.fingerprint)
    assert len(prints) == 4 and len(decoded) == 2 + 2 + 3 + 3
    assert {photo.source.shape[1] for photo in (*data.train, *data.validation)} == {48, 50}


def test_a_copy_of_a_small_set_is_the_same_set_and_of_a_large_one_another(
    tmp_path, opened, monkeypatch
):
    folder = fill(tmp_path / "in", ["a.png", "b.png"])
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy, copy_function=shutil.copyfile)
    for path in copy.iterdir():
        os.utime(path, (0, 0))
    prints = [opened(f"folder:{one}").fingerprint for one in (folder, copy)]
    assert prints[0] == prints[1]
    monkeypatch.setattr("retrojax.data.builder._SMALL", 0)
    prints += [opened(f"folder:{one}").fingerprint for one in (folder, copy)]
    assert len(set(prints)) == 3


def test_a_preparation_cut_short_leaves_nothing_that_looks_whole(tmp_path, opened, monkeypatch):
    folder = fill(tmp_path / "in", ["a.png", "b.png"])
    with monkeypatch.context() as patch:
        patch.setattr(builder, "encode_png", lambda image: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            opened(f"folder:{folder}")
    assert len(opened(f"folder:{folder}").train) == 1


def test_of_two_preparations_at_once_the_loser_reads_what_the_winner_wrote(
    tmp_path, opened, monkeypatch
):
    folder = fill(tmp_path / "in", ["a.png", "b.png"])
    real, calls = builder.encode_png, []

    def overtaken(image):
        calls.append(image)
        if len(calls) == 1:
            monkeypatch.setattr(builder, "encode_png", real)
            opened(f"folder:{folder}")
        return real(image)

    monkeypatch.setattr(builder, "encode_png", overtaken)
    assert len(opened(f"folder:{folder}").train) == 1 and calls
    incomplete = [p for p in (tmp_path / "cache").rglob("*") if "incomplete" in p.name]
    assert not incomplete


def test_a_tenth_of_a_folder_is_held_out(tmp_path, opened):
    folder = fill(tmp_path / "in", [f"{i:02d}.png" for i in range(21)])
    data = opened(f"folder:{folder}")
    assert [photo.name for photo in data.validation] == ["05.png", "15.png"]
    assert not {photo.name for photo in data.train} & {photo.name for photo in data.validation}
    assert len(data.train) == 19


@pytest.mark.parametrize("count", [2, 3, 9, 10, 19, 20, 79, 80, 1000])
def test_held_out_is_one_to_eight_distinct_indices(count):
    chosen = held_out(count)
    assert len(set(chosen)) == len(chosen) == min(8, max(1, count // 10))
    assert all(0 <= index < count for index in chosen)


def test_pairs_come_with_their_targets(tmp_path, opened):
    sources = fill(tmp_path / "s", ["a.png", "b.png", "c.png"])
    targets = fill(tmp_path / "t", ["c.png", "b.png", "a.png"], shade=1)
    data = opened(f"pairs:{sources},{targets}")
    for photo in (*data.train, *data.validation):
        for folder, image in ((sources, photo.source), (targets, photo.target)):
            file = folder / f"{photo.name}.png"
            np.testing.assert_array_equal(image, np.asarray(Image.open(file)))


def test_unreadable_files_are_named_and_skipped_on_every_opening(tmp_path, opened):
    folder = fill(tmp_path / "in", ["a.png", "b.png"])
    (folder / "bad.jpg").write_bytes(b"no picture")
    for _ in range(2):
        (message,) = opened(f"folder:{folder}").skipped
        assert "bad.jpg" in message and "not an image" in message


def test_kept_photographs_are_read_once_and_only_while_they_fit():
    reads = []

    def read(index):
        reads.append(index)
        return Photo(str(index), np.zeros((10, 10, 3), np.uint8), None)

    photos = Photos(3, read, memory=700)
    for _ in range(2):
        assert [photo.name for photo in photos] == ["0", "1", "2"]
    assert reads == [0, 1, 2, 2]
    with pytest.raises(ValueError, match="read-only"):
        photos[0].source[0] = 1
    with pytest.raises(IndexError, match="3 of 3"):
        photos[3]


def test_opening_and_preparing_prints_nothing(tmp_path, opened, capfd):
    opened(f"folder:{fill(tmp_path / 'in', ['a.png', 'b.png'])}")
    assert capfd.readouterr() == ("", "")


def test_many_photographs_show_progress_on_stderr(tmp_path, opened, capfd):
    opened(f"folder:{fill(tmp_path / 'in', [f'{i}.png' for i in range(51)])}")
    out, err = capfd.readouterr()
    assert "Preparing photographs" in err and not out


def test_no_tensorflow_is_loaded_and_the_import_is_lazy(tmp_path):
    program = f"""
import sys
import retrojax.data
assert not {{"grain", "tensorflow_datasets", "orbax", "skimage", "sklearn"}} & set(sys.modules)
data = retrojax.data.open_data("bundled", photo_size=64, window=32, cache_dir=__import__(
    "pathlib").Path({str(tmp_path)!r}))
stream = retrojax.data.batches(data, batch_size=2, window=32, seed=0, first_step=0, steps=1)
assert next(stream)["source"].shape == (2, 32, 32, 3)
stream.close()
assert not {{"tensorflow", "pooch", "cv2", "skimage", "sklearn"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_cache_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("RETROJAX_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "retrojax"
    monkeypatch.setenv("RETROJAX_CACHE", str(tmp_path / "own"))
    assert default_cache_dir() == tmp_path / "own"


@pytest.mark.parametrize(
    "spec",
    ["", "bundle", "bundled:x", "folder", "folder:", "pairs:", "pairs:a", "pairs:a,", "tfds:"],
)
def test_a_malformed_spec_names_a_form(opened, spec):
    with pytest.raises(ValueError, match="pairs:SOURCE,TARGET"):
        opened(spec)


class TestBadInput:
    """Each is one line, raised before any training code runs."""

    def test_no_such_folder(self, tmp_path, opened):
        with pytest.raises(ValueError, match=r"nowhere: no such folder"):
            opened(f"folder:{tmp_path}/nowhere")
        (tmp_path / "file").touch()
        with pytest.raises(ValueError, match=r"is a file, not a folder"):
            opened(f"folder:{tmp_path}/file")

    def test_no_image_in_the_folder(self, tmp_path, opened):
        (tmp_path / "in").mkdir()
        with pytest.raises(ValueError, match=r"no image files in it; looked for \.jpg"):
            opened(f"folder:{tmp_path}/in")

    def test_nothing_readable(self, tmp_path, opened):
        for name in ("a.png", "b.jpg"):
            (tmp_path / "in").mkdir(exist_ok=True)
            (tmp_path / "in" / name).write_bytes(b"?")
        with pytest.raises(
            ValueError, match=r"^no readable photograph: .*a\.png: .*b\.jpg: [^\n]*$"
        ):
            opened(f"folder:{tmp_path}/in")

    def test_one_photograph_only(self, tmp_path, opened):
        folder = fill(tmp_path / "in", ["a.png"])
        with pytest.raises(ValueError, match=r"only a\.png can be read; at least 2"):
            opened(f"folder:{folder}")

    def test_smaller_than_the_window(self, tmp_path, opened):
        folder = fill(tmp_path / "in", ["a.png", "b.png"])
        fill(folder, ["small.png"], size=(48, 20))
        with pytest.raises(ValueError, match=r"small\.png is 48x20 .* window of 32; .* --crop"):
            opened(f"folder:{folder}")
        with pytest.raises(ValueError, match=r"3 photographs are too small"):
            opened(f"folder:{folder}", window=41)

    def test_window_larger_than_the_photo_size(self, opened):
        with pytest.raises(ValueError, match="window 65 must be between 1 and the photo size 64"):
            opened("bundled", window=65)

    def test_pairs_that_do_not_match(self, tmp_path, opened):
        sources = fill(tmp_path / "s", ["a.png", "b.png"])
        targets = fill(tmp_path / "t", ["a.png", "c.png"])
        with pytest.raises(ValueError, match=r"do not match: b only in \S+s; c only in \S+t;"):
            opened(f"pairs:{sources},{targets}")

    def test_two_files_of_one_stem(self, tmp_path, opened):
        sources = fill(tmp_path / "s", ["a.png", "a.bmp"])
        with pytest.raises(ValueError, match=r"a\.bmp and a\.png have the same stem"):
            opened(f"pairs:{sources},{sources}")

    def test_pairs_of_different_frames(self, tmp_path, opened):
        sources = fill(tmp_path / "s", ["a.png"])
        targets = fill(tmp_path / "t", ["a.png"], size=(40, 48))
        with pytest.raises(ValueError, match=r"a: source and target are 48x40 and 40x48"):
            opened(f"pairs:{sources},{targets}")

    def test_too_many_pixels(self, tmp_path, opened, monkeypatch):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1500)
        folder = fill(tmp_path / "in", ["a.png", "b.png"])
        with pytest.raises(ValueError, match="more pixels than the limit of 1500"):
            opened(f"folder:{folder}")

    def test_a_cache_that_cannot_be_written(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(ValueError, match="cannot write .*RETROJAX_CACHE"):
            open_data("bundled", photo_size=64, window=32, cache_dir=tmp_path / "file")

    def test_a_damaged_cache(self, tmp_path, opened):
        folder = fill(tmp_path / "in", ["a.png", "b.png"])
        opened(f"folder:{folder}")
        for pattern in ("*.array_record*", "metadata.json", "dataset_info.json"):
            for file in (tmp_path / "cache").rglob(pattern):
                file.unlink()
            with pytest.raises(ValueError, match="are damaged; delete"):
                opened(f"folder:{folder}")
