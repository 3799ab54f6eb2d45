"""Batches: a pure function of (seed, step), windows in bounds, pairs at the same place."""

import itertools
import threading
from dataclasses import replace

import numpy as np
import pytest

import retrojax.data.pipeline as pipeline
from retrojax.data import Photo, PhotoData, Photos, batches

WINDOW = 8


def made(count=5, *, pairs=False):
    """Photographs whose pixels are (number of the photograph, row, column)."""

    def read(index):
        height, width = 20 + index, 30 - index
        y, x = np.mgrid[0:height, 0:width]
        source = np.stack([np.full_like(x, index), y, x], -1).astype(np.uint8)
        return Photo(f"{index}", source, 255 - source if pairs else None)

    photos = Photos(count, read)
    return PhotoData(photos, (photos[0],), "made", (), "")


def run(data, *, seed=0, first_step=0, steps=7, batch_size=4, window=WINDOW, zoom=1.0):
    return list(
        batches(
            data,
            batch_size=batch_size,
            window=window,
            seed=seed,
            first_step=first_step,
            steps=steps,
            zoom=zoom,
        )
    )


def equal(a, b):
    return all(np.array_equal(x["source"], y["source"]) for x, y in zip(a, b, strict=True))


def test_a_run_resumed_at_any_step_sees_what_the_whole_run_saw():
    data = made()
    whole = run(data)
    for k in range(7):
        assert equal(run(made(), first_step=k, steps=7 - k), whole[k:])


def test_the_number_of_threads_changes_nothing(monkeypatch):
    whole = run(made())
    monkeypatch.setattr(pipeline, "_THREADS", 4)
    monkeypatch.setattr(pipeline, "_BATCHES_AHEAD", 8)
    assert equal(run(made()), whole)


def test_seeds_give_different_streams_also_shifted_by_an_epoch():
    streams = [np.concatenate([b["source"] for b in run(made(), seed=s)]) for s in range(4)]
    for a, b in itertools.combinations(streams, 2):
        assert not np.array_equal(a, b)
        assert not np.array_equal(a[5:], b[:-5])


def test_shapes_and_type():
    (batch,) = run(made(), steps=1)
    assert batch.keys() == {"source"}
    assert batch["source"].shape == (4, WINDOW, WINDOW, 3) and batch["source"].dtype == np.uint8


def test_each_epoch_visits_each_photograph_once_in_an_order_of_its_own():
    shown = np.concatenate([b["source"][:, 0, 0, 0] for b in run(made(), steps=25)])
    epochs = shown.reshape(-1, 5)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), np.tile(np.arange(5), (20, 1)))
    assert len({tuple(epoch) for epoch in epochs}) > 10


def test_windows_are_contiguous_and_reach_every_place_and_edge():
    windows = np.concatenate([b["source"] for b in run(made(1), steps=200)]).astype(int)
    offsets = np.arange(WINDOW)
    np.testing.assert_array_equal(
        windows[..., 1] - windows[:, :1, :1, 1], offsets[:, None] + 0 * windows[..., 1]
    )
    np.testing.assert_array_equal(
        windows[..., 2] - windows[:, :1, :1, 2], offsets + 0 * windows[..., 2]
    )
    assert set(windows[:, 0, 0, 1]) == set(range(20 - WINDOW + 1))
    assert set(windows[:, 0, 0, 2]) == set(range(30 - WINDOW + 1))


def test_a_window_as_large_as_the_photograph_is_the_photograph():
    (batch,) = run(made(1), steps=1, batch_size=1, window=20)
    assert batch["source"][0, :, 0, 1].tolist() == list(range(20))


def test_pairs_are_cut_at_the_same_place():
    for batch in run(made(pairs=True)):
        np.testing.assert_array_equal(batch["target"], 255 - batch["source"])


def test_a_batch_larger_than_the_data_is_filled_over_epochs():
    (batch,) = run(made(2), steps=1, batch_size=9)
    assert sorted(batch["source"][:8, 0, 0, 0].tolist()) == [0] * 4 + [1] * 4


def test_no_steps_is_an_empty_stream():
    assert run(made(), steps=0) == []


def test_closing_ends_the_reading_threads():
    stream = batches(made(), batch_size=2, window=8, seed=0, first_step=0, steps=1000)
    next(stream)
    stream.close()
    for thread in threading.enumerate():
        if thread.name.startswith("grain-prefetch"):
            thread.join(timeout=5)
            assert not thread.is_alive()
    assert next(stream, None) is None


def test_a_photograph_smaller_than_the_window_is_named():
    with pytest.raises(ValueError, match=r"is \d+x2\d pixels, smaller than the window of 28"):
        run(made(), window=28)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("batch_size", 0),
        ("window", 0),
        ("seed", -1),
        ("seed", 2**32),
        ("first_step", -1),
        ("steps", -1),
    ],
)
def test_a_number_out_of_range_is_refused_at_once(option, value):
    options = {"batch_size": 1, "window": 8, "seed": 0, "first_step": 0, "steps": 1, option: value}
    with pytest.raises(ValueError, match=f"{option} {value} must be"):
        batches(made(), **options)


