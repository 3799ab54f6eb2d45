"""Batches of windows, read with Grain.

Contract: the batch for step k is a pure function of (seed, k) and of the data. There is no iterator
state to save: a resumed run asks for `first_step=k` and gets what the run without a break got, on
any number of threads. What is drawn for an example is a function of its number in the run alone, so
that one of several processes reads only its own. Batches are uint8; flips, normalisation and
rendering happen on the device.
"""

import functools
from collections.abc import Callable, Generator
from typing import Final

import numpy as np
from PIL import Image

from .photos import Photo, PhotoData, check_window

_THREADS: Final = 2
_BATCHES_AHEAD: Final = 4
# Three streams of random numbers from one seed.
_ORDER, _PLACES, _ZOOM = 0, 1, 2

Batch = dict[str, np.ndarray]


def batches(
    data: PhotoData,
    *,
    batch_size: int,
    window: int,
    seed: int,
    first_step: int,
    steps: int,
    zoom: float = 1.0,
    share: tuple[int, int] = (0, 1),
) -> Generator[Batch, None, None]:
    """Yields the batches of steps `first_step` to `first_step + steps - 1`.

    Each epoch visits every photograph once, in its own order, and cuts one window from each at a
    uniformly drawn place; batches run across the borders of epochs. With two domains an epoch is as
    long as the larger one: sources come in its order, targets are drawn (as in CycleGAN's code).

    Args:
        data: the photographs.
        batch_size: windows in a batch.
        window: side of a window in pixels.
        seed: 0 to 2**32 - 1; two seeds give two unrelated streams.
        first_step: number of the first batch, from 0.
        steps: how many batches.
        zoom: below 1, windows are SinCUT's: each step shrinks the photographs, height and width
            each by a factor of its own between `zoom` and 1 (published: 1/3), never below the
            window; a window is then a cell of a grid without overlap, laid at a random place.
        share: (i, n): only part i of the n equal, contiguous parts of each batch is read.

    Returns:
        A generator of {"source": uint8 [batch_size / n, window, window, 3]}, for pairs also
        "target", cut at the same place, for two domains also "target", cut at its own. `close()`
        ends its reading threads.

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
    if not 0 < zoom <= 1:
        raise ValueError(f"zoom {zoom} must be above 0 and at most 1")
    part, parts = share
    if not 0 <= part < parts or batch_size % parts:
        raise ValueError(
            f"share {part} of {parts} must be one of 0 to {parts - 1}, and the batch of "
            f"{batch_size} a multiple of {parts}"
        )
    places = range(part * batch_size // parts, (part + 1) * batch_size // parts)
    steps_read = range(first_step, first_step + steps)
    return _read(data, batch_size, places, window, seed, steps_read, zoom)


def _read(
    data: PhotoData,
    batch_size: int,
    places: range,
    window: int,
    seed: int,
    steps: range,
    zoom: float,
) -> Generator[Batch, None, None]:
    import grain

    count = max(len(data.train), len(data.targets or ()))

    # Grain's own shuffle walks a large power of two to stay within its range, which took 7 ms for
    # each example of five photographs; a permutation per epoch costs nothing.
    @functools.lru_cache(maxsize=4)
    def order(epoch: int) -> np.ndarray:
        return np.random.default_rng((seed, _ORDER, epoch)).permutation(count)

    def batch(step: int) -> Batch:
        images = _images_of(data, step)
        factors = (
            np.random.default_rng((seed, _ZOOM, step)).uniform(zoom, 1, 2) if zoom < 1 else None
        )
        place_window = _anywhere if factors is None else _cell_of_a_grid

        # Zooming is the same for all windows of a step, so a photograph is shrunk once.
        @functools.cache
        def source(index: int) -> Photo:
            return _shrunk(images.train[index], factors, window)

        @functools.cache
        def target(index: int) -> Photo:
            assert images.targets is not None
            return _shrunk(images.targets[index], factors, window)

        windows = []
        for index in (step * batch_size + place for place in places):
            rng = np.random.default_rng((seed, _PLACES, index))
            epoch, place = divmod(index, count)
            photo = source(int(order(epoch)[place]) % len(data.train))
            cut = _cut(photo, window, place_window, rng)
            if data.targets is not None:
                drawn = target(int(rng.integers(len(data.targets))))
                cut["target"] = _cut(drawn, window, place_window, rng)["source"]
            windows.append(cut)
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


def _images_of(data: PhotoData, step: int) -> PhotoData:
    return data.later if data.later is not None and step >= data.later_from else data


def _anywhere(size: tuple[int, int], window: int, rng: np.random.Generator) -> tuple[int, int]:
    """Top and left of a window, uniform over all places."""
    top, left = rng.integers([side - window + 1 for side in size])
    return int(top), int(left)


def _cell_of_a_grid(
    size: tuple[int, int], window: int, rng: np.random.Generator
) -> tuple[int, int]:
    """Top and left of one of the windows that fit side by side, the grid laid at random."""
    counts = [side // window for side in size]
    shifts = rng.integers([side % window + 1 for side in size])
    cells = rng.integers(counts)
    top, left = (int(shift + cell * window) for shift, cell in zip(shifts, cells, strict=True))
    return top, left


def _cut(
    photo: Photo,
    window: int,
    place_window: Callable[[tuple[int, int], int, np.random.Generator], tuple[int, int]],
    rng: np.random.Generator,
) -> Batch:
    height, width = photo.source.shape[:2]
    check_window([(photo.name, (height, width))], window)
    top, left = place_window((height, width), window, rng)
    place = np.s_[top : top + window, left : left + window]
    images = {"source": photo.source, "target": photo.target}
    return {name: image[place] for name, image in images.items() if image is not None}


def _shrunk(photo: Photo, factors: np.ndarray | None, window: int) -> Photo:
    if factors is None:
        return photo
    height, width = photo.source.shape[:2]
    tall, wide = (
        max(round(side * factor), window)
        for side, factor in zip((height, width), factors, strict=True)
    )
    resized = Image.fromarray(photo.source).resize((wide, tall), Image.Resampling.BICUBIC)
    return Photo(photo.name, np.asarray(resized), None)
