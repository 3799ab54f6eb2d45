"""Convolution, its transpose and its weight gradient in the forms that are fastest on CPU.

XLA's convolutions there are slow for some shapes: few positions and many channels, weight gradients
of nearly all maps, three channels. The same sums as matrix products are 1.2 to 12 times faster. The
rules below are those of the shapes in `benchmarks/operations.py`, measured on two cores (jax
0.10.2); what they chose and gained stands in docs/performance.md. Layers with many channels go by
`conv_winograd.py`.

Contract: the functions of `conv_direct.py` up to the order of summation.
"""

from collections.abc import Callable
from functools import reduce
from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from retrojax.models.conv_direct import (
    Pads,
    Size,
    direct_conv,
    direct_transpose,
    direct_weight_gradient,
)
from retrojax.models.conv_winograd import (
    phase_taps,
    point_count,
    tile_side,
    winograd_conv,
    winograd_transpose,
    winograd_weight_gradient,
)
from retrojax.models.summed_products import summed_product
from retrojax.models.unfused import unfused

# Images whose weight gradients or transposes are computed together.
CHUNK = 4
THIN = 2048
"""Pairs of channels up to which a transpose of a stride is painted."""


def cpu_conv(
    x: Float[Array, "b h w i"], w: Float[Array, "kh kw i o"], stride: int, pads: Pads
) -> Float[Array, "b h2 w2 o"]:
    """The convolution, in x's type."""
    size = _conv_size(x, w.shape[:2], stride, pads)
    if _many_channels(x.shape[0], size, w.shape, stride, x.dtype):
        return _apart(winograd_conv, x, w, stride, pads, size)
    if _few_outputs(w.shape, stride):
        return _apart(_gathered, x, w, pads, size)
    if _few_positions(x.shape[0], size, w.shape[3]):
        return _apart(_conv_unrolled, x, w, stride, pads, size)
    return direct_conv(x, w, stride, pads)


def cpu_transpose(
    y: Float[Array, "b h2 w2 o"], w: Float[Array, "kh kw i o"], stride: int, pads: Pads, size: Size
) -> Float[Array, "b h w i"]:
    """Its transpose in the input, of height and width `size`, in y's type."""
    batch, height, width, outputs = y.shape
    few_inputs = w.shape[2] <= 4
    if not few_inputs and _many_channels(batch, (height, width), w.shape, stride, y.dtype):
        return _apart(winograd_transpose, y, w, stride, pads, size)
    thin = stride > 1 and w.shape[2] * outputs <= THIN
    if few_inputs or thin or _few_positions(batch, (height, width), outputs):
        return _apart(_painted, y, w, stride, pads, size)
    if batch > 16 and stride > 1 and batch % CHUNK == 0 and height * width >= 64:
        parts = [direct_transpose(part, w, stride, pads, size) for part in _chunks(y)]
        return jnp.concatenate(parts)
    return direct_transpose(y, w, stride, pads, size)


def cpu_weight_gradient(
    x: Float[Array, "b h w i"], y: Float[Array, "b h2 w2 o"], stride: int, pads: Pads, kernel: Size
) -> Float[Array, "kh kw i o"]:
    """Its transpose in the kernel, of height and width `kernel`, in float32 at least."""
    (batch, height, width, outputs), inputs = y.shape, x.shape[3]
    taps = kernel[0] * kernel[1]
    if _many_channels(batch, (height, width), (*kernel, inputs, outputs), stride, x.dtype):
        return _apart(winograd_weight_gradient, x, y, stride, pads, kernel[0])
    if _few_outputs((*kernel, inputs, outputs), stride):
        return _apart(_gradient_by_input, x, y, pads, kernel)
    if _few_positions(batch, (height, width), outputs):
        return _apart(_gradient_by_output, x, y, stride, pads, kernel)
    if taps == 1 or (batch <= 16 and inputs * outputs >= 128):
        return _apart(_gradient_by_taps, x, y, stride, pads, kernel)
    if batch % CHUNK == 0 and height * width >= 256:
        parts = zip(_chunks(x), _chunks(y), strict=True)
        return reduce(
            jnp.add, [direct_weight_gradient(a, b, stride, pads, kernel) for a, b in parts]
        )
    return direct_weight_gradient(x, y, stride, pads, kernel)


