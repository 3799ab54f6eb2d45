"""The noise of a photograph's grain: a function of a key and of the position alone.

A picture in tiles therefore has the noise of the whole, and grain runs on across their borders.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, Key, UInt32

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


@partial(jax.jit, static_argnames=("height", "width", "channels"))
def noise_at(
    key: Key[Array, ""],
    top: Int[Array, ""],
    left: Int[Array, ""],
    height: int,
    width: int,
    channels: int,
) -> Float[Array, "height width channels"]:
    """Standard normal noise; the value at a position does not depend on the tile it is in.

    Two channels from each block of Threefry-2x32, whose counter is the position itself: a fifth of
    the time of a key for each position.

    Args:
        key: of Threefry-2x32.
        top: the first row's place in the picture.
        left: the first column's.
        height: rows.
        width: columns.
        channels: values at a position.
    """
    row, column = (
        lax.broadcasted_iota(jnp.uint32, (height, width), axis) + first.astype(jnp.uint32)
        for axis, first in enumerate((top, left))
    )
    pairs = -(-channels // 2)
    first, second = jax.random.key_data(key)
    blocks = [threefry(first, second, row, column * pairs + pair) for pair in range(pairs)]
    planes = [block[half] for half in range(2) for block in blocks]
    # A channel at a time: innermost, so short an axis would be the loop.
    return jnp.stack([_normal(bits) for bits in planes[:channels]], -1)


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


def _normal(bits: UInt32[Array, "*shape"]) -> Float[Array, "*shape"]:
    # 23 bits as the fraction of a number in [1, 2), so evenly in (-1, 1).
    ones = lax.bitcast_convert_type((bits >> 9) | np.uint32(0x3F800000), jnp.float32)
    evenly = jnp.maximum(2.0 * (ones - 1.0) - 1.0, np.nextafter(np.float32(-1), np.float32(0)))
    return math.sqrt(2) * lax.erf_inv(evenly)
