"""Film grain: seeded noise of density with a fixed spectrum on the film.

The noise is a stationary Gaussian field whose power spectral density is a function of spatial
frequency in cycles per millimetre alone, S(f) = S0 exp(-4 pi^2 sigma^2 f^2): isotropic, and the
same at every resolution up to that resolution's Nyquist frequency (a coarser scan sees less of
it, as with film). It is made from white noise of deviation proportional to the pixels per
millimetre, shaped in the Fourier domain.

Units. By Selwyn's law (1935) the rms density behind an aperture of area A falls as 1 / sqrt(A)
once A is large against the grains. `strength` is that law read at the customary circular aperture
of 48 um and density 1, so S0 = strength^2 A48. Data sheets print it times 1000: 5 to 40 for still
films. Looks go far above that, because a frame shown 500 pixels wide averages real grain away.
`size_um` is the full width at half maximum of one clump, 2.355 sigma.

Strength by luminance. Random grains give a variance of density in proportion to density
(Siedentopf 1937): rms = strength * ((D + fog) / (1 + fog))^density_power with power 1/2. In
encoded values, with power 1/2, this is strongest in the mid-tones (at 0.63), about half as strong
in white, and least in black.
"""

import math

import jax.numpy as jnp
import scipy.fft
from jaxtyping import Array, Float, Key

from retrojax.film.colour import power
from retrojax.film.halation import squared_frequency
from retrojax.film.look import Grain
from retrojax.film.tone import GAMMA, from_film, to_film
from retrojax.noise import normal

APERTURE_MM2 = math.pi * 0.024**2
FWHM_OVER_SIGMA = 2 * math.sqrt(2 * math.log(2))

# Density of the bare base: keeps a trace of grain in white, and the power's slope finite there.
FOG = 0.06


def grain_field(
    key: Key[Array, ""], height: int, width: int, grain: Grain, *, pixels_per_mm: float
) -> Float[Array, "h w 3"]:
    """Draws the noise of density at density 1, before its dependence on luminance.

    Layers are a mix of one common and one own pattern each, with weights 1 - chroma and chroma
    scaled to unit power, so the correlation between layers is (1 - c)^2 / ((1 - c)^2 + c^2).
    """
    rows, columns = (scipy.fft.next_fast_len(n, real=True) for n in (height, width))
    white = normal(key, (4, rows, columns))
    chroma = jnp.asarray(grain.chroma, white.dtype)
    power = jnp.sqrt((1 - chroma) ** 2 + chroma**2)
    layers = ((1 - chroma) * white[:1] + chroma * white[1:]) / power
    sigma_mm = jnp.asarray(grain.size_um, white.dtype) / (1000 * FWHM_OVER_SIGMA)
    f2 = squared_frequency(rows, columns, pixels_per_mm, white.dtype)
    transfer = jnp.exp(-2 * jnp.pi**2 * sigma_mm**2 * f2)
    shaped = jnp.fft.irfft2(jnp.fft.rfft2(layers) * transfer[None], s=(rows, columns))
    # White noise of deviation s and pitch p has density s^2 p^2; we want strength^2 * aperture.
    deviation = grain.strength * math.sqrt(APERTURE_MM2) * pixels_per_mm
    return deviation * shaped[:, :height, :width].transpose(1, 2, 0)


def add_grain(
    key: Key[Array, ""],
    encoded: Float[Array, "h w 3"],
    grain: Grain,
    *,
    pixels_per_mm: float,
) -> Float[Array, "h w 3"]:
    """Adds noise to the density of the developed image.

    Args:
        key: seeds the pattern.
        encoded: encoded values; clipped to [0, 1] first, a film holds no more.
        grain: strength (density), size (micrometres), chroma and dependence on density.
        pixels_per_mm: resolution on the film.

    Returns:
        Encoded values, which may leave [0, 1] by a little.
    """
    height, width, _ = encoded.shape
    noise = grain_field(key, height, width, grain, pixels_per_mm=pixels_per_mm)
    film = to_film(encoded)
    density = -GAMMA * jnp.log10(film)
    rms = power((density + FOG) / (1 + FOG), grain.density_power)
    # Density D + n is the film value times 10^(-n / gamma).
    return from_film(film * jnp.exp(-math.log(10) / GAMMA * rms * noise))