@pytest.mark.parametrize("zoom", [1.0, 0.5])
def test_the_shares_of_several_readers_are_the_batch_and_read_no_more(zoom):
    options = {"batch_size": 6, "window": 8, "seed": 3, "first_step": 2, "steps": 3, "zoom": zoom}
    whole = list(batches(made(), **options))
    for parts in (2, 3):
        read = [list(batches(made(), share=(i, parts), **options)) for i in range(parts)]
        for step, batch in enumerate(whole):
            together = np.concatenate([shares[step]["source"] for shares in read])
            np.testing.assert_array_equal(together, batch["source"])
    asked = set()
    photos = made().train
    recorded = Photos(5, lambda index: asked.add(index) or photos[index])
    data = PhotoData(recorded, (photos[0],), "recorded", (), "")
    (part,) = batches(data, share=(1, 3), **{**options, "first_step": 0, "steps": 1})
    assert part["source"].shape[0] == len(asked) == 2


def test_a_share_that_is_none_is_refused():
    options = {"batch_size": 6, "window": 8, "seed": 0, "first_step": 0, "steps": 1}
    for share in ((2, 2), (0, 4)):
        with pytest.raises(ValueError, match="share . of . must be one of"):
            batches(made(), share=share, **options)


def two_domains(sources=3, targets=5):
    data = made(sources)
    return replace(data, targets=Photos(targets, lambda index: made(10).train[index]))


def test_an_epoch_of_two_domains_is_as_long_as_the_larger_and_targets_are_drawn():
    data = two_domains()
    drawn = run(data, batch_size=5, steps=40)
    for batch in drawn:
        assert batch["source"].shape == batch["target"].shape == (5, WINDOW, WINDOW, 3)
        sources = sorted(batch["source"][:, 0, 0, 0])
        # 5 places of an epoch over 3 photographs: two of them come twice.
        assert sources == [0, 0, 1, 1, 2]
    targets = [int(batch["target"][i, 0, 0, 0]) for batch in drawn for i in range(5)]
    counts = np.bincount(targets, minlength=5)
    assert counts.min() > 20 and counts.max() < 65
    places = {tuple(b["target"][0, 0, 0, 1:]) == tuple(b["source"][0, 0, 0, 1:]) for b in drawn}
    assert False in places, "the two windows are cut at places of their own"


def test_two_domains_resume_like_one():
    data = two_domains()
    whole, rest = run(data, steps=6), run(data, first_step=3, steps=3)
    for a, b in zip(whole[3:], rest, strict=True):
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def test_zooming_shrinks_each_axis_alike_for_a_step_and_never_below_the_window():
    data = made(1)
    steps_per_pixel = []
    for batch in run(data, steps=30, zoom=0.2):
        window = batch["source"][0].astype(float)
        # Rows and columns are written in the pixels: their slope is the inverse of the zoom.
        down = (window[-1, :, 1] - window[0, :, 1]).mean() / (WINDOW - 1)
        right = (window[:, -1, 2] - window[:, 0, 2]).mean() / (WINDOW - 1)
        others = batch["source"].astype(float)
        slopes = (others[:, -1, :, 1] - others[:, 0, :, 1]).mean(axis=1) / (WINDOW - 1)
        assert np.ptp(slopes) < 0.35
        steps_per_pixel.append((down, right))
    down, right = np.array(steps_per_pixel).T
    assert down.max() > 1.4 and down.max() < 20 / WINDOW + 0.3
    assert np.abs(down - right).max() > 0.3, "each axis has a factor of its own"


def test_with_zoom_windows_are_cells_of_a_grid_laid_anywhere():
    """20 rows hold two windows of 8 with 4 to spare, 30 columns three with 6 to spare."""
    batch = np.concatenate([b["source"] for b in run(made(1), batch_size=64, steps=5, zoom=0.999)])
    tops, lefts = batch[:, 0, 0, 1], batch[:, 0, 0, 2]
    assert set(tops) == {*range(0, 5), *range(8, 13)}
    assert set(lefts) == {*range(0, 7), *range(8, 15), *range(16, 23)}


def test_images_of_another_size_come_from_their_step_on():
    small = made(1)
    data = replace(made(1), later=cut_to(small, 9), later_from=3)
    assert equal(run(data)[:3], run(small)[:3])
    assert equal(run(data)[3:], run(cut_to(small, 9))[3:])
    assert equal(run(data, first_step=5, steps=2), run(data)[5:])


def cut_to(data, size):
    """The photographs cut to a square of `size` pixels."""
    cut = [Photo(photo.name, photo.source[:size, :size], None) for photo in data.train]
    return replace(data, train=Photos(len(cut), cut.__getitem__))


def test_a_zoom_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"zoom 0\.0 must be above 0"):
        run(made(), zoom=0.0)
