"""Augmentation on the device: colour changes before a look is rendered, and flips.

Contract: float images [b, h, w, 3] in [0, 1], sRGB-encoded; keys are folded per example, so that
one device and eight draw the same. A few photographs show few colours: random exposure, white
balance and saturation of the *source* let a look learned from them hold on others.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from retrojax.film.colour import linear_to_srgb, luma, srgb_to_linear
from retrojax.keys import fold_each


def flip_each(
    key: Key[Array, ""], images: dict[str, Float[Array, "b h w c"]]
) -> dict[str, Float[Array, "b h w c"]]:
    """Mirrors each example left to right with probability 1/2, all its images alike."""
    count = next(iter(images.values())).shape[0]
    flip = jax.vmap(lambda k: jax.random.bernoulli(k))(fold_each(key, count))
    return {
        name: jnp.where(flip[:, None, None, None], values[:, :, ::-1], values)
        for name, values in images.items()
    }


def vary_colours(
    key: Key[Array, ""],
    images: Float[Array, "b h w 3"],
    *,
    exposure: float = 0.6,
    white_balance: float = 0.15,
    saturation: float = 0.3,
) -> Float[Array, "b h w 3"]:
    """Random exposure, white balance and saturation for each image.

    Args:
        key: folded with each example's index.
        images: in [0, 1], sRGB-encoded.
        exposure: standard deviation in stops, applied in linear light.
        white_balance: standard deviation in stops of each channel's own gain.
        saturation: standard deviation of the saturation factor's natural logarithm.

    Returns:
        Images in [0, 1].
    """

    def vary(key: Array, image: Array) -> Array:
        exposure_key, balance_key, saturation_key = jax.random.split(key, 3)
        stops = exposure * jax.random.normal(exposure_key)
        stops = stops + white_balance * jax.random.normal(balance_key, (1, 1, 3))
        image = linear_to_srgb(jnp.clip(srgb_to_linear(image) * 2.0**stops, 0.0, 1.0))
        grey = luma(image)[..., None]
        factor = jnp.exp(saturation * jax.random.normal(saturation_key))
        return jnp.clip(grey + factor * (image - grey), 0.0, 1.0)

    return jax.vmap(vary)(fold_each(key, images.shape[0]), images)
