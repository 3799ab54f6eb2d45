"""Standard normal noise by counter, two values from each block of Threefry.

A block of Threefry-2x32 (Salmon et al. 2011) gives two words of 32 random bits. `jax.random` makes
one word, and so one value, of both; noise for whole batches of images is a tenth of the time of a
small generator's step on CPU, and these blocks are most of it.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.random import threefry2x32_p
from jaxtyping import Array, Float, Key, UInt32


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
    pairs = threefry2x32_p.bind(words[0], words[1], jnp.zeros_like(block), block)
    return from_bits(jnp.concatenate(pairs)[:count]).reshape(shape)


def from_bits(bits: UInt32[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Independent random bits as standard normal values, by the inverse of the normal's integral.

    The upper 23 bits count: the largest value is 5.2.
    """
    # 23 bits as the fraction of a number in [1, 2), so evenly in (-1, 1).
    ones = lax.bitcast_convert_type((bits >> 9) | np.uint32(0x3F800000), jnp.float32)
    evenly = jnp.maximum(2.0 * (ones - 1.0) - 1.0, np.nextafter(np.float32(-1), np.float32(0)))
    return math.sqrt(2) * lax.erf_inv(evenly)
