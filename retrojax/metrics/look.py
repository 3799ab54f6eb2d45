"""How well a look was learned: the figures of one photograph, their mean, and the goals.

A system under test gives, for each held-out photograph, two renderings with different seeds and a
mean over many seeds; the look itself gives the same and one rendering without grain.
`LOOK_FIGURES` is the closed table of everything measured, with the range that counts as good;
tables on the terminal and in the report are made from it.
"""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from retrojax.metrics.figure import Figure
from retrojax.metrics.grain import deviation, octave_spectrum, sector_spectrum
from retrojax.metrics.image import colour_difference, luma_similarity

# Below a hundredth of an 8-bit step there is no grain to speak of, only rounding.
NO_GRAIN = 0.01 / 255.0

# Octave differences are cut here, so that one output without grain leaves a mean readable.
WIDEST_DB = 40.0

# The two octaves below the Nyquist frequency, where film grain at this scale has its power.
JUDGED_OCTAVES = ("1/4-1/2", "1/8-1/4")


class PhotoRenderings(NamedTuple):
    """One photograph through a system and through the true look; sRGB-encoded, in [0, 1].

    The targets share nothing random with the outputs. For a system without randomness the two
    outputs and their mean are one image.
    """

    source: Float[np.ndarray, "h w 3"]
    output_a: Float[np.ndarray, "h w 3"]
    output_b: Float[np.ndarray, "h w 3"]
    mean_output: Float[np.ndarray, "h w 3"]
    target_a: Float[np.ndarray, "h w 3"]
    target_b: Float[np.ndarray, "h w 3"]
    clean_target: Float[np.ndarray, "h w 3"]


LOOK_FIGURES: Mapping[str, Figure] = MappingProxyType(
    {
        "colour_error": Figure("colour error, CIEDE2000", 2),
        "colour_error_of_input": Figure("colour error of the input", 2),
        "colour_ratio_to_input": Figure("colour error / input's", 2, high=0.40),
        "colour_ratio_to_lut": Figure("colour error / LUT's", 2, high=1.25),
        "grain_deviation_ratio": Figure("grain strength / target's", 2, low=0.8, high=1.25),
        "grain_octave_db/1/4-1/2": Figure("grain 1/4-1/2 c/px, dB", 1, low=-3.0, high=3.0),
        "grain_octave_db/1/8-1/4": Figure("grain 1/8-1/4 c/px, dB", 1, low=-3.0, high=3.0),
        "grain_octave_db/1/16-1/8": Figure("grain 1/16-1/8 c/px, dB", 1),
        "grain_octave_db/1/32-1/16": Figure("grain 1/32-1/16 c/px, dB", 1),
        "grain_octave_db/1/64-1/32": Figure("grain 1/64-1/32 c/px, dB", 1),
        "grain_worst_octave_db": Figure("grain 1/8-1/2 worst, dB", 1, high=3.0),
        "grain_isotropy_db": Figure("grain over directions, dB", 1, high=3.0),
        "structure_ssim": Figure("structure, luma SSIM", 3, low=0.95),
    }
)


def look_figures(photo: PhotoRenderings) -> dict[str, float]:
    """All figures of one photograph.

    Args:
        photo: Renderings by the system and by the true look, all of one size.

    Returns:
        Figures by the names of `LOOK_FIGURES` (without "colour_ratio_to_lut", which compares two
        systems). Where a figure has no meaning it is NaN: ratios to a target without grain, and
        the direction of grain that is not there.

    Raises:
        ValueError: If sizes differ or values lie outside [0, 1].
    """
    error = colour_difference(photo.output_a, photo.target_a)
    error_of_input = colour_difference(photo.source, photo.target_a)
    figures = {
        "colour_error": error,
        "colour_error_of_input": error_of_input,
        "colour_ratio_to_input": error / error_of_input if error_of_input > 0.0 else math.nan,
    }
    figures |= _grain_figures(photo.output_a - photo.output_b, photo.target_a - photo.target_b)
    figures["structure_ssim"] = luma_similarity(photo.mean_output, photo.clean_target)
    return figures


def mean_figures(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean of each figure over the photographs that have it; NaN where none has.

    The colour ratio is the ratio of the mean errors, not the mean ratio: a photograph which the
    look hardly changes would otherwise decide it.

    Args:
        figures: What `look_figures` gave for each photograph.

    Raises:
        ValueError: If there is no photograph.
    """
    if not figures:
        raise ValueError("figures of at least one photograph are needed to take their mean")
    mean = {}
    for name in dict.fromkeys(name for one in figures for name in one):
        values = [one[name] for one in figures if not math.isnan(one.get(name, math.nan))]
        mean[name] = math.fsum(values) / len(values) if values else math.nan
    if mean.get("colour_error_of_input", 0.0) > 0.0:
        mean["colour_ratio_to_input"] = mean["colour_error"] / mean["colour_error_of_input"]
    return mean


def add_ratio_to_lut(
    systems: Mapping[str, Mapping[str, float]], lut: str
) -> dict[str, dict[str, float]]:
    """The systems' figures with "colour_ratio_to_lut" added to each.

    Args:
        systems: Mean figures by the name of the system.
        lut: The system that is the fitted LUT.

    Raises:
        ValueError: If no system has that name.
    """
    if lut not in systems:
        raise ValueError(f"no system is called {lut!r}; known: {', '.join(systems)}")
    reference = systems[lut]["colour_error"]
    return {
        name: {
            **figures,
            "colour_ratio_to_lut": (
                figures["colour_error"] / reference if reference > 0.0 else math.nan
            ),
        }
        for name, figures in systems.items()
    }


def _grain_figures(
    output: Float[np.ndarray, "h w 3"], target: Float[np.ndarray, "h w 3"]
) -> dict[str, float]:
    """Figures of the grain from the two differences between seeds."""
    wanted = deviation(target)
    given = deviation(output)
    off = {}
    target_spectrum = octave_spectrum(target)
    for octave, value in octave_spectrum(output).items():
        excess = min(max(value - target_spectrum[octave], -WIDEST_DB), WIDEST_DB)
        off[octave] = excess if wanted > NO_GRAIN else math.nan
    sectors = sector_spectrum(output).values()
    worst = [abs(off[octave]) for octave in JUDGED_OCTAVES if octave in off]
    return {
        "grain_deviation_ratio": given / wanted if wanted > NO_GRAIN else math.nan,
        **{f"grain_octave_db/{octave}": value for octave, value in off.items()},
        "grain_worst_octave_db": max(worst),
        "grain_isotropy_db": max(sectors) - min(sectors) if given > NO_GRAIN else math.nan,
    }
