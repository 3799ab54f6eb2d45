"""Figures that say how close an output is to a look: numpy in, floats out, on the host.

`image` compares two pictures (colour, structure), `grain` looks at the difference of two pictures
of the same photograph made with different seeds, and `look` puts both together and holds the goals.
scikit-image, SciPy and rich are imported inside the functions that need them.
"""

from retrojax.metrics.grain import deviation, octave_spectrum, sector_spectrum
from retrojax.metrics.image import colour_difference, luma_similarity
from retrojax.metrics.look import (
    FIGURES,
    Figure,
    PhotoRenderings,
    add_ratio_to_lut,
    figures_table,
    look_figures,
    mean_figures,
)

__all__ = [
    "FIGURES",
    "Figure",
    "PhotoRenderings",
    "add_ratio_to_lut",
    "colour_difference",
    "deviation",
    "figures_table",
    "look_figures",
    "luma_similarity",
    "mean_figures",
    "octave_spectrum",
    "sector_spectrum",
]
