"""The noise of a photograph's grain: a function of a key and of the position alone.

A picture in tiles therefore has the noise of the whole, and grain runs on across their borders.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Key

from retrojax.noise import from_bits, threefry


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
    return jnp.stack([from_bits(bits) for bits in planes[:channels]], -1)
