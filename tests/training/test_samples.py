import numpy as np
import pytest
from PIL import Image

from retrojax.training.samples import CAPTION_HEIGHT, GAP, sample_grid, write_png


def flat(value, height=40, width=60):
    return np.full((height, width, 3), value, np.uint8)


def test_pictures_keep_their_pixels_at_their_place():
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (2, 3, 40, 60, 3), dtype=np.uint8)
    grid = sample_grid([list(row) for row in pictures], labels=["source", "output", "target"])
    assert grid.shape == (CAPTION_HEIGHT + 2 * (40 + GAP), GAP + 3 * (60 + GAP), 3)
    for row in range(2):
        for column in range(3):
            y, x = CAPTION_HEIGHT + row * (40 + GAP), GAP + column * (60 + GAP)
            np.testing.assert_array_equal(grid[y : y + 40, x : x + 60], pictures[row, column])


def test_photographs_of_several_shapes_share_a_grid():
    grid = sample_grid([[flat(200), flat(100)], [flat(50, 80, 30), flat(25, 80, 30)]], labels="ab")
    assert grid.shape == (CAPTION_HEIGHT + 40 + 80 + 2 * GAP, GAP + 2 * (60 + GAP), 3)
    for value, area in ((200, 40 * 60), (100, 40 * 60), (50, 80 * 30), (25, 80 * 30)):
        body = grid[CAPTION_HEIGHT:]
        assert np.sum(np.all(body == value, axis=-1)) == area


def test_captions_stand_over_their_own_column():
    named = sample_grid([[flat(0), flat(0)]], labels=["source", "output"])
    half = sample_grid([[flat(0), flat(0)]], labels=["source", ""])
    middle = named.shape[1] // 2
    strip = slice(0, CAPTION_HEIGHT)
    np.testing.assert_array_equal(named[strip, :middle], half[strip, :middle])
    assert named[strip, middle:].max() > 150 > half[strip, middle:].max()
    # A caption that is too long for its column is cut, not written over the neighbour's.
    long = sample_grid([[flat(0), flat(0)]], labels=["source " * 9, ""])
    assert long[strip, middle:].max() < 150


def test_a_ragged_grid_is_refused():
    with pytest.raises(ValueError, match=r"row 1 has 1 pictures for 2 columns \(source, output\)"):
        sample_grid([[flat(0), flat(0)], [flat(0)]], labels=["source", "output"])
    with pytest.raises(ValueError, match="at least one row"):
        sample_grid([], labels=["source"])


def test_png_is_lossless_and_leaves_nothing_behind(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    path = tmp_path / "samples" / "00000500.png"
    write_png(path, flat(0))
    write_png(path, image)
    with Image.open(path) as read:
        assert read.format == "PNG"
        np.testing.assert_array_equal(np.asarray(read), image)
    assert [p.name for p in path.parent.iterdir()] == ["00000500.png"]


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    write_png(path, flat(7))
    before = path.read_bytes()

    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        write_png(path, flat(9))
    assert path.read_bytes() == before
