"""Standard normal noise by counter, two values from each block of Threefry.

A block of Threefry-2x32 (Salmon et al. 2011) gives two words of 32 random bits. `jax.random` makes
one word, and so one value, of both, in a loop over all numbers; noise for whole batches of images
was a tenth of a small generator's step on CPU.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Key, UInt32

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def normal(key: Key[Array, ""], shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Standard normal float32 values; batch with `jax.vmap` over keys.

    Args:
        key: any typed key. Keys of other generators than Threefry (JAX's default) draw what
            `jax.random.normal` draws.
        shape: of the result.
    """
    words = jax.random.key_data(key)
    if words.shape != (2,):
        return jax.random.normal(key, shape)
    count = math.prod(shape)
    block = lax.iota(jnp.uint32, -(-count // 2))
    pairs = threefry(words[0], words[1], jnp.zeros_like(block), block)
    return from_bits(jnp.concatenate(pairs)[:count]).reshape(shape)


def threefry(
    first: UInt32[Array, ""],
    second: UInt32[Array, ""],
    row: UInt32[Array, "*shape"],
    column: UInt32[Array, "*shape"],
) -> tuple[UInt32[Array, "*shape"], UInt32[Array, "*shape"]]:
    """Threefry-2x32 of the key (first, second) at the counters (row, column).

    Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3; 20 rounds.
    JAX's own on CPU is a loop that writes all numbers to memory in each of five turns; this is one
    pass, in less than half the time.
    """
    keys = (first, second, first ^ second ^ np.uint32(0x1BD11BDA))
    row, column = row + first, column + second
    for turn in range(5):
        for bits in _ROTATIONS[turn % 2]:
            row += column
            column = row ^ (column << np.uint32(bits) | column >> np.uint32(32 - bits))
        row += keys[(turn + 1) % 3]
        column += keys[(turn + 2) % 3] + np.uint32(turn + 1)
    return row, column


def from_bits(bits: UInt32[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Independent random bits as standard normal values, by the inverse of the normal's integral.

    The upper 23 bits count: the largest value is 5.2.
    """
    # 23 bits as the fraction of a number in [1, 2), so evenly in (-1, 1).
    ones = lax.bitcast_convert_type((bits >> 9) | np.uint32(0x3F800000), jnp.float32)
    evenly = jnp.maximum(2.0 * (ones - 1.0) - 1.0, np.nextafter(np.float32(-1), np.float32(0)))
    return math.sqrt(2) * lax.erf_inv(evenly)
