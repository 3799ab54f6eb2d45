"""Ratios of two systems' times, round by round, and how far they can be trusted."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

RESAMPLINGS: Final = 10_000


class Spread(NamedTuple):
    """Rounds in short.

    Attributes:
        median: of all rounds.
        least: the smallest.
        most: the largest.
        low: 2.5 % of the medians of resampled rounds lie below.
        high: 2.5 % of them lie above.
    """

    median: float
    least: float
    most: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Median with its range and a 95 % interval by the percentile bootstrap (Efron 1979).

    The resampling is seeded: the same rounds give the same interval.

    Raises:
        ValueError: without values.
    """
    if not len(values):
        raise ValueError("no rounds to summarise")
    array = np.asarray(values, float)
    drawn = np.random.default_rng(0).integers(0, len(array), (RESAMPLINGS, len(array)))
    low, high = np.percentile(np.median(array[drawn], axis=1), (2.5, 97.5))
    return Spread(float(np.median(array)), array.min(), array.max(), float(low), float(high))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Our time over theirs, each round against the other's of the same number.

    Neighbours in time share what else the machine is doing, so their ratio is steadier than the
    ratio of two medians.

    Raises:
        ValueError: without rounds, or for unequal numbers of them.
    """
    return spread([a / b for a, b in zip(ours, theirs, strict=True)])
