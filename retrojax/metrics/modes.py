"""Mode coverage: does a generator make everything there is, and nothing else? Host numpy.

For toys whose modes are known. The three figures are those of PacGAN (Lin et al. 2018,
arXiv:1712.04086, section 4): modes covered, share of high-quality samples, and KL(samples ||
uniform) over the modes, which the paper calls reverse.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int


class ModeCoverage(NamedTuple):
    """Figures of one set of samples.

    Attributes:
        modes: modes with at least one sample that counts.
        high_quality: share of samples near a mode, in [0, 1].
        reverse_kl: KL(samples || uniform) over the modes in nats, from 0 to ln(number of modes).
    """

    modes: int
    high_quality: float
    reverse_kl: float


def kl_to_uniform(counts: Int[np.ndarray, "m"]) -> float:
    """KL divergence of the shares of `counts` from equal shares: ln m minus the entropy, in nats.

    A finite set of n samples of equal shares scores about (m - 1) / (2 n), not 0. NaN for no
    samples at all.
    """
    if not counts.sum():
        return float("nan")
    share = counts[counts > 0] / counts.sum()
    return float(np.log(len(counts)) + (share * np.log(share)).sum())


def label_coverage(
    labels: Int[np.ndarray, "n"],
    *,
    modes: int,
    high_quality: Bool[np.ndarray, "n"] | None = None,
) -> ModeCoverage:
    """Coverage of samples whose modes are known.

    Args:
        labels: the mode of each sample, from 0 to modes - 1; -1 for a sample of none, which the
            divergence leaves out.
        modes: how many there are.
        high_quality: which samples may cover their mode; None = all that have one. The divergence
            counts the others too.

    Returns:
        The figures.
    """
    known = labels >= 0
    good = known if high_quality is None else known & high_quality
    return ModeCoverage(
        modes=len(np.unique(labels[good])),
        high_quality=float(good.mean()),
        reverse_kl=kl_to_uniform(np.bincount(labels[known], minlength=modes)),
    )


def point_coverage(
    points: Float[np.ndarray, "n d"],
    centres: Float[np.ndarray, "m d"],
    *,
    deviation: float,
    radius: float = 3.0,
) -> ModeCoverage:
    """Coverage of round Gaussians of equal weight; every sample belongs to its nearest centre.

    A sample is of high quality within `radius` standard deviations of its centre; in the plane,
    1 - exp(-radius^2 / 2) of the real ones are: 98.9 % for 3. A mode counts with one such sample.
    A point that is not finite is of low quality and belongs to no mode.

    Args:
        points: samples.
        centres: of the modes.
        deviation: standard deviation of a mode along each axis, above 0.
        radius: in standard deviations.

    Returns:
        The figures.
    """
    finite = np.asarray(np.isfinite(points).all(axis=1))
    inside = np.where(finite[:, None], points, 0.0).astype(np.float64)
    distances = np.linalg.norm(inside[:, None] - centres[None], axis=-1)
    labels = np.where(finite, distances.argmin(axis=1), -1)
    near = distances.min(axis=1) <= radius * deviation
    return label_coverage(labels, modes=len(centres), high_quality=near)
