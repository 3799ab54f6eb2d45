"""Halation: the glow around highlights, computed in linear light.

Light strong enough to cross the emulsion is thrown back by the film base and exposes the layers
again, from below, where the red-sensitive one lies. The excess of luminance over a soft threshold
is spread by a sum of three Gaussian lobes; lobe k is k times as wide as the first, half as strong
as the one before, and coloured by one more passage through the layers (colour^k), so that an
orange core runs out into red.
"""

import jax
import jax.numpy as jnp
import scipy.fft
from jaxtyping import Array, Float

from retrojax.film.colour import luma
from retrojax.film.look import Halation

# Mirror margin on every side: the pad is static, the radius is traced. Lobes with a deviation
# below a third of it never meet the wrap of the Fourier transform.
MARGIN_MM = 1.5

LOBE_WEIGHTS = (4 / 7, 2 / 7, 1 / 7)


def squared_frequency(
    height: int, width: int, pixels_per_mm: float, dtype: jnp.dtype
) -> Float[Array, "h w_half"]:
    """Squared radial frequency of each bin of `jnp.fft.rfft2`, in (cycles / mm)^2."""
    fy = jnp.fft.fftfreq(height, 1 / pixels_per_mm, dtype=dtype)
    fx = jnp.fft.rfftfreq(width, 1 / pixels_per_mm, dtype=dtype)
    return fy[:, None] ** 2 + fx[None, :] ** 2


def halate(
    linear: Float[Array, "h w 3"], halation: Halation, *, pixels_per_mm: float
) -> Float[Array, "h w 3"]:
    """Adds the glow of the highlights.

    Args:
        linear: linear light, 0 and up.
        halation: strength, threshold and softness in linear luminance, radius in micrometres.
        pixels_per_mm: resolution on the film.

    Returns:
        Linear light, nowhere darker than it was.
    """
    height, width, _ = linear.shape
    softness = jnp.asarray(halation.softness, linear.dtype)
    excess = softness * jax.nn.softplus((luma(linear) - halation.threshold) / softness)
    margin = max(1, round(MARGIN_MM * pixels_per_mm))
    padded_height = scipy.fft.next_fast_len(height + 2 * margin, real=True)
    padded_width = scipy.fft.next_fast_len(width + 2 * margin, real=True)
    pads = (
        (margin, padded_height - height - margin),
        (margin, padded_width - width - margin),
    )
    spectrum = jnp.fft.rfft2(jnp.pad(excess, pads, mode="symmetric"))

    f2 = squared_frequency(padded_height, padded_width, pixels_per_mm, linear.dtype)
    radius_mm = jnp.asarray(halation.radius_um, linear.dtype) / 1000
    colour = jnp.asarray(halation.colour, linear.dtype).reshape(3, 1, 1)
    transfer = jnp.zeros((3, *f2.shape), linear.dtype)
    for lobe, weight in enumerate(LOBE_WEIGHTS, start=1):
        gaussian = jnp.exp(-2 * jnp.pi**2 * (lobe * radius_mm) ** 2 * f2)
        transfer = transfer + weight * colour**lobe * gaussian[None]
    glow = jnp.fft.irfft2(spectrum[None] * transfer, s=(padded_height, padded_width))
    glow = glow[:, margin : margin + height, margin : margin + width].transpose(1, 2, 0)
    # Rounding in the transform may leave -1e-8 where there is no glow at all.
    return linear + halation.strength * jnp.maximum(glow, 0.0)
