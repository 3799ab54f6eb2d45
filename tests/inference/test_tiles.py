import numpy as np
import pytest

from retrojax.inference.tiles import run_tiled, tile_axis


@pytest.mark.parametrize("length", [1, 2, 63, 64, 65, 200, 256, 257, 700, 1001])
@pytest.mark.parametrize("surround", [0, 5])
@pytest.mark.parametrize("multiple", [1, 4, 32])
def test_weights_add_up_to_one_and_every_pixel_is_there(length, surround, multiple):
    reach, tile = 30, 256
    axis = tile_axis(length, tile=tile, reach=reach, multiple=multiple, surround=surround)
    size = axis.weights.shape[1]
    total = np.zeros(len(axis.index))
    for start, weights in zip(axis.starts, axis.weights, strict=True):
        total[start : start + size] += weights
        # What lies within reach of an inner edge counts for nothing.
        if start > 0:
            assert not weights[:reach].any()
        if start + size < len(axis.index):
            assert not weights[-reach:].any()
    np.testing.assert_allclose(total, 1.0, atol=1e-6)
    assert np.array_equal(axis.index[axis.lead : axis.lead + length], np.arange(length))
    assert size <= tile
    assert all(start % multiple == 0 for start in axis.starts)
    assert size % multiple == 0


def test_surroundings_are_reflected():
    axis = tile_axis(100, tile=256, reach=0, multiple=4, surround=6)
    assert axis.lead == 8
    assert list(axis.index[:10]) == [8, 7, 6, 5, 4, 3, 2, 1, 0, 1]
    assert list(axis.index[106:112]) == [98, 99, 98, 97, 96, 95]


def test_bands_follow_each_other_and_copy_the_picture():
    picture = np.random.default_rng(0).normal(size=(611, 433, 2)).astype(np.float32)
    shapes = set()

    def run(rows, columns, top, left):
        shapes.add((len(rows), len(columns)))
        return picture[rows[:, None], columns]

    bands = list(run_tiled(run, 611, 433, tile=192, reach=10, surround=3))
    assert [rows.start for rows, _ in bands] == [0] + [rows.stop for rows, _ in bands[:-1]]
    np.testing.assert_allclose(np.concatenate([band for _, band in bands]), picture, atol=1e-5)
    assert shapes == {(192, 192)}


def test_a_picture_of_one_tile_is_handed_on_without_a_copy():
    outputs = []

    def run(rows, columns, top, left):
        outputs.append(np.float32(rows[:, None, None] * 1000 + columns[:, None]))
        return outputs[-1]

    ((rows, band),) = run_tiled(run, 90, 50, tile=192, reach=10, surround=3)
    assert rows == slice(0, 90) and np.shares_memory(band, outputs[0])
    np.testing.assert_array_equal(band[..., 0], np.add.outer(np.arange(90) * 1000, np.arange(50)))


def test_a_tile_smaller_than_the_reach_is_refused():
    with pytest.raises(ValueError, match="tile 128 is too small for reach 60"):
        tile_axis(1000, tile=128, reach=60, multiple=4, surround=0)


def test_tiles_that_disagree_are_blended_without_a_step():
    """Instance norm gives each tile its own level: here every tile is one flat random value."""
    levels = np.random.default_rng(0)

    def flat(rows, columns, top, left):
        return np.full((len(rows), len(columns), 1), levels.uniform(0, 100), np.float32)

    bands = [band for _, band in run_tiled(flat, 500, 700, tile=256, reach=20, multiple=4)]
    picture = np.concatenate(bands)[..., 0]
    assert np.ptp(picture) > 20
    for axis in (0, 1):
        assert np.abs(np.diff(picture, axis=axis)).max() < 100 / 60  # RAMP is 64 pixels.
