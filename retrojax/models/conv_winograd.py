"""Convolution, its transpose and its weight gradient with fewer products than taps times pixels.

Winograd's minimal filtering (Lavin & Gray 2016, arXiv:1509.09308, section 4) with the matrices of
Toom and Cook (Blahut 2010, section 5.2): tiles of outputs are evaluated at points, multiplied there
by the kernel's values, and interpolated. For each output and pair of channels in tiles of 2x2 a 3x3
kernel takes 4 products instead of 9, a 4x4 of stride 2 takes 9 instead of 16, a 5x5 takes 9 instead
of 25; in tiles of 4x4 the first takes 2.25, the second 6.25. A stride is taken out first: phases of
the input become channels, and taps beyond a kernel zeros.

All three functions are one trilinear form with one of its arguments left open, as in `conv.py`.

Contract: the functions of `conv_direct.py` up to rounding, for square kernels of 2 to 5 taps for
each phase. The relative error (L2) in float32 is 1e-6 for 2 and 3 taps (3e-6 in
tiles of 4), 4e-6 for 5.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from retrojax.models.conv_direct import Pads, Size
from retrojax.models.grids import APART, TOGETHER, Form, Grid, Lines, in_steps, on_both_axes
from retrojax.models.summed_products import summed_product
from retrojax.models.unfused import unfused

CACHED = 2**22
"""Values at all points, of tiles or of a kernel, that caches still help with."""

FEW_TILES = 64
"""Tiles of 4 below which the kernel's values at the points cost more than the tiles save."""

FEW_PRODUCTS = 2**26
"""Multiplications up to which an operation for each point is not worth its start."""

# The last point is infinity.
POINTS = (0.0, 1.0, -1.0, 2.0, -2.0)


class Transforms(NamedTuple):
    """One axis of y = result @ ((kernel @ w) * (data @ x)) for t = r + m - 1 points.

    Attributes:
        data: [t, t], of t inputs.
        kernel: [t, r], of r taps.
        result: [m, t], of products.
    """

    data: np.ndarray
    kernel: np.ndarray
    result: np.ndarray


@lru_cache
def transforms(taps: int, tile: int) -> Transforms:
    """The matrices for an axis.

    Args:
        taps: of the kernel, r, at least 2.
        tile: outputs of a tile, m, at least 2; m + r is at most 7.
    """
    count = taps + tile - 1
    points = POINTS[: count - 1]
    others = [[b for b in points if b != a] for a in points]
    data = np.zeros((count, count))
    for row, roots in zip(data, [*others, points], strict=True):
        coefficients = np.poly(roots)[::-1]
        row[: len(coefficients)] = coefficients
    scale = [np.prod([a - b for b in rest]) for a, rest in zip(points, others, strict=True)]
    kernel = np.zeros((count, taps))
    kernel[:-1] = np.vander(points, taps, increasing=True) / np.array(scale)[:, None]
    kernel[-1, -1] = 1
    result = np.zeros((tile, count))
    result[:, :-1] = np.vander(points, tile, increasing=True).T
    result[-1, -1] = 1
    return Transforms(data, kernel, result)


