"""Grouped 3x3 convolution and its weight gradient, each the derivative of the other.

As in `retrojax.models.conv`, the derivatives of every order are again these functions; here the
transpose of the convolution is a convolution too, with the kernel mirrored and each group's block
transposed. The weight gradient is nine batched matrix products over shifted slices: XLA's own, a
convolution with `batch_group_count`, takes hundreds of times longer on CPU.

Contract: NHWC images, stride 1, one zero on every side; `w` is [3, 3, c, groups * o], c inputs and
o outputs a group, as `lax.conv_general_dilated` with `feature_group_count`; the computation runs
in the type of the images, weight gradients are summed in float32 at least. Reverse mode only.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def grouped_conv(
    x: Float[Array, "b h w i"], w: Float[Array, "3 3 c o"], groups: int
) -> Float[Array, "b h w o"]:
    """3x3 cross-correlation within groups of channels; height and width stay.

    Args:
        x: images or maps.
        w: kernel; the outputs of a group lie together.
        groups: number of groups; divides both numbers of channels.

    Returns:
        Maps of x's type: the outputs of group k see only its inputs, channels k c .. k c + c - 1.

    Raises:
        ValueError: if the channels do not fit the kernel and the groups.
    """
    if x.shape[-1] != groups * w.shape[2] or w.shape[3] % groups:
        raise ValueError(
            f"{groups} groups of {w.shape[2]} channels do not make the {x.shape[-1]} of the "
            f"input, or do not divide the {w.shape[3]} of the output; choose other widths"
        )
    return lax.conv_general_dilated(
        x,
        w.astype(x.dtype),
        (1, 1),
        ((1, 1), (1, 1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def grouped_weight_gradient(
    x: Float[Array, "b h w i"], y: Float[Array, "b h w o"], groups: int
) -> Float[Array, "3 3 c o"]:
    """Transpose of `grouped_conv` in its kernel.

    Args:
        x: `grouped_conv`'s input.
        y: a cotangent of its output.
        groups: number of groups.

    Returns:
        The gradient of <y, grouped_conv(x, w, groups)> with respect to w, in float32 at least.
    """
    height, width = x.shape[1:3]
    wide = jnp.promote_types(x.dtype, jnp.float32)
    # Groups first: they are the batch of the products.
    x = jnp.moveaxis(x.reshape(*x.shape[:3], groups, -1), 3, 0)
    x = jnp.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)))
    y = jnp.moveaxis(y.reshape(-1, groups, y.shape[-1] // groups), 1, 0)

    def product(row: int, column: int) -> Array:
        shifted = x[:, :, row : row + height, column : column + width]
        pixels = shifted.reshape(groups, -1, x.shape[-1])
        return jnp.einsum("gnc,gno->cgo", pixels, y, preferred_element_type=wide)

    rows = [jnp.stack([product(row, column) for column in range(3)]) for row in range(3)]
    return jnp.stack(rows).reshape(3, 3, x.shape[-1], -1)


def _transposed(w: Array, groups: int) -> Array:
    """The kernel of `grouped_conv`'s transpose in its input."""
    blocks = w.reshape(3, 3, w.shape[2], groups, -1)[::-1, ::-1].swapaxes(2, 4)
    return blocks.reshape(3, 3, blocks.shape[2], -1)


def _conv_forward(x, w, groups):
    return grouped_conv(x, w, groups), (x, w)


def _conv_backward(groups, saved, g):
    x, w = saved
    dx = grouped_conv(g, _transposed(w, groups), groups)
    return dx, jnp.asarray(grouped_weight_gradient(x, g, groups), w.dtype)


def _weight_gradient_forward(x, y, groups):
    return grouped_weight_gradient(x, y, groups), (x, y)


def _weight_gradient_backward(groups, saved, v):
    x, y = saved
    return grouped_conv(y, _transposed(v, groups), groups), grouped_conv(x, v, groups)


grouped_conv.defvjp(_conv_forward, _conv_backward)
grouped_weight_gradient.defvjp(_weight_gradient_forward, _weight_gradient_backward)
