"""How well a translation did: what is kept of the source and, where it is known, of the truth."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from jaxtyping import UInt8

from retrojax.metrics.figure import Figure
from retrojax.metrics.image import LUMA_WEIGHTS, colour_difference

TRANSLATION_FIGURES: Mapping[str, Figure] = MappingProxyType(
    {
        "colour_error": Figure("colour error, CIEDE2000", 2),
        "colour_ratio": Figure("colour error / input's", 2, high=0.6),
        "word_accuracy": Figure("words read right", 3, low=0.9),
        "luma_correlation": Figure("luma correlation with the source", 3, low=0.8),
    }
)


def luma_correlation(
    source: UInt8[np.ndarray, "h w 3"], output: UInt8[np.ndarray, "h w 3"]
) -> float:
    """Pearson's correlation of the Rec.709 luma of two images; 0 for an image without contrast."""
    a, b = (image.astype(np.float64) @ np.array(LUMA_WEIGHTS) for image in (source, output))
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / scale) if scale > 0 else 0.0


def translation_figures(
    source: UInt8[np.ndarray, "n h w 3"],
    output: UInt8[np.ndarray, "n h w 3"],
    target: UInt8[np.ndarray, "n h w 3"] | None,
) -> dict[str, float]:
    """Means over images, by the names of `TRANSLATION_FIGURES`.

    Args:
        source: photographs.
        output: what became of them.
        target: what should have become of them; None = unknown, and no colour error is given.
    """
    pairs = list(zip(source, output, strict=True))
    figures = {"luma_correlation": float(np.mean([luma_correlation(a, b) for a, b in pairs]))}
    if target is None:
        return figures

    def error(images: np.ndarray) -> float:
        return float(
            np.mean(
                [
                    colour_difference(image / np.float32(255), wanted / np.float32(255))
                    for image, wanted in zip(images, target, strict=True)
                ]
            )
        )

    figures["colour_error"], of_input = error(output), error(source)
    if of_input > 0:
        figures["colour_ratio"] = figures["colour_error"] / of_input
    return figures
