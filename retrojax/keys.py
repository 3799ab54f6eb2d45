"""Randomness per example: one key for each image of a batch.

Everything random about an image (noise, dropout, augmentation, grain) is drawn from
`fold_in(key, index of the image in the global batch)`, so that one device and eight draw the same.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


def fold_each(key: Key[Array, ""], count: int) -> Key[Array, "count"]:
    """Keys of `count` examples: `fold_in(key, index)` for index 0 .. count - 1."""
    return jax.vmap(lambda index: jax.random.fold_in(key, index))(jnp.arange(count))


def normal_each(key: Key[Array, ""], shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Standard normal float32 values of `shape`; row i comes from `fold_in(key, i)` alone."""
    return jax.vmap(lambda k: jax.random.normal(k, shape[1:]))(fold_each(key, shape[0]))