def phase_taps(kernel: int, stride: int) -> int:
    """Taps of the kernel that meet one phase of the input."""
    return -(-kernel // stride)


def tile_counts(size: Size, tile: int) -> Size:
    """Tiles down and right that cover an image."""
    return -(-size[0] // tile), -(-size[1] // tile)


def point_count(taps: int, size: Size, tile: int) -> int:
    """Points of all tiles that cover an image: so many products take a pair of channels."""
    down, right = tile_counts(size, tile)
    return (taps + tile - 1) ** 2 * down * right


def tile_side(taps: int, size: Size, *, batch: int = 0, pairs: int = 0) -> int:
    """Outputs of a tile along each axis: 2, or 3 or 4 where that saves enough of the products.

    A larger tile has fewer points for each output but more sums for each point: 3 has to save a
    fifth of the products of 2, 4 a quarter of those of the better one. 3 taps go with 4 at most, 4
    with 3, and 5 with 2: further points cost more time and precision than they save.

    Args:
        taps: of the kernel along an axis.
        size: height and width of the outputs.
        batch: images. 4 is for many tiles alone.
        pairs: of channels. 4 is for kernels alone whose values at all points are few.
    """
    if taps == 5:
        return 2
    two, three, four = (point_count(taps, size, tile) for tile in (2, 3, 4))
    points = (taps + 4 - 1) ** 2
    pays = taps <= 3 and batch * four >= FEW_TILES * points and points * pairs <= CACHED
    if pays and four <= 0.75 * min(two, three):
        return 4
    return 3 if three <= 0.8 * two else 2


def winograd_conv(
    x: Float[Array, "b h w i"], w: Float[Array, "k k i o"], stride: int, pads: Pads, size: Size
) -> Float[Array, "b h2 w2 o"]:
    """The convolution, of height and width `size`."""
    taps, pairs = phase_taps(w.shape[0], stride), stride**2 * w.shape[2] * w.shape[3]
    tile = tile_side(taps, size, batch=x.shape[0], pairs=pairs)
    own, form = transforms(taps, tile), _form(taps, size, tile, x.shape[0] * pairs)
    values = _kernel_values(form, own.kernel, w.astype(x.dtype), stride)

    def part(x: Array) -> Array:
        seen = _at_points(form, own.data, _phases(x, taps, stride, pads, size), size, tile)
        return _outputs(form, own.result, _products(form, seen, values, 0), size)

    parts = _in_parts(part, (x,), _tile_values(x, taps, stride, size, tile))
    return parts.swapaxes(0, 1).reshape(-1, *size, w.shape[3])


def winograd_transpose(
    y: Float[Array, "b h2 w2 o"], w: Float[Array, "k k i o"], stride: int, pads: Pads, size: Size
) -> Float[Array, "b h w i"]:
    """Its transpose in the input, of height and width `size`."""
    # Of a stride, tiles of 4 would save less than the sums of all phases cost.
    many = {"batch": y.shape[0], "pairs": w.shape[2] * w.shape[3]} if stride == 1 else {}
    return _transpose(y, w, stride, pads, size, **many)


def _transpose(y: Array, w: Array, stride: int, pads: Pads, size: Size, **many: int) -> Array:
    taps = phase_taps(w.shape[0], stride)
    # Of the phases of all that y paints, only those that the result shows.
    first = [lo // stride for lo, _ in pads]
    shown = tuple(
        -(-(lo + n) // stride) - start for (lo, _), n, start in zip(pads, size, first, strict=True)
    )
    if _apart_by_phase(taps, stride, shown, size):
        return _transpose_by_phase(y, w, stride, pads, size)
    tile = tile_side(taps, shown, **many)
    own = transforms(taps, tile)
    edges = [(taps - 1 - start, n + taps - 1) for start, n in zip(first, shown, strict=True)]
    form = _form(taps, shown, tile, y.shape[0] * stride**2 * w.shape[2] * w.shape[3])
    seen = _at_points(form, own.data, _cropped(y, edges), shown, tile)
    values = _kernel_values(form, own.kernel[:, ::-1], w.astype(y.dtype), stride)
    deep = _outputs(form, own.result, _products(form, seen, values, 1), shown)
    kept = zip(pads, first, size, strict=True)
    places = [(start * stride - lo, n) for (lo, _), start, n in kept]
    return _cropped(_channels_as_phases(deep, stride), places)


def _apart_by_phase(taps: int, stride: int, shown: Size, size: Size) -> bool:
    """Whether the tiles of each phase of the result are a fifth fewer than those of all at once.

    Phases begin and end at other pixels: together they have up to a row and a column more.
    """
    if size[0] % stride or size[1] % stride:
        return False
    own = (size[0] // stride, size[1] // stride)
    alone, together = (point_count(taps, s, tile_side(taps, s)) for s in (own, shown))
    return alone <= 0.8 * together


def _transpose_by_phase(y: Array, w: Array, stride: int, pads: Pads, size: Size) -> Array:
    """A transpose of stride 1 for each phase of the result, by the taps that meet it."""
    kernel, side = w.shape[0], phase_taps(w.shape[0], stride) * stride
    w = jnp.pad(w, ((0, side - kernel), (0, side - kernel), (0, 0), (0, 0)))
    own = (size[0] // stride, size[1] // stride)

    def phase(row: int, column: int) -> Array:
        # The first row that a result shows is row `place` of all that y paints, and so on.
        places = [n + lo for n, (lo, _) in zip((row, column), pads, strict=True)]
        taps = w[places[0] % stride :: stride, places[1] % stride :: stride]
        cut = (places[0] // stride, 0), (places[1] // stride, 0)
        return _transpose(y, taps, 1, cut, own)

    return _joined([[phase(u, v) for v in range(stride)] for u in range(stride)], size)


def winograd_weight_gradient(
    x: Float[Array, "b h w i"], y: Float[Array, "b h2 w2 o"], stride: int, pads: Pads, kernel: int
) -> Float[Array, "k k i o"]:
    """Its transpose in the kernel, of `kernel` taps along each axis."""
    taps, size = phase_taps(kernel, stride), y.shape[1:3]
    pairs = stride**2 * x.shape[3] * y.shape[3]
    tile = tile_side(taps, size, batch=x.shape[0], pairs=pairs)
    own, form = transforms(taps, tile), _form(taps, size, tile, x.shape[0] * pairs)

    def outer(a: Array, b: Array) -> Array:
        return summed_product(a.reshape(-1, a.shape[3]), b.reshape(-1, b.shape[3]))

    def part(x: Array, y: Array) -> Grid:
        seen = _at_points(form, own.data, _phases(x, taps, stride, pads, size), size, tile)
        asked = _at_points(form, own.result.T, y, size, tile)
        return form.each(form.each(outer))(seen, asked)

    parts = _in_parts(part, (x, y), _tile_values(x, taps, stride, size, tile))
    products = jax.tree.map(lambda one: one.sum(axis=0), parts)
    grid = on_both_axes(form, own.kernel.T, products)
    deep = jnp.stack([jnp.stack(list(row)) for row in grid]).reshape(1, taps, taps, -1)
    gradient = _channels_as_phases(deep, stride)[0, :kernel, :kernel]
    return gradient.reshape(kernel, kernel, x.shape[3], y.shape[3])


def _kernel_values(form: Form, matrix: np.ndarray, w: Array, stride: int) -> Grid:
    """The kernel at each pair of points, [s s i, o]."""
    taps = matrix.shape[1]
    kernel, _, inputs, outputs = w.shape
    whole = _cropped(w.reshape(1, kernel, kernel, -1), [(0, taps * stride)] * 2)
    deep = _phases_as_channels(whole, stride)[0].reshape(taps, taps, -1, outputs)
    return on_both_axes(form, matrix, [list(row) for row in deep] if form is APART else deep)


def _phases(x: Array, taps: int, stride: int, pads: Pads, size: Size) -> Array:
    """What `size` outputs see, the phases of the stride as channels: [b, *, *, s s i]."""
    places = [(lo, (n + taps - 1) * stride) for (lo, _), n in zip(pads, size, strict=True)]
    # Otherwise each of the tiles' places would look for its pixels anew.
    return unfused(lambda x: _phases_as_channels(_cropped(x, places), stride), x)


def _phases_as_channels(x: Array, stride: int) -> Array:
    """[b, rows s, columns s, c] as [b, rows, columns, s s c]."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // stride, stride, width // stride, stride, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height // stride, width // stride, -1)


def _channels_as_phases(x: Array, stride: int) -> Array:
    """[b, rows, columns, s s c] as [b, rows s, columns s, c]."""
    batch, rows, columns, _ = x.shape
    x = x.reshape(batch, rows, columns, stride, stride, -1).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, rows * stride, columns * stride, -1)


def _tile_values(x: Array, taps: int, stride: int, size: Size, tile: int) -> int:
    """Values of all tiles of an input that makes `size` outputs."""
    return point_count(taps, size, tile) * x.shape[0] * stride**2 * x.shape[3]


def _in_parts(function: Callable[..., Any], images: tuple[Array, ...], values: int) -> Any:
    """What a function gives for each part of a batch, one after another where tiles are many.

    Part p of n has the images p, p + n, ...: those of one device, if the batch lies on several.
    """
    batch, parts = images[0].shape[0], 1
    if values >= 2 * CACHED:
        fits = (n for n in range(2, batch) if batch % n == 0 and values <= n * CACHED)
        parts = next(fits, batch)
    if parts == 1:
        return jax.tree.map(lambda whole: whole[None], function(*images))
    cut = [x.reshape(-1, parts, *x.shape[1:]) for x in images]
    return lax.map(lambda p: function(*(x[:, p] for x in cut)), jnp.arange(parts))


def _cropped(x: Array, places: list[tuple[int, int]]) -> Array:
    """Zeros before each axis (negative: cropped), and as many after as make its new length."""
    edges = [
        (before, length - n - before, 0)
        for n, (before, length) in zip(x.shape[1:3], places, strict=True)
    ]
    return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *edges, (0, 0, 0)))


def _form(taps: int, size: Size, tile: int, pairs: int) -> Form:
    """The form for tiles that cover `size` outputs, and pairs of channels of all images."""
    return TOGETHER if point_count(taps, size, tile) * pairs <= FEW_PRODUCTS else APART


def _at_points(form: Form, matrix: np.ndarray, x: Array, size: Size, tile: int) -> Grid:
    """What the tiles that cover `size` outputs have at the points; a column for each pixel seen."""
    side = matrix.shape[1]
    rows, columns = tile_counts(size, tile)
    x = _cropped(x, [(0, (n - 1) * tile + side) for n in (rows, columns)])

    def places(x: Array, axis: int, tiles: int) -> list[Array]:
        ends = (tiles - 1) * tile + 1
        return [lax.slice_in_dim(x, at, at + ends, tile, axis) for at in range(side)]

    def down(x: Array) -> Lines:
        return form.sums(matrix, places(x, 1, rows))

    def right(lines: Lines) -> Grid:
        return form.each(lambda line: form.sums(matrix, places(line, 2, columns)))(lines)

    return in_steps(form, matrix, down, right, x)


def _outputs(form: Form, matrix: np.ndarray, products: Grid, size: Size) -> Array:
    """Images of `size` out of the products at all points.

    What the tiles have at each of their places is computed before it is joined: fused with the
    joining, every value is looked for by branches, one at a time.
    """
    tiles = unfused(partial(on_both_axes, form, matrix), products)
    return _joined(tiles, size)


def _joined(grid: Grid, size: Size) -> Array:
    """Images out of tiles, cut to `size`."""
    if isinstance(grid, jax.Array):
        tiles = grid.transpose(2, 3, 0, 4, 1, 5)
    else:
        tiles = jnp.stack([jnp.stack(row, axis=3) for row in grid], axis=2)
    batch, down, side, right, _, channels = tiles.shape
    return tiles.reshape(batch, down * side, right * side, channels)[:, : size[0], : size[1]]


def _products(form: Form, pixels: Grid, values: Grid, axis: int) -> Grid:
    """At each point, the pixels' channels by an axis of the kernel's values."""
    return form.each(form.each(partial(_product, axis)))(pixels, values)


@partial(jax.jit, static_argnums=0)
def _product(axis: int, pixels: Array, values: Array) -> Array:
    return lax.dot_general(pixels, values, (((3,), (axis,)), ((), ())))
