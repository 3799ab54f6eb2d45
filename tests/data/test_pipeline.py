"""Batches: a pure function of (seed, step), windows in bounds, pairs at the same place."""

import itertools
import threading

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


def run(data, *, seed=0, first_step=0, steps=7, batch_size=4, window=WINDOW):
    return list(
        batches(
            data,
            batch_size=batch_size,
            window=window,
            seed=seed,
            first_step=first_step,
            steps=steps,
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
