"""Randomness per example: one key for each image of a batch.

Everything random about an image (noise, dropout, augmentation, grain) is drawn from
`fold_in(key, index of the image in the global batch)`, so that one device and eight draw the same.
Which images those at hand are, `retrojax.portion` knows.
"""

import jax
from jaxtyping import Array, Float, Key

from retrojax.portion import indices


def fold_each(key: Key[Array, ""], count: int) -> Key[Array, "count"]:
    """Keys of `count` examples: `fold_in(key, index)` for their places in the global batch.

    These are 0 .. count - 1, except in a step that sees a portion of the batch.
    """
    return jax.vmap(lambda index: jax.random.fold_in(key, index))(indices(count))


def normal_each(key: Key[Array, ""], shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Standard normal float32 values of `shape`; each row comes from its own key alone."""
    return jax.vmap(lambda k: jax.random.normal(k, shape[1:]))(fold_each(key, shape[0]))
