"""Running a function over a picture of any size in overlapping tiles of one size.

Contract: memory is bounded by a row of tiles, whatever the height; tiles come in few shapes, so a
compiled function is compiled once for all large pictures. A function whose output depends on
nothing farther than `reach` pixels gives the same picture tiled as whole; one that depends on the
whole tile (instance normalisation) is blended over the overlap.

Beyond its edges the picture is continued by reflection, by index: no padded copy is made.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

# Sides are rounded up to this, so that photographs of similar sizes share a compilation.
GRANULARITY = 64
# Width, in pixels, of the cross-fade between neighbouring tiles.
RAMP = 64

RunTile = Callable[
    [Int[np.ndarray, "tall"], Int[np.ndarray, "wide"], int, int], Float[np.ndarray, "tall wide c"]
]


class Axis(NamedTuple):
    """Tiles along one side of a picture.

    Attributes:
        starts: first position of each tile, in positions of the padded side.
        index: for each position of the padded side, the pixel of the picture it shows.
        weights: one row a tile; over all tiles they add up to one at each position.
        lead: positions before the picture's first pixel.
    """

    starts: Int[np.ndarray, "n"]
    index: Int[np.ndarray, "padded"]
    weights: Float[np.ndarray, "n tile"]
    lead: int


def tile_axis(length: int, *, tile: int, reach: int, multiple: int, surround: int) -> Axis:
    """Lay tiles along a side.

    Args:
        length: pixels of the picture along this side, at least 1.
        tile: longest tile in pixels; a shorter side gets one tile of its own size.
        reach: pixels next to a tile's inner edge that are not trusted.
        multiple: starts and sizes are multiples of this.
        surround: pixels of reflection wanted around the picture.

    Raises:
        ValueError: if the tile is too small for the reach.
    """
    step = math.lcm(multiple, GRANULARITY)
    lead = _up(surround, multiple)
    needed = _up(lead + length + surround, step)
    size = min(needed, _up(tile, step))
    stride = (size - 2 * reach - RAMP) // multiple * multiple
    if needed > size and stride < size / 2 - reach:
        raise ValueError(
            f"tile {size} is too small for reach {reach} and multiple {multiple}: take a larger one"
        )
    count = 1 if needed == size else math.ceil((needed - size) / stride) + 1
    starts = np.arange(count) * stride
    after = int(starts[-1]) + size - lead - length
    index = np.pad(np.arange(length), (lead, after), mode="reflect" if length > 1 else "edge")

    position = np.arange(size) + 0.5
    fade = size - stride - 2 * reach
    rising = np.clip((position - reach) / fade, 0.0, 1.0)
    weights = np.ones((count, size), np.float32)
    weights[1:] *= rising
    weights[:-1] *= rising[::-1]
    return Axis(starts, index, weights, lead)


def run_tiled(
    run: RunTile,
    height: int,
    width: int,
    *,
    tile: int,
    reach: int = 0,
    multiple: int = 1,
    surround: int = 0,
) -> Iterator[tuple[slice, Float[np.ndarray, "rows w c"]]]:
    """Run a function over all tiles of a picture and yield the picture in bands of full width.

    Args:
        run: from (rows, columns, top, left) to the tile's output. `rows` and `columns` are the
            picture's pixels that the tile shows; top and left its place in the padded picture.
        height: pixels.
        width: pixels.
        tile: longest side of a tile, pixels.
        reach: how far an input pixel can influence the output, pixels.
        multiple: the tile's sides and places are multiples of this, pixels.
        surround: reflected pixels wanted around the picture.

    Yields:
        (rows of the picture, their output), from the top, covering each row once.
    """
    down = tile_axis(height, tile=tile, reach=reach, multiple=multiple, surround=surround)
    across = tile_axis(width, tile=tile, reach=reach, multiple=multiple, surround=surround)
    tall, wide = down.weights.shape[1], across.weights.shape[1]
    if len(down.starts) == len(across.starts) == 1:
        # One tile is the picture: nothing to blend.
        inner = slice(down.lead, down.lead + height), slice(across.lead, across.lead + width)
        yield slice(0, height), run(down.index, across.index, 0, 0)[inner]
        return
    unfinished = None
    for number, top in enumerate(down.starts):
        rows = down.index[top : top + tall]
        band = None
        for left, weights in zip(across.starts, across.weights, strict=True):
            columns = across.index[left : left + wide]
            output = run(rows, columns, int(top), int(left))
            if band is None:
                band = np.zeros((tall, len(across.index), output.shape[-1]), np.float32)
            band[:, left : left + wide] += weights[:, None] * output
        assert band is not None
        band *= down.weights[number][:, None, None]
        if unfinished is not None:
            band[: len(unfinished)] += unfinished
        last = number == len(down.starts) - 1
        done = tall if last else int(down.starts[number + 1] - top)
        unfinished = band[done:]
        # From positions of the padded side to the picture's rows.
        first, end = max(top - down.lead, 0), min(top + done - down.lead, height)
        if first < end:
            offset = down.lead - top
            yield (
                slice(int(first), int(end)),
                band[first + offset : end + offset, across.lead : across.lead + width],
            )


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
