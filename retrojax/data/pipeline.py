"""Batches of windows, read with Grain.

Contract: the batch for step k is a pure function of (seed, k) and of the data. There is no iterator
state to save: a resumed run asks for `first_step=k` and gets what the run without a break got, on
any number of threads. Batches are uint8; flips, normalisation and rendering happen on the device.
"""

import functools
from collections.abc import Generator
from typing import Final

import numpy as np

from .photos import Photo, PhotoData, check_window

_THREADS: Final = 2
_BATCHES_AHEAD: Final = 4
# Two streams of random numbers from one seed.
_ORDER, _PLACES = 0, 1

Batch = dict[str, np.ndarray]


def batches(
    data: PhotoData, *, batch_size: int, window: int, seed: int, first_step: int, steps: int
) -> Generator[Batch, None, None]:
    """Yields the batches of steps `first_step` to `first_step + steps - 1`.

    Each epoch visits every photograph once, in its own order, and cuts one window from each at a
    uniformly drawn place; batches run across the borders of epochs.

    Args:
        data: the photographs.
        batch_size: windows in a batch.
        window: side of a window in pixels.
        seed: 0 to 2**32 - 1; two seeds give two unrelated streams.
        first_step: number of the first batch, from 0.
        steps: how many batches.

    Returns:
        A generator of {"source": uint8 [batch_size, window, window, 3]}, for pairs also "target",
        cut at the same place. `close()` ends its reading threads.

    Raises:
        ValueError: a number out of range, or (while reading a TFDS dataset too large to be checked
            beforehand) a photograph smaller than the window.
    """
    for name, value, least in (
        ("batch_size", batch_size, 1),
        ("window", window, 1),
        ("seed", seed, 0),
        ("first_step", first_step, 0),
        ("steps", steps, 0),
    ):
        if value < least:
            raise ValueError(f"{name} {value} must be at least {least}")
    if seed >= 2**32:
        raise ValueError(f"seed {seed} must be below 2**32")
    return _read(data, batch_size, window, seed, range(first_step, first_step + steps))


def _read(
    data: PhotoData, batch_size: int, window: int, seed: int, steps: range
) -> Generator[Batch, None, None]:
    import grain

    count = len(data.train)

    # Grain's own shuffle walks a large power of two to stay within its range, which took 7 ms for
    # each example of five photographs; a permutation per epoch costs nothing.
    @functools.lru_cache(maxsize=4)
    def order(epoch: int) -> np.ndarray:
        return np.random.default_rng((seed, _ORDER, epoch)).permutation(count)

    def batch(step: int) -> Batch:
        rng = np.random.default_rng((seed, _PLACES, step))
        windows = []
        for index in range(step * batch_size, (step + 1) * batch_size):
            epoch, place = divmod(index, count)
            windows.append(_cut(data.train[int(order(epoch)[place])], window, rng))
        return {name: np.stack([cut[name] for cut in windows]) for name in windows[0]}

    reader = iter(
        grain.MapDataset.range(steps.start, steps.stop)
        .map(batch)
        .to_iter_dataset(
            grain.ReadOptions(num_threads=_THREADS, prefetch_buffer_size=_BATCHES_AHEAD)
        )
    )
    try:
        yield from reader
    finally:
        reader.close()


def _cut(photo: Photo, window: int, rng: np.random.Generator) -> Batch:
    height, width = photo.source.shape[:2]
    check_window([(photo.name, (height, width))], window)
    top, left = rng.integers((height - window + 1, width - window + 1))
    place = np.s_[top : top + window, left : left + window]
    images = {"source": photo.source, "target": photo.target}
    return {name: image[place] for name, image in images.items() if image is not None}
