"""Sets of images compared: do generated ones cover the real ones, and are they copies?

Host numpy. Images are compared as they are, by the Euclidean distance of their values: no feature
network, so small pictures only.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from jaxtyping import Float, Int

from retrojax.metrics.figure import Figure

NEIGHBOURS = 5

GENERATION_FIGURES: Mapping[str, Figure] = MappingProxyType(
    {
        "coverage": Figure("coverage of real images", 2, low=0.5),
        "coverage_as_many": Figure("by as many as held out", 2),
        "copies": Figure("nearest real / real's nearest", 2),
        "faces_found": Figure("share with a face found", 2),
        "faces_ratio": Figure("faces found / in held out", 2, low=0.8),
    }
)


def squared_distances(
    a: Float[np.ndarray, "n ..."], b: Float[np.ndarray, "m ..."]
) -> Float[np.ndarray, "n m"]:
    """Squared Euclidean distance of every item of `a` to every one of `b`."""
    a, b = (x.reshape(len(x), -1).astype(np.float64) for x in (a, b))
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None, :] - 2.0 * a @ b.T
    return np.maximum(squares, 0.0)


def coverage(
    real: Float[np.ndarray, "n ..."], other: Float[np.ndarray, "m ..."], *, k: int = NEIGHBOURS
) -> float:
    """Share of real images with another one nearer than their k-th nearest real neighbour.

    Naeem et al. 2020 (arXiv:2002.09797), eq. 11, on raw pixels. Near 1 - 2^-k for as many others
    from the same distribution; one memorised image covers its own neighbourhood only.

    Args:
        real: at least k + 1 images.
        other: generated images, or real ones that were held out.
        k: which neighbour bounds the neighbourhood.

    Raises:
        ValueError: if there are too few real images.
    """
    if len(real) <= k:
        raise ValueError(f"coverage needs more than {k} real images, got {len(real)}")
    # Column 0 of the sorted distances is an image's distance to itself.
    radius = np.sort(squared_distances(real, real), axis=1)[:, k]
    return float((squared_distances(real, other).min(axis=1) <= radius).mean())


def nearest(
    images: Float[np.ndarray, "n ..."], among: Float[np.ndarray, "m ..."]
) -> tuple[Int[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """Index of the nearest of `among` to each image, and its Euclidean distance."""
    squares = squared_distances(images, among)
    index = squares.argmin(axis=1)
    return index, np.sqrt(squares[np.arange(len(images)), index])


def nearest_distances(images: Float[np.ndarray, "n ..."]) -> Float[np.ndarray, "n"]:
    """Euclidean distance of each image to the nearest other one."""
    squares = squared_distances(images, images)
    np.fill_diagonal(squares, np.inf)
    return np.sqrt(squares.min(axis=1))
