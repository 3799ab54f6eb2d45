"""What grain looks like: strength, fineness and direction, from the difference of two seeds.

Every function takes `difference`: one rendering of a photograph minus another rendering of the same
photograph made with a different seed. The picture itself cancels, and what is left is grain (of
twice the variance of one rendering). Power spectral densities are in units of variance per square
cycle per pixel: white noise of variance v has density v at every frequency.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Float

# Octave bands in cycles per pixel, by name, from the Nyquist frequency downward.
OCTAVES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {f"1/{4 << k}-1/{2 << k}": (1 / (4 << k), 1 / (2 << k)) for k in range(5)}
)

# The direction of the frequency, in degrees from the x axis with y downward.
SECTORS: Mapping[str, float] = MappingProxyType(
    {"horizontal": 0.0, "diagonal-down": 45.0, "vertical": 90.0, "diagonal-up": 135.0}
)

# Densities below this count as no grain at all: -120 dB, a millionth of 8-bit rounding noise.
POWER_FLOOR = 1e-12

# A Hann window smears each frequency over two bins to either side, and takes the mean's
# neighbours with the mean: bands that begin below this bin would measure the window.
FIRST_CLEAN_BIN = 4


def deviation(difference: Float[np.ndarray, "h w c"]) -> float:
    """Standard deviation of the grain: the difference's, over the square root of two.

    Args:
        difference: One rendering minus another of the same photograph with a different seed.

    Returns:
        The deviation of the grain of one rendering, in the image's units; channels pooled after
        each channel's mean is removed.
    """
    centred = difference.astype(np.float64)
    centred = centred - centred.mean(axis=(0, 1))
    return float(np.sqrt(np.mean(centred**2) / 2.0))


def octave_spectrum(difference: Float[np.ndarray, "h w c"]) -> dict[str, float]:
    """Mean power spectral density of the difference in each octave band, in dB.

    Args:
        difference: One rendering minus another of the same photograph with a different seed.

    Returns:
        Density in dB by the names of `OCTAVES`, finest first; bands that are too low for the
        image's size (which begin below 4 periods on the shorter side) are left out.

    Raises:
        ValueError: If the image is too small for a single band (under 16 pixels).
    """
    height, width = difference.shape[:2]
    lowest = FIRST_CLEAN_BIN / min(height, width)
    bands = {name: band for name, band in OCTAVES.items() if band[0] >= lowest}
    if not bands:
        raise ValueError(
            f"a spectrum needs at least 16 x 16 pixels, got {height} x {width}; use a larger crop"
        )
    density = _periodogram(difference)
    radius = np.hypot(*_frequencies(height, width))
    return {name: _decibel(density, _ring(radius, band)) for name, band in bands.items()}


def sector_spectrum(
    difference: Float[np.ndarray, "h w c"], band: tuple[float, float] = (1 / 8, 1 / 2)
) -> dict[str, float]:
    """Mean power spectral density of the difference in four directions, in dB.

    Each sector spans 22.5 degrees to either side of the direction *of the frequency*, together
    with its mirror image: vertical stripes, which vary along x, have their power in "horizontal".
    Isotropic grain has the same density in all four.

    Args:
        difference: One rendering minus another of the same photograph with a different seed.
        band: Radial frequencies taken in, in cycles per pixel, lower end included.

    Returns:
        Density in dB by the names of `SECTORS`.

    Raises:
        ValueError: If the band is empty, above the Nyquist frequency, or has no frequency in
            some sector because the image is too small.
    """
    if not 0.0 <= band[0] < band[1] <= 0.5:
        raise ValueError(f"band must satisfy 0 <= low < high <= 1/2 cycles per pixel, got {band}")
    height, width = difference.shape[:2]
    density = _periodogram(difference)
    vertical, horizontal = _frequencies(height, width)
    ring = _ring(np.hypot(vertical, horizontal), band)
    angle = np.degrees(np.arctan2(vertical, horizontal))
    spectrum = {}
    for name, centre in SECTORS.items():
        # Distance between directions, which repeat every 180 degrees.
        distance = np.abs((angle - centre + 90.0) % 180.0 - 90.0)
        sector = ring & (distance <= 22.5)
        if not sector.any():
            raise ValueError(
                f"no frequency of a {height} x {width} image lies in the {name} sector of "
                f"band {band}; use a larger crop or a wider band"
            )
        spectrum[name] = _decibel(density, sector)
    return spectrum


def _periodogram(difference: Float[np.ndarray, "h w c"]) -> Float[np.ndarray, "h w"]:
    """Power spectral density by a Hann-windowed periodogram, averaged over the channels."""
    height, width = difference.shape[:2]
    # The periodic window, by the definition of a spectral (not a filter-design) Hann window.
    rows, columns = (np.hanning(size + 1)[:-1] for size in (height, width))
    window = np.outer(rows, columns)[:, :, None]
    values = difference.astype(np.float64)
    values = values - np.sum(window * values, axis=(0, 1)) / np.sum(window)
    transformed = np.fft.fft2(window * values, axes=(0, 1))
    return np.mean(np.abs(transformed) ** 2, axis=2) / np.sum(window**2)


def _frequencies(
    height: int, width: int
) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
    """Vertical and horizontal frequency of each bin of the transform, in cycles per pixel."""
    vertical, horizontal = np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing="ij")
    return vertical, horizontal


def _ring(radius: Float[np.ndarray, "h w"], band: tuple[float, float]) -> Bool[np.ndarray, "h w"]:
    return (radius >= band[0]) & (radius < band[1])


def _decibel(density: Float[np.ndarray, "h w"], chosen: Bool[np.ndarray, "h w"]) -> float:
    # Power is averaged before the logarithm: a mean of decibels would sit 2.5 dB lower.
    return float(10.0 * np.log10(max(float(density[chosen].mean()), POWER_FLOOR)))
