"""What happens to images on the device: flips, colour changes, the look, and DiffAugment.

Contract: float images, in [0, 1] and sRGB-encoded but for DiffAugment's; keys are folded per
example, so that one device and eight draw the same. A few photographs show few colours: random
exposure, white balance and saturation of the *source* let a look learned from them hold on others.
"""

from functools import partial
from types import MappingProxyType

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from retrojax.film import Look, render
from retrojax.film.colour import linear_to_srgb, luma, srgb_to_linear
from retrojax.keys import fold_each

# Reflectance of the grey card that light meters are made for.
MIDDLE_GREY = 0.18
# DiffAugment without its colours, which a critic that lets them pass would let into a look.
DEFAULT_POLICY = ("translation", "cutout")


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
    unbiased: bool = False,
) -> Float[Array, "b h w 3"]:
    """Random exposure, white balance and saturation for each image.

    Args:
        key: folded with each example's index.
        images: in [0, 1], sRGB-encoded.
        exposure: standard deviation in stops, applied in linear light.
        white_balance: standard deviation in stops of each channel's own gain.
        saturation: standard deviation of the saturation factor's natural logarithm.
        unbiased: whether each image is first exposed for middle grey (by at most 2 stops) and in
            the end its channels change places at random: a few pictures then have no brightness
            and no palette of their own.

    Returns:
        Images in [0, 1].
    """

    def vary(key: Array, image: Array) -> Array:
        exposure_key, balance_key, saturation_key = jax.random.split(key, 3)
        stops = exposure * jax.random.normal(exposure_key)
        stops = stops + white_balance * jax.random.normal(balance_key, (1, 1, 3))
        linear = srgb_to_linear(image)
        if unbiased:
            metered = jnp.log2(MIDDLE_GREY / jnp.maximum(luma(linear).mean(), 1e-4))
            stops = stops + jnp.clip(metered, -2.0, 2.0)
        image = linear_to_srgb(jnp.clip(linear * 2.0**stops, 0.0, 1.0))
        grey = luma(image)[..., None]
        factor = jnp.exp(saturation * jax.random.normal(saturation_key))
        image = jnp.clip(grey + factor * (image - grey), 0.0, 1.0)
        if unbiased:
            order = jax.random.permutation(jax.random.fold_in(key, 0), 3)
            image = image[..., order]
        return image

    return jax.vmap(vary)(fold_each(key, images.shape[0]), images)


def render_each(
    key: Key[Array, ""], images: Float[Array, "b h w 3"], *, look: Look, pixels_per_mm: float
) -> Float[Array, "b h w 3"]:
    """The look on each image of a batch in [0, 1]."""
    draw = partial(render, look=look, pixels_per_mm=pixels_per_mm)
    return jax.vmap(draw)(fold_each(key, images.shape[0]), images)


def centre_crop(images: Float[Array, "b h w c"], side: int) -> Float[Array, "b side side c"]:
    """The square of `side` pixels in the middle of each image."""
    top, left = ((n - side) // 2 for n in images.shape[1:3])
    return images[:, top : top + side, left : left + side]


def diff_augment(
    key: Key[Array, ""],
    images: Float[Array, "b h w c"],
    *,
    policy: str,
    probability: Array | float = 1.0,
) -> Float[Array, "b h w c"]:
    """DiffAugment: differentiable augmentation of what a critic is shown, drawn per example.

    Zhao et al. 2020 (arXiv:2006.10738), strengths as in the authors' PyTorch code; nothing is
    clamped. "color": brightness + U(-0.5, 0.5), then saturation * U(0, 2) about each pixel's
    channel mean, then contrast * U(0.5, 1.5) about the image's mean. "translation": an integer
    shift of up to an eighth of each side, zeros moving in. "cutout": a square of half the side,
    centred anywhere and clipped at the border, becomes 0.

    Args:
        key: folded with each example's index.
        images: in [-1, 1], any number of channels (image and condition together).
        policy: names out of "color", "translation" and "cutout" with commas between; "default" =
            translation and cutout: colour would leak into a look; "" = none.
        probability: with which an example gets each augmentation; 1, as published, draws nothing.

    Raises:
        ValueError: for an unknown name.
    """
    always = isinstance(probability, float) and probability == 1.0
    for index, name in enumerate(policy_names(policy)):
        keys = fold_each(jax.random.fold_in(key, index), images.shape[0])
        changed = jax.vmap(_DIFF_AUGMENT[name])(keys, images)
        if not always:
            coins = fold_each(jax.random.fold_in(key, len(_DIFF_AUGMENT) + index), images.shape[0])
            chosen = jax.vmap(jax.random.uniform)(coins) < probability
            changed = jnp.where(chosen[:, None, None, None], changed, images)
        images = changed
    return images


def policy_names(policy: str) -> tuple[str, ...]:
    """The augmentations of a policy, in its order.

    Raises:
        ValueError: for an unknown name.
    """
    if policy == "default":
        return DEFAULT_POLICY
    names = tuple(name for name in policy.split(",") if name)
    for name in names:
        if name not in _DIFF_AUGMENT:
            raise ValueError(
                f"unknown augmentation {name!r}; choose from {', '.join(_DIFF_AUGMENT)}, or default"
            )
    return names


def _colour(key: Array, image: Array) -> Array:
    brightness, saturation, contrast = jax.random.uniform(key, (3,))
    image = image + (brightness - 0.5)
    grey = image.mean(-1, keepdims=True)
    image = (image - grey) * (saturation * 2.0) + grey
    mean = image.mean()
    return (image - mean) * (contrast + 0.5) + mean


def _translation(key: Array, image: Array) -> Array:
    height, width = image.shape[:2]
    down_key, right_key = jax.random.split(key)
    reach = int(height * 0.125 + 0.5), int(width * 0.125 + 0.5)
    down, right = (
        jax.random.randint(k, (), -r, r + 1)
        for k, r in zip((down_key, right_key), reach, strict=True)
    )
    padded = jnp.pad(image, ((reach[0], reach[0]), (reach[1], reach[1]), (0, 0)))
    start = (reach[0] - down, reach[1] - right, 0)
    return jax.lax.dynamic_slice(padded, start, image.shape)


def _cutout(key: Array, image: Array) -> Array:
    inside = []
    for k, n in zip(jax.random.split(key), image.shape[:2], strict=True):
        side = int(n * 0.5 + 0.5)
        centre = jax.random.randint(k, (), 0, n + 1 - side % 2)
        pixels = jnp.arange(n)
        first = centre - side // 2
        inside.append((pixels >= first) & (pixels < first + side))
    return jnp.where((inside[0][:, None] & inside[1][None, :])[..., None], 0.0, image)


_DIFF_AUGMENT = MappingProxyType({"color": _colour, "translation": _translation, "cutout": _cutout})
