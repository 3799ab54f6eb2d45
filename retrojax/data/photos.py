"""Decoded photographs in memory, and the checks every source shares."""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import UInt8

_MEMORY: Final = 2**30
_HELD_OUT_SHARE: Final = 10


class Photo(NamedTuple):
    """One decoded photograph.

    Attributes:
        name: how messages and samples call it. From a folder: the relative path, with `/` in it.
        source: uint8 sRGB, [h, w, 3], read-only.
        target: the same frame with the look, same shape, or None when the look is to be rendered.
    """

    name: str
    source: UInt8[np.ndarray, "h w 3"]
    target: UInt8[np.ndarray, "h w 3"] | None


class Photos:
    """Random access to photographs; decoded ones are kept while they fit in 1 GiB.

    What was kept first stays: a shuffled epoch visits each photograph once, so throwing out the
    oldest would throw out just the one that is due next. Safe to read from several threads.
    """

    def __init__(self, count: int, read: Callable[[int], Photo], *, memory: int = _MEMORY) -> None:
        self._count = count
        self._read = read
        self._free = memory
        self._kept: dict[int, Photo] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Photo:
        if not 0 <= index < self._count:
            raise IndexError(f"photograph {index} of {self._count}")
        kept = self._kept.get(index)
        if kept is not None:
            return kept
        photo = self._read(index)
        images = [image for image in (photo.source, photo.target) if image is not None]
        for image in images:
            image.setflags(write=False)  # one array is handed to many readers
        size = sum(image.nbytes for image in images)
        with self._lock:
            if index not in self._kept and size <= self._free:
                self._free -= size
                self._kept[index] = photo
        return photo

    def __iter__(self) -> Iterator[Photo]:
        return (self[index] for index in range(self._count))


@dataclass(frozen=True)
class PhotoData:
    """Photographs to train on and to look at.

    Attributes:
        train: random access, decoded when asked for.
        validation: held out, decoded; never empty.
        description: one line for the log.
        skipped: files that could not be used, each with the reason.
        fingerprint: changes when the photographs or their size change. A run resumed on data with
            another fingerprint is not the same run.
        targets: images of another domain, unrelated to `train`; None = there is one domain.
        validation_targets: held out of them.
        later: the same images at another size, which training takes from step `later_from` on.
        later_from: that step.
    """

    train: Photos
    validation: tuple[Photo, ...]
    description: str
    skipped: tuple[str, ...]
    fingerprint: str
    targets: Photos | None = None
    validation_targets: tuple[Photo, ...] = ()
    later: "PhotoData | None" = None
    later_from: int = 0


def held_out(count: int, *, most: int = 8) -> tuple[int, ...]:
    """Chooses which of `count` photographs are held out: a tenth, at least 1, at most `most`.

    Evenly spaced, so that neighbours (one place, one evening) do not all end up on one side.

    Args:
        count: number of photographs, at least 2.
        most: bound on what is held out; all of it is decoded at the start.
    """
    chosen = min(most, max(1, count // _HELD_OUT_SHARE))
    return tuple((2 * i + 1) * count // (2 * chosen) for i in range(chosen))


def check_window(named_sizes: Iterable[tuple[str, tuple[int, int]]], window: int) -> None:
    """Raises if a photograph is smaller than the training window.

    Args:
        named_sizes: (name, (height, width)) of each photograph.
        window: side of the square training window in pixels.

    Raises:
        ValueError: names the smallest photograph, its size and the way out.
    """
    small = [(min(size), name, size) for name, size in named_sizes if min(size) < window]
    if small:
        _, name, (height, width) = min(small)
        others = f" ({len(small)} photographs are too small)" if len(small) > 1 else ""
        raise ValueError(
            f"{name} is {width}x{height} pixels, smaller than the window of {window}{others}; "
            "choose a smaller --crop or leave it out"
        )
