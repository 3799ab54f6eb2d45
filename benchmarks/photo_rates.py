"""Preparing a folder of photographs: the product beside Pillow, round by round."""

import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from retrojax.data.builder import prepare
from retrojax.data.photo_files import PhotoFile, decode_photo, quiet_decoding


def rounds(
    files: Sequence[PhotoFile], *, photo_size: int, count: int, threads: int
) -> dict[str, list[float]]:
    """Seconds of every round for all files, by way, after one untimed round.

    Args:
        files: photographs.
        photo_size: longest side of the results in pixels.
        count: rounds, at least 1.
        threads: of Pillow and of the product's decoder alone.

    Returns:
        "pillow": open, draft, convert, resize; "decoding": the product's decoder on as many
        threads; "preparing": all that a run does with a new folder, writing included.
    """

    def threaded(decode: Callable[[Path, int], object]) -> None:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda file: decode(file.source, photo_size), files))

    def preparing() -> None:
        with tempfile.TemporaryDirectory() as cache:
            found = prepare(files, photo_size=photo_size, cache_dir=Path(cache), label="folder")
            if found.skipped:
                raise ValueError(f"cannot be read: {found.skipped[0]}")

    ways = {
        "pillow": lambda: threaded(bare),
        "decoding": lambda: threaded(lambda path, size: decode_photo(path, photo_size=size)),
        "preparing": preparing,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    with quiet_decoding():
        for number in range(count + 1):
            for name, way in ways.items():
                begin = time.perf_counter()
                way()
                if number:
                    seconds[name].append(time.perf_counter() - begin)
    return seconds


def bare(path: Path, photo_size: int) -> np.ndarray:
    """Pillow alone, with the draft, the filter and the size that the product chooses."""
    with Image.open(path) as image:
        factor = photo_size / max(image.size)
        width, height = (round(side * min(factor, 1)) for side in image.size)
        image.draft("RGB", (2 * width, 2 * height))
        small = image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
        return np.asarray(small)
