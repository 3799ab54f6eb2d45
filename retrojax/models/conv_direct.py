"""Convolution, its transpose and its weight gradient as XLA's own convolutions.

The forms that every backend has; `conv.py` says what the functions are.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Pads = tuple[tuple[int, int], tuple[int, int]]
Size = tuple[int, ...]
"""Height and width, as `shape[1:3]` gives them."""


def direct_conv(
    x: Float[Array, "b h w i"], w: Float[Array, "kh kw i o"], stride: int, pads: Pads
) -> Float[Array, "b h2 w2 o"]:
    """The convolution, in x's type."""
    return lax.conv_general_dilated(
        x, w.astype(x.dtype), (stride, stride), pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def direct_transpose(
    y: Float[Array, "b h2 w2 o"], w: Float[Array, "kh kw i o"], stride: int, pads: Pads, size: Size
) -> Float[Array, "b h w i"]:
    """Its transpose in the input, of height and width `size`, in y's type."""
    dilated = [(n - 1) * stride + 1 for n in y.shape[1:3]]
    lows = [k - 1 - lo for k, (lo, _) in zip(w.shape[:2], pads, strict=True)]
    full = [
        (lo, n + k - 1 - d - lo)
        for n, k, d, lo in zip(size, w.shape[:2], dilated, lows, strict=True)
    ]
    return lax.conv_general_dilated(
        y,
        lax.rev(w.astype(y.dtype), (0, 1)),
        (1, 1),
        full,
        lhs_dilation=(stride, stride),
        dimension_numbers=("NHWC", "HWOI", "NHWC"),
    )


def direct_weight_gradient(
    x: Float[Array, "b h w i"], y: Float[Array, "b h2 w2 o"], stride: int, pads: Pads, kernel: Size
) -> Float[Array, "kh kw i o"]:
    """Its transpose in the kernel, of height and width `kernel`, in float32 at least."""
    return _weight_gradient(x, y, stride, pads, kernel, jnp.promote_types(x.dtype, jnp.float32))


def cuda_weight_gradient(
    x: Float[Array, "b h w i"], y: Float[Array, "b h2 w2 o"], stride: int, pads: Pads, kernel: Size
) -> Float[Array, "kh kw i o"]:
    """The same, rounded once to the maps' type.

    cuDNN sums in float32 in any case. Asked to return float32 for bfloat16 maps, XLA first widens
    the maps: twice the bytes, and TF32 at half the speed.
    """
    sums = _weight_gradient(x, y, stride, pads, kernel, x.dtype)
    return sums.astype(jnp.promote_types(x.dtype, jnp.float32))


def _weight_gradient(
    x: Array, y: Array, stride: int, pads: Pads, kernel: Size, result: jnp.dtype
) -> Array:
    # Whichever map is larger must play the image and the other the kernel: a kernel larger than
    # its image is what makes XLA swap the operands.
    if y.shape[1] * y.shape[2] > x.shape[1] * x.shape[2]:
        full = [
            (k - 1 - lo, n + lo - (m - 1) * stride - 1)
            for k, n, m, (lo, _) in zip(kernel, x.shape[1:3], y.shape[1:3], pads, strict=True)
        ]
        mirrored = lax.conv_general_dilated(
            y,
            x,
            (1, 1),
            full,
            lhs_dilation=(stride, stride),
            dimension_numbers=("CHWN", "IHWO", "HWNC"),
            preferred_element_type=result,
        )
        return lax.rev(mirrored, (0, 1)).swapaxes(2, 3)
    full = [
        (lo, k + (m - 1) * stride - n - lo)
        for k, n, m, (lo, _) in zip(kernel, x.shape[1:3], y.shape[1:3], pads, strict=True)
    ]
    return lax.conv_general_dilated(
        x,
        y,
        (1, 1),
        full,
        rhs_dilation=(stride, stride),
        dimension_numbers=("CHWN", "IHWO", "HWNC"),
        preferred_element_type=result,
    )
