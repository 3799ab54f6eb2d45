"""Photographs to measure with: the bundled ones, enlarged and written as JPEG files."""

import itertools
from pathlib import Path

import numpy as np
from PIL import Image

from retrojax.data.bundled import bundled_photos

# Of the files; what cameras write is between 90 and 97.
QUALITY = 95


def write_photographs(folder: Path, *, count: int, size: tuple[int, int]) -> None:
    """Writes `0000.jpg` and so on, no two alike, into an empty folder.

    Enlarged pictures have no detail of their own, so noise is added: the decoder has as much to do
    as with a camera's.

    Args:
        folder: exists.
        count: how many, at least 1.
        size: (width, height) in pixels.
    """
    rng = np.random.default_rng(0)
    for index, photo in zip(range(count), itertools.cycle(bundled_photos()), strict=False):
        with Image.open(photo.source) as image:
            pixels = np.asarray(image.convert("RGB").resize(size, Image.Resampling.BICUBIC))
        noise = rng.integers(-4, 5, pixels.shape, dtype=np.int16)
        noisy = np.clip(pixels + noise, 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{index:04d}.jpg", quality=QUALITY)
