"""2-D convolution, its transpose and its weight gradient, each the derivative of the others.

With x an image, w a kernel and y a map, the three functions

    y = conv(x, w)        x = conv_transpose(y, w)        w = weight_gradient(x, y)

are the three partial transposes of one trilinear form <y, conv(x, w)>. So the derivatives of each,
of any order, are again these three, and a gradient penalty (reverse over reverse) meets no other
operation. JAX's own rules reach convolutions whose kernel is larger than their input; XLA then
swaps the operands (`rhs_reversal` in the compiled program) and leaves its fast paths.

How each is computed depends on the backend: `conv_direct.py` has XLA's convolutions, `conv_cpu.py`
other forms of the same sums where these are faster on CPU. Lowering chooses, by the platform.

Contract: NHWC images; `w` is [kh, kw, in, out] of `conv`, the same array for all three functions;
`pads` are the zeros that `conv` adds ((top, bottom), (left, right)), negative = cropped; the
computation runs in the type of the images, whatever the kernel's, and weight gradients are summed
in float32 at least (on NVIDIA GPUs then rounded once to the images' type). Reverse mode only, any
order: forward mode (`jvp`) raises TypeError.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from retrojax.models.conv_cpu import cpu_conv, cpu_transpose, cpu_weight_gradient
from retrojax.models.conv_direct import (
    Pads,
    Size,
    cuda_weight_gradient,
    direct_conv,
    direct_transpose,
    direct_weight_gradient,
)


def same_pads(size: Size, kernel: Size, stride: int) -> Pads:
    """Zeros that "same" adds to an input of `size`: output = ceil(size / stride), extra at the end.

    The same rule as `lax` "SAME" (and TensorFlow's).
    """

    def axis(n: int, k: int) -> tuple[int, int]:
        total = max((-(-n // stride) - 1) * stride + k - n, 0)
        return total // 2, total - total // 2

    return axis(size[0], kernel[0]), axis(size[1], kernel[1])


def conv_size(size: Size, kernel: Size, stride: int, pads: Pads) -> Size:
    """Height and width of `conv`'s output.

    Raises:
        ValueError: if the kernel is larger than the padded input.
    """
    padded = tuple(n + lo + hi for n, (lo, hi) in zip(size, pads, strict=True))
    if padded[0] < kernel[0] or padded[1] < kernel[1]:
        raise ValueError(
            f"a {kernel[0]}x{kernel[1]} kernel is larger than the {size[0]}x{size[1]} input "
            f"padded to {padded[0]}x{padded[1]}; use a larger image or more padding"
        )
    return (padded[0] - kernel[0]) // stride + 1, (padded[1] - kernel[1]) // stride + 1


@partial(jax.jit, static_argnums=(0, 1, 2))
def _by_backend(
    functions: tuple[tuple[str, Callable], ...],
    default: Callable,
    geometry: tuple[Any, ...],
    a: Array,
    b: Array,
) -> Array:
    """One of some functions of equal value, chosen when the program is lowered for a platform.

    Compiled by itself, so that shapes which come again are traced and lowered once.
    """

    def placed(function: Callable) -> Callable:
        return lambda a, b: function(a, b, *geometry)

    own = {platform: placed(function) for platform, function in functions}
    return lax.platform_dependent(a, b, default=placed(default), **own)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv(
    x: Float[Array, "b h w i"], w: Float[Array, "kh kw i o"], stride: int, pads: Pads
) -> Float[Array, "b h2 w2 o"]:
    """2-D cross-correlation, as every framework's "convolution".

    Args:
        x: images or maps.
        w: kernel.
        stride: of the output, both axes.
        pads: zeros around x, ((top, bottom), (left, right)).

    Returns:
        y[b, p, q, o] = sum over (u, v, i) of w[u, v, i, o] x[b, stride p + u - top, stride q + v
        - left, i], in x's type.

    Raises:
        ValueError: if the kernel is larger than the padded input.
    """
    conv_size((x.shape[1], x.shape[2]), (w.shape[0], w.shape[1]), stride, pads)
    return _by_backend((("cpu", cpu_conv),), direct_conv, (stride, pads), x, w)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _transpose(y: Array, w: Array, stride: int, pads: Pads, size: Size) -> Array:
    """Transpose of `conv` in its input; `size`, because a stride may leave rows of x unread."""
    return _by_backend((("cpu", cpu_transpose),), direct_transpose, (stride, pads, size), y, w)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def weight_gradient(
    x: Float[Array, "b h w i"], y: Float[Array, "b h2 w2 o"], stride: int, pads: Pads, kernel: Size
) -> Float[Array, "kh kw i o"]:
    """Transpose of `conv` in its kernel.

    Args:
        x: `conv`'s input.
        y: a cotangent of `conv`'s output.
        stride: `conv`'s stride.
        pads: `conv`'s padding.
        kernel: height and width of the kernel.

    Returns:
        The gradient of <y, conv(x, w)> with respect to w, in float32 at least.
    """
    own = (("cpu", cpu_weight_gradient), ("cuda", cuda_weight_gradient))
    return _by_backend(own, direct_weight_gradient, (stride, pads, kernel), x, y)


def conv_transpose(
    y: Float[Array, "b h w o"], w: Float[Array, "kh kw i o"], stride: int, pads: Pads
) -> Float[Array, "b h2 w2 i"]:
    """Transpose of `conv` in its input: each pixel of y paints w, `stride` apart.

    Args:
        y: images or maps.
        w: kernel of the convolution that is transposed: its *last* axis meets y.
        stride: distance at which neighbours of y paint, both axes.
        pads: rows and columns cropped from the full result, ((top, bottom), (left, right));
            negative = zeros added. PyTorch's `padding` p with `output_padding` q is (p, p - q).

    Returns:
        Maps of height (h - 1) stride + kh - top - bottom, width alike, in y's type.

    Raises:
        ValueError: if nothing would be left of the result.
    """
    height, width = (
        (n - 1) * stride + k - lo - hi
        for n, k, (lo, hi) in zip(y.shape[1:3], w.shape[:2], pads, strict=True)
    )
    if height < 1 or width < 1:
        raise ValueError(f"pads {pads} crop the transposed convolution's result to nothing")
    return _transpose(y, w, stride, pads, (height, width))


def _conv_forward(x, w, stride, pads):
    return conv(x, w, stride, pads), (x, w)


def _conv_backward(stride, pads, saved, g):
    x, w = saved
    dx = _transpose(g, w, stride, pads, x.shape[1:3])
    return dx, jnp.asarray(weight_gradient(x, g, stride, pads, w.shape[:2]), w.dtype)


def _transpose_forward(y, w, stride, pads, size):
    return _transpose(y, w, stride, pads, size), (y, w)


def _transpose_backward(stride, pads, size, saved, g):
    y, w = saved
    dw = jnp.asarray(weight_gradient(g, y, stride, pads, w.shape[:2]), w.dtype)
    return conv(g, w, stride, pads), dw


def _weight_gradient_forward(x, y, stride, pads, kernel):
    return weight_gradient(x, y, stride, pads, kernel), (x, y)


def _weight_gradient_backward(stride, pads, kernel, saved, v):
    x, y = saved
    return _transpose(y, v, stride, pads, x.shape[1:3]), conv(x, v, stride, pads)


conv.defvjp(_conv_forward, _conv_backward)
_transpose.defvjp(_transpose_forward, _transpose_backward)
weight_gradient.defvjp(_weight_gradient_forward, _weight_gradient_backward)