def _apart(form: Callable[..., Array], a: Array, b: Array, *geometry: Any) -> Array:
    """A form of many small sums, by itself: fused into a reader, each sum is computed many times.

    Not for XLA's own convolutions, which are slow in a function that is called.
    """
    return unfused(lambda a, b: form(a, b, *geometry), a, b)


def _few_outputs(shape: tuple[int, ...], stride: int) -> bool:
    """Whether a kernel [kh, kw, i, o] makes an image of many channels, all taps at once."""
    rows, columns, inputs, outputs = shape
    taps = rows * columns
    return stride == 1 and outputs <= 4 and 1 < taps and taps * outputs <= 4 * inputs


def _few_positions(batch: int, size: Size, outputs: int) -> bool:
    """Whether the unrolled input is at most twice as large as the kernel."""
    return batch * size[0] * size[1] <= 2 * outputs


def _many_channels(batch: int, size: Size, shape: tuple[int, ...], stride: int, dtype: Any) -> bool:
    """Whether Winograd's fewer products save more than its sums for a kernel [k, k, i, o] cost."""
    rows, columns, inputs, outputs = shape
    taps, deep = phase_taps(rows, stride), stride**2 * inputs
    if rows != columns or not 2 <= taps <= 5 or jnp.dtype(dtype).itemsize < 4:
        return False
    tile = tile_side(taps, size, batch=batch, pairs=deep * outputs)
    taken = stride**2 * point_count(taps, size, tile)
    plain = rows**2 * size[0] * size[1]
    saved = (plain - taken) / (stride * (taps + 1)) ** 2
    # Of 3x3 kernels of stride 2 it saves less than a third: not what the sums cost.
    return min(deep, outputs) >= 24 and batch * saved >= 64 and 3 * taken <= 2 * plain


def _conv_size(x: Array, kernel: Size, stride: int, pads: Pads) -> Size:
    height, width = (
        (n + lo + hi - k) // stride + 1
        for n, k, (lo, hi) in zip(x.shape[1:3], kernel, pads, strict=True)
    )
    return height, width


