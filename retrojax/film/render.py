"""The film renderer: a photograph and a look in, the retro photograph out.

The order follows the light: through the lens (exposure, balance, vignette), onto the film (leak,
halation), through development (encoded values: colour matrix, characteristic curve, grain in
density), and through the years (toning, fading, dust, scratches). The first five stages work in
linear light, the others on sRGB-encoded values; a look without any of the first five makes no
round trip.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from retrojax.film.colour import linear_to_srgb, srgb_to_linear
from retrojax.film.defects import add_dust, add_scratches, leak, vignette
from retrojax.film.grain import add_grain
from retrojax.film.halation import halate
from retrojax.film.look import Look
from retrojax.film.tone import balance, expose, fade, mix, split_tone, tone_curve

LONG_SIDE_MM = 36.0


def render(
    key: Key[Array, ""],
    image: Float[Array, "h w 3"],
    look: Look,
    *,
    pixels_per_mm: float | None = None,
) -> Float[Array, "h w 3"]:
    """Renders one photograph in a look. Batch with `jax.vmap` over keys and images.

    Pure and seeded: the same key gives the same pixels. Differentiable in the image and in every
    number of the look. Each random stage has its own key, so that switching one off leaves the
    others as they were.

    Args:
        key: a typed PRNG key, for grain, leak, dust and scratches.
        image: sRGB-encoded values in [0, 1].
        look: what to do; `Look()` returns the image unchanged, bit for bit.
        pixels_per_mm: resolution on the film. Default: the image is a whole 24 x 36 mm frame, so
            its long side over 36. Give it when rendering a crop.

    Returns:
        sRGB-encoded values in [0, 1].

    Raises:
        ValueError: if `pixels_per_mm` is not above 0.
    """
    if pixels_per_mm is None:
        pixels_per_mm = max(image.shape[:2]) / LONG_SIDE_MM
    if not pixels_per_mm > 0:
        raise ValueError(f"pixels_per_mm must be above 0, not {pixels_per_mm}")
    leak_key, grain_key, dust_key, scratch_key = jax.random.split(key, 4)

    optical = (look.exposure, look.white_balance, look.vignette, look.light_leak, look.halation)
    if any(stage is not None for stage in optical):
        linear = srgb_to_linear(image)
        if look.exposure is not None:
            linear = expose(linear, look.exposure)
        if look.white_balance is not None:
            linear = balance(linear, look.white_balance)
        if look.vignette is not None:
            linear = vignette(linear, look.vignette)
        if look.light_leak is not None:
            linear = leak(leak_key, linear, look.light_leak)
        if look.halation is not None:
            linear = halate(linear, look.halation, pixels_per_mm=pixels_per_mm)
        image = linear_to_srgb(linear)

    if look.matrix is not None:
        image = mix(image, look.matrix)
    if look.tone is not None:
        image = tone_curve(image, look.tone)
    if look.grain is not None:
        image = add_grain(grain_key, image, look.grain, pixels_per_mm=pixels_per_mm)

    if look.split_tone is not None:
        image = split_tone(image, look.split_tone)
    if look.fade is not None:
        image = fade(image, look.fade)
    if look.dust is not None:
        image = add_dust(dust_key, image, look.dust, pixels_per_mm=pixels_per_mm)
    if look.scratches is not None:
        image = add_scratches(scratch_key, image, look.scratches, pixels_per_mm=pixels_per_mm)
    return jnp.clip(image, 0.0, 1.0)
