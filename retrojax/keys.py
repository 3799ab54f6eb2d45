"""Randomness per example: one key for each image of a batch.

Everything random about an image (noise, dropout, augmentation, grain) is drawn from
`fold_in(key, index of the image in the global batch)`, so that one device and eight draw the same.
Which images those at hand are, `retrojax.portion` knows.
"""

from math import prod

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Key

from retrojax.noise import normal
from retrojax.portion import indices


def fold_each(key: Key[Array, ""], count: int) -> Key[Array, "count"]:
    """Keys of `count` examples: `fold_in(key, index)` for their places in the global batch.

    These are 0 .. count - 1, except in a step that sees a portion of the batch.
    """
    return jax.vmap(lambda index: jax.random.fold_in(key, index))(indices(count))


def normal_each(key: Key[Array, ""], shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Standard normal float32 values of `shape`; each row comes from its own key alone."""
    return jax.vmap(lambda k: normal(k, shape[1:]))(fold_each(key, shape[0]))


def keep_each(
    key: Key[Array, ""], share: float, shape: tuple[int, ...]
) -> tuple[Bool[Array, "..."], float]:
    """A mask of `shape` that is true with a probability; each row comes from its own key alone.

    Two values are drawn from each 32 random bits, which are what a mask costs.

    Args:
        key: of the whole mask.
        share: of the values that are true, in (0, 1].
        shape: of the mask; the first axis is the batch.

    Returns:
        The mask, and the very probability: `share` rounded to a multiple of 2**-16, at least one.
    """
    count = prod(shape[1:])
    bound = max(round(share * 2**16), 1)

    def keep(key: Key[Array, ""]) -> Bool[Array, "..."]:
        halves = lax.bitcast_convert_type(jax.random.bits(key, (-(-count // 2),)), jnp.uint16)
        return halves.reshape(-1)[:count].reshape(shape[1:]).astype(jnp.uint32) < bound

    return jax.vmap(keep)(fold_each(key, shape[0])), bound / 2**16
