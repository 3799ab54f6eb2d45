"""Figures that say how close an output is to a look: numpy in, floats out, on the host.

`image` compares two pictures (colour, structure), `grain` looks at the difference of two pictures
of the same photograph made with different seeds, and `look` puts both together and holds the goals;
`distribution` compares a set of generated images with real ones. scikit-image, SciPy and rich are
imported inside the functions that need them.
"""

from types import MappingProxyType

from retrojax.metrics.distribution import (
    GENERATION_FIGURES,
    coverage,
    nearest,
    nearest_distances,
)
from retrojax.metrics.figure import Figure, figures_table
from retrojax.metrics.grain import deviation, octave_spectrum, sector_spectrum
from retrojax.metrics.image import colour_difference, luma_similarity
from retrojax.metrics.look import (
    LOOK_FIGURES,
    PhotoRenderings,
    add_ratio_to_lut,
    look_figures,
    mean_figures,
)
from retrojax.metrics.translation import TRANSLATION_FIGURES, translation_figures

FIGURES = MappingProxyType({**LOOK_FIGURES, **GENERATION_FIGURES, **TRANSLATION_FIGURES})
"""Every figure that a run may measure, by name."""

__all__ = [
    "FIGURES",
    "GENERATION_FIGURES",
    "LOOK_FIGURES",
    "Figure",
    "TRANSLATION_FIGURES",
    "PhotoRenderings",
    "add_ratio_to_lut",
    "colour_difference",
    "coverage",
    "deviation",
    "figures_table",
    "look_figures",
    "luma_similarity",
    "mean_figures",
    "nearest",
    "nearest_distances",
    "octave_spectrum",
    "sector_spectrum",
    "translation_figures",
]