def _chunks(x: Array) -> list[Array]:
    return jnp.split(x, x.shape[0] // CHUNK)


def _shifted(x: Array, kernel: Size, stride: int, pads: Pads, size: Size) -> list[Array]:
    """For each tap of the kernel the pixels that it meets, [b, *size, i]."""
    (top, bottom), (left, right) = pads
    zero = jnp.zeros((), x.dtype)
    padded = lax.pad(x, zero, ((0, 0, 0), (top, bottom, 0), (left, right, 0), (0, 0, 0)))
    rows, columns = ((n - 1) * stride + 1 for n in size)
    return [
        padded[:, u : u + rows : stride, v : v + columns : stride]
        for u in range(kernel[0])
        for v in range(kernel[1])
    ]


def _unrolled(x: Array, kernel: Size, stride: int, pads: Pads, size: Size) -> Array:
    """What each window sees, [b, *size, kh kw i]."""
    return jnp.concatenate(_shifted(x, kernel, stride, pads, size), axis=-1)


def _conv_unrolled(x: Array, w: Array, stride: int, pads: Pads, size: Size) -> Array:
    """One product with all that the windows see."""
    seen = _unrolled(x, w.shape[:2], stride, pads, size)
    return seen @ w.astype(x.dtype).reshape(-1, w.shape[3])


def _gathered(x: Array, w: Array, pads: Pads, size: Size) -> Array:
    """One product for what every pixel gives to each tap, then the gifts are added; stride 1."""
    (rows, columns, inputs, outputs), wide = w.shape, jnp.promote_types(x.dtype, jnp.float32)
    flat = w.astype(x.dtype).transpose(2, 0, 1, 3).reshape(inputs, -1)
    gifts = jnp.matmul(x, flat, preferred_element_type=wide)
    total = jnp.zeros((x.shape[0], *size, outputs), wide)
    for row in range(rows):
        for column in range(columns):
            tap = row * columns + column
            own = gifts[..., tap * outputs : (tap + 1) * outputs]
            (shifted,) = _shifted(own, (1, 1), 1, _moved(pads, (row, column)), size)
            total += shifted
        # A loop over all 49 taps of the largest kernel would take the compiler minutes.
        total = lax.optimization_barrier(total)
    return total.astype(x.dtype)


def _moved(pads: Pads, place: Size) -> Pads:
    """Zeros before an image, as one tap of a kernel meets them; what is too much is never read."""
    (top, bottom), (left, right) = pads
    return (top - place[0], bottom), (left - place[1], right)


def _painted(y: Array, w: Array, stride: int, pads: Pads, size: Size) -> Array:
    """One product for the stroke of every pixel, then the strokes are added."""
    (batch, height, width, outputs), (rows, columns, inputs) = y.shape, w.shape[:3]
    wide = jnp.promote_types(y.dtype, jnp.float32)
    # The kernel is never turned: that would take longer than the product itself.
    kernel, pixels = w.astype(y.dtype).reshape(-1, outputs), y.reshape(-1, outputs)
    if len(pixels) <= 64:
        strokes = jnp.matmul(kernel, pixels.T, preferred_element_type=wide).T
    else:
        strokes = jnp.matmul(pixels, kernel.T, preferred_element_type=wide)
    strokes = strokes.reshape(batch, height, width, rows, columns, inputs)
    spread = [(n - 1) * stride + 1 for n in (height, width)]
    full = [n + k - 1 for n, k in zip(spread, (rows, columns), strict=True)]
    zero, gap = jnp.zeros((), wide), stride - 1
    total = jnp.zeros((batch, *full, inputs), wide)
    for u in range(rows):
        for v in range(columns):
            down = (u, full[0] - spread[0] - u, gap)
            right = (v, full[1] - spread[1] - v, gap)
            total += lax.pad(strokes[:, :, :, u, v], zero, ((0, 0, 0), down, right, (0, 0, 0)))
    edges = [(-lo, n - (f - lo), 0) for n, f, (lo, _) in zip(size, full, pads, strict=True)]
    return lax.pad(total, zero, ((0, 0, 0), *edges, (0, 0, 0))).astype(y.dtype)


def _product(a: Array, b: Array) -> Array:
    """Sum over examples and pixels of the outer products of their channels, [ca, cb]."""
    return summed_product(a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1]))


def _gradient_by_output(x: Array, y: Array, stride: int, pads: Pads, kernel: Size) -> Array:
    """One product with what each window of the output saw."""
    seen = _unrolled(x, kernel, stride, pads, y.shape[1:3])
    return _product(seen, y).reshape(*kernel, x.shape[3], y.shape[3])


def _gradient_by_taps(x: Array, y: Array, stride: int, pads: Pads, kernel: Size) -> Array:
    """A product for each tap."""
    shifted = _shifted(x, kernel, stride, pads, y.shape[1:3])
    gradients = [_product(pixels, y) for pixels in shifted]
    return jnp.stack(gradients).reshape(*kernel, x.shape[3], y.shape[3])


def _gradient_by_input(x: Array, y: Array, pads: Pads, kernel: Size) -> Array:
    """One product with what each pixel of the input gave to, for stride 1."""
    down, right = (
        (k - 1 - lo, n + lo - m)
        for k, n, m, (lo, _) in zip(kernel, x.shape[1:3], y.shape[1:3], pads, strict=True)
    )
    gave = _unrolled(y, kernel, 1, (down, right), x.shape[1:3])
    gradient = _product(x, gave).reshape(x.shape[3], *kernel, y.shape[3])
    return lax.rev(gradient, (1, 2)).transpose(1, 2, 0, 3)
