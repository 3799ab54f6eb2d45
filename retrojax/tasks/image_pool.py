"""The image pool: a history of generated images that the discriminator is shown.

Shrivastava et al. 2017 (arXiv:1612.07828), section 2.3, as CycleGAN's PyTorch code does it
(`ImagePool`), image by image. The pool lives in the discriminator's collections, so it is
checkpointed and the same on every device. Replicas of `pmap` gather their fakes, ask for them all,
and each keeps the answers to its own.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from retrojax.keys import fold_each
from retrojax.portion import gathered, own

Pool = dict[str, Array]
"""{"images": float32 [size, h, w, c], "count": int32 [], how many are stored}."""


def empty_pool(size: int, image_shape: tuple[int, ...]) -> Pool:
    """A pool of `size` images, none stored yet."""
    return {"images": jnp.zeros((size, *image_shape)), "count": jnp.zeros((), jnp.int32)}


def pool_draws(
    key: Key[Array, ""], count: int, size: int
) -> tuple[Float[Array, "count"], Int[Array, "count"]]:
    """What `query_pool` draws for each image: u uniform in [0, 1), a place in 0 .. size - 1."""

    def draw(key: Array) -> tuple[Array, Array]:
        u_key, place_key = jax.random.split(key)
        return jax.random.uniform(u_key), jax.random.randint(place_key, (), 0, size)

    return jax.vmap(draw)(fold_each(key, count))


def query_pool(
    pool: Pool,
    images: Float[Array, "b h w c"],
    u: Float[Array, "b"],
    places: Int[Array, "b"],
) -> tuple[Float[Array, "b h w c"], Pool]:
    """Stores images and gives back images to judge, one after the other.

    While the pool is not full, an image is stored and given back. Afterwards, where u > 0.5, the
    stored image at its place is given back and the new one takes the place; otherwise the new one
    is given back and not stored.

    Args:
        pool: before.
        images: newly generated ones.
        u: of each image, in [0, 1].
        places: of each image, 0 .. size - 1.

    Returns:
        Images to judge, and the pool after.
    """
    size = pool["images"].shape[0]

    def query(pool: Pool, drawn: tuple[Array, Array, Array]) -> tuple[Pool, Array]:
        image, u, place = drawn
        filling = pool["count"] < size
        place = jnp.where(filling, pool["count"], place)
        stored = jax.lax.dynamic_index_in_dim(pool["images"], place, keepdims=False)
        swap = ~filling & (u > 0.5)
        kept = jnp.where(filling | swap, image, stored)
        images = jax.lax.dynamic_update_index_in_dim(pool["images"], kept, place, 0)
        count = jnp.minimum(pool["count"] + 1, size)
        return {"images": images, "count": count}, jnp.where(swap, stored, image)

    after, judged = jax.lax.scan(query, pool, (images, u, places))
    return judged, after


def recall(
    pool: Pool, images: Float[Array, "b h w c"], key: Key[Array, ""]
) -> tuple[Float[Array, "b h w c"], Pool]:
    """Asks the pool for the images at hand, in the order of the global batch.

    Args:
        pool: before.
        images: newly generated ones.
        key: of what is drawn, for each example.

    Returns:
        Images to judge in the place of those at hand, and the pool after.
    """
    draws = pool_draws(key, images.shape[0], pool["images"].shape[0])
    judged, after = query_pool(pool, *gathered((images, *draws)))
    return own(judged), after
