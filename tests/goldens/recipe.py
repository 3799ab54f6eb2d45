"""Numbers that both sides of a golden test make for themselves, so that no file has to hold them.

Integer arithmetic alone (SplitMix64, Steele et al. 2014), so the same on every machine and with
every version of numpy.
"""

import math
import zlib

import numpy as np

SAMPLES, PROJECTIONS = 224, 32


def _uniform(name: str, count: int) -> np.ndarray:
    """`count` numbers in [-1, 1), a function of `name`."""
    with np.errstate(over="ignore"):
        x = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x += np.uint64(zlib.crc32(name.encode())) << np.uint64(32)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return (x >> np.uint64(40)).astype(np.float64) / 2**23 - 1


def values(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Float32 array of mean 0 and deviation 1."""
    uniform = math.sqrt(3) * _uniform(name, math.prod(shape))
    return uniform.reshape(shape).astype(np.float32)


def weight(name: str, shape: tuple[int, ...], *, unit: bool = False) -> np.ndarray:
    """A parameter or buffer in PyTorch's layout, of the size it has in a trained network.

    Kernels have deviation 1 / sqrt(fan in), or 1 if `unit`; variances are positive.
    """
    drawn, kind = values(name, shape), name.rpartition(".")[2]
    if kind == "running_var":
        return 0.5 + np.abs(drawn)
    if kind == "weight" and len(shape) == 1:
        return 1 + 0.2 * drawn
    if len(shape) == 1:
        return 0.2 * drawn
    return drawn if unit else drawn / np.float32(math.sqrt(math.prod(shape[1:])))


def digest(array: np.ndarray) -> np.ndarray:
    """Float32 numbers that stand for an array: all of it, or samples and random projections.

    A projection is the sum with random signs over the root of the size: as large as an element,
    and wrong as soon as any element is.
    """
    flat = np.asarray(array, np.float64).ravel()
    if flat.size <= SAMPLES + PROJECTIONS:
        return flat.astype(np.float32)
    samples = flat[np.linspace(0, flat.size - 1, SAMPLES).astype(int)]
    signs = np.sign(_uniform("signs", PROJECTIONS * flat.size)).reshape(PROJECTIONS, -1)
    return np.concatenate([samples, signs @ flat / math.sqrt(flat.size)]).astype(np.float32)


def pictures(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Uint8 images, every value equally likely."""
    return (127.999 * (_uniform(name, math.prod(shape)) + 1)).astype(np.uint8).reshape(shape)


def places(name: str, size: int, count: int = 9) -> np.ndarray:
    """At most `count` different numbers below `size`."""
    return np.argsort(_uniform(name, size), kind="stable")[:count]
