"""The methods that are compared, and what one of them costs in a process of its own."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import UInt8

from benchmarks.colour_transfer import reinhard, sliced_transport
from benchmarks.gatys import gatys
from experiments.memory import peak_memory
from retrojax.inference.bundle import load_bundle
from retrojax.inference.stylize import stylize

Pictures = UInt8[np.ndarray, "n h w 3"]
Transfer = Callable[[UInt8[np.ndarray, "h w 3"], int], UInt8[np.ndarray, "h w 3"]]
"""A photograph and a seed -> the photograph with the look."""

TRAINED = "trained generator"


class Method(NamedTuple):
    """One way to give photographs a look.

    Attributes:
        prepare: whatever is done once: `(look, example) -> Transfer`.
        renderings: of each photograph, each with another seed; at least 2.
    """

    prepare: Callable[[str, UInt8[np.ndarray, "h w 3"]], Transfer]
    renderings: int


class Measured(NamedTuple):
    """What a method cost, and what it made.

    Attributes:
        first: seconds of the preparation and the first picture: loading, compiling, running.
        seconds: of each picture after it.
        peak_bytes: by how much the largest resident size of the process grew.
        pictures: [renderings, n, h, w, 3].
    """

    first: float
    seconds: tuple[float, ...]
    peak_bytes: int
    pictures: UInt8[np.ndarray, "r n h w 3"]


def methods(*, quick: bool) -> Mapping[str, Method]:
    """The methods by name; `quick` ones do their work in fewer iterations and renderings."""
    table = {
        "Reinhard colour transfer": Method(
            lambda _, example: lambda photo, _: reinhard(photo, example), 5
        ),
        "sliced optimal transport": Method(
            lambda _, example: lambda photo, _: sliced_transport(photo, example), 5
        ),
    }
    for iterations in (1, 2) if quick else (100, 300):
        table[f"Gatys, {iterations} iterations"] = Method(
            lambda _, example, n=iterations: (
                lambda photo, seed: gatys(photo, example, seed=seed, iterations=n)
            ),
            2,
        )
    table[TRAINED] = Method(lambda look, _: _generator(look), 2 if quick else 32)
    return table


def measure(name: str, look: str, photos: Pictures, example: np.ndarray, quick: bool) -> Measured:
    """Runs a method on all photographs. Its memory is told apart in a fresh process only.

    Args:
        name: one of `methods`.
        look: the look's name.
        photos: the photographs, all of one size.
        example: another photograph with the look.
        quick: as for `methods`.
    """
    jax.devices()  # The backend belongs to the imports, not to the method that meets it first.
    method = methods(quick=quick)[name]
    ready = peak_memory()
    begin = time.perf_counter()
    transfer = method.prepare(look, example)
    transfer(photos[0], 0)
    first = time.perf_counter() - begin

    seconds, pictures, grown = [], [], 0
    for seed in range(method.renderings):
        for photo in photos:
            begin = time.perf_counter()
            pictures.append(transfer(photo, seed))
            seconds.append(time.perf_counter() - begin)
        if seed == 0:
            # Later on, it is the pictures kept here that fill the memory.
            grown = peak_memory() - ready
    shape = (method.renderings, *photos.shape)
    return Measured(first, tuple(seconds), grown, np.stack(pictures).reshape(shape))


def _generator(look: str) -> Transfer:
    """What `retrojax stylize` does with a decoded photograph."""
    run = partial(stylize, load_bundle(look))
    return lambda photo, seed: run(photo, seed=seed)
