"""Convolution, its transpose and its weight gradient: adjoint, equal to Flax, no slow path."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from retrojax.models.conv import conv, conv_size, conv_transpose, same_pads, weight_gradient
from retrojax.models.conv_direct import cuda_weight_gradient
from retrojax.models.layers import Conv, ConvTranspose


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


# (kernel, stride, pads, size of the image); the third leaves a row and a column unread.
GEOMETRIES = [
    (3, 1, ((1, 1), (1, 1)), (7, 6)),
    (4, 2, ((1, 1), (1, 1)), (9, 12)),
    (3, 2, ((0, 0), (0, 0)), (8, 8)),
    (5, 3, ((0, 3), (2, 1)), (8, 7)),
    (2, 3, ((0, 1), (1, 0)), (8, 8)),
    (3, 1, ((-1, 2), (0, -1)), (7, 8)),
    (5, 1, ((4, 4), (4, 4)), (2, 3)),
]


def test_a_gpu_multiplies_bfloat16_maps_for_the_weight_gradient():
    """Asked for float32 sums, XLA would widen the maps before cuDNN sees them."""
    geometry = (2, ((1, 1), (1, 1)), (4, 4))
    x, y = normal(2, 8, 8, 3, seed=1), normal(2, 4, 4, 5, seed=2)
    half = x.astype(jnp.bfloat16), y.astype(jnp.bfloat16)
    traced = jax.jit(lambda x, y: weight_gradient(x, y, *geometry)).trace(*half)
    types = "(tensor<2x8x8x3xbf16>, tensor<2x4x4x5xbf16>) -> tensor<4x4x3x5x{}>"
    for platform, result in (("cuda", "bf16"), ("tpu", "f32")):
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        assert types.format(result) in text
    exact = weight_gradient(x, y, *geometry)
    found = cuda_weight_gradient(*half, *geometry)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, exact, rtol=2e-2, atol=0.1)
    np.testing.assert_allclose(cuda_weight_gradient(x, y, *geometry), exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("kernel", "stride", "pads", "size"), GEOMETRIES)
def test_the_three_are_the_transposes_of_one_form(kernel, stride, pads, size):
    """<y, conv(x, w)> = <x, conv_transpose(y, w)> = <w, weight_gradient(x, y)>."""
    x, w = normal(2, *size, 3, seed=1), normal(kernel, kernel, 3, 4, seed=2)
    height, width = conv_size(size, (kernel, kernel), stride, pads)
    y = normal(2, height, width, 4, seed=3)

    @jax.jit
    def forms(x, w, y):
        out = conv(x, w, stride, pads)
        back = jax.linear_transpose(
            lambda x: jax.lax.conv_general_dilated(
                x, w, (stride, stride), pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
            ),
            x,
        )(y)[0]
        ours = jax.vjp(lambda x: conv(x, w, stride, pads), x)[1](y)[0]
        return out, weight_gradient(x, y, stride, pads, (kernel, kernel)), ours, back

    out, dw, dx, reference = forms(x, w, y)
    form = np.vdot(y, out)
    np.testing.assert_allclose(np.vdot(w, dw), form, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(np.vdot(x, dx), form, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(dx, reference, atol=1e-4)


def test_conv_transpose_is_the_transpose_of_conv():
    x, w, y = normal(2, 11, 12, 3), normal(4, 4, 3, 5, seed=1), normal(2, 5, 6, 5, seed=2)
    pads = ((1, 0), (1, 1))
    form = np.vdot(y, jax.jit(conv, static_argnums=(2, 3))(x, w, 2, pads))
    back = jax.jit(conv_transpose, static_argnums=(2, 3))(y, w, 2, pads)
    assert back.shape == x.shape
    np.testing.assert_allclose(np.vdot(x, back), form, rtol=1e-4)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [5, 8])
@pytest.mark.parametrize("kernel", [1, 3, 4])
def test_same_is_the_rule_of_lax(kernel, size, stride):
    ours = same_pads((size, size + 1), (kernel, kernel), stride)
    theirs = jax.lax.padtype_to_pads((size, size + 1), (kernel, kernel), (stride, stride), "SAME")
    assert ours == tuple(theirs)
    assert conv_size((size, size + 1), (kernel, kernel), stride, ours) == (
        -(-size // stride),
        -(-(size + 1) // stride),
    )


def derivatives(layer, params, x, weights):
    """Value, first gradients, and gradients of the squared slope (a penalty as R1)."""

    def value(params, x):
        # The sine makes the second derivative depend on x and on the bias.
        return (jnp.sin(layer.apply({"params": params}, x)) * weights).sum()

    def penalty(params, x):
        return (jax.grad(value, argnums=1)(params, x) ** 2).sum()

    out = layer.apply({"params": params}, x)
    first = jax.grad(value, argnums=(0, 1))(params, x)
    return out, first, jax.grad(penalty, argnums=(0, 1))(params, x)


def check_equal(ours, theirs, x, kernel_shape):
    params = {"kernel": 0.4 * normal(*kernel_shape, seed=5), "bias": 0.1 * normal(3, seed=6)}
    shape = jax.eval_shape(lambda: theirs.apply({"params": params}, x)).shape
    weights = normal(*shape, seed=7)

    @jax.jit
    def both(params, x):
        return [derivatives(layer, params, x, weights) for layer in (ours, theirs)]

    mine, flax = both(params, x)
    assert jax.tree.structure(mine) == jax.tree.structure(flax)
    for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(flax), strict=True):
        assert a.shape == b.shape and np.abs(b).max() > 0
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "size"),
    [
        (3, 1, "same", (5, 6)),
        (4, 2, "same", (7, 10)),
        (2, 3, "same", (8, 7)),
        (3, 2, "valid", (8, 9)),
        (4, 1, 1, (5, 6)),
        (5, 2, ((0, 3), (2, 1)), (8, 7)),
    ],
)
def test_conv_is_flaxs_in_value_first_and_second_derivatives(kernel, stride, padding, size):
    x = normal(2, *size, 2, seed=4)
    explicit = padding.upper() if isinstance(padding, str) else padding
    theirs = nn.Conv(3, (kernel, kernel), stride, explicit)
    check_equal(Conv(3, kernel, stride, padding), theirs, x, (kernel, kernel, 2, 3))


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "size"),
    [
        (3, 1, "same", (5, 4)),
        (4, 2, "same", (3, 5)),
        (2, 3, "same", (4, 3)),
        (5, 2, "valid", (3, 4)),
        (4, 2, 1, (4, 3)),
        (3, 2, ((1, 0), (1, 0)), (3, 5)),
    ],
)
def test_conv_transpose_is_flaxs_in_value_first_and_second_derivatives(
    kernel, stride, padding, size
):
    x = normal(2, *size, 2, seed=4)
    if isinstance(padding, str):
        explicit = padding.upper()
    else:
        cropped = ((padding, padding),) * 2 if isinstance(padding, int) else padding
        explicit = [(kernel - 1 - lo, kernel - 1 - hi) for lo, hi in cropped]
    theirs = nn.ConvTranspose(
        3, (kernel, kernel), (stride, stride), explicit, transpose_kernel=True
    )
    ours = ConvTranspose(3, kernel, stride, padding)
    check_equal(ours, theirs, x, (kernel, kernel, 3, 2))


def program(layer, x):
    """Compiled text of the first and second derivatives of a layer."""
    params = layer.init(jax.random.key(0), x)["params"]
    weights = jnp.ones(jax.eval_shape(layer.apply, {"params": params}, x).shape)
    run = jax.jit(lambda params, x: derivatives(layer, params, x, weights))
    return run.lower(params, x).compile().as_text()


@pytest.mark.parametrize("padding", ["same", 3])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("layer", [Conv, ConvTranspose])
def test_no_derivative_swaps_the_operands(layer, stride, padding):
    """Padding 3 makes the output of a convolution larger than its input."""
    text = program(layer(2, 4, stride, padding), normal(1, 7, 7, 2))
    assert "convolution(" in text
    assert "rhs_reversal" not in text


def test_flaxs_own_derivatives_do_swap_them():
    """Proof that the test above looks for the right word."""
    assert "rhs_reversal" in program(nn.Conv(2, (4, 4), 2), normal(1, 7, 7, 2))


def test_weight_gradients_of_bfloat16_maps_are_summed_in_float32():
    x, y = jnp.ones((1, 1, 257, 1), jnp.bfloat16), jnp.ones((1, 1, 257, 1), jnp.bfloat16)
    total = weight_gradient(x, y, 1, ((0, 0), (0, 0)), (1, 1))
    assert total.dtype == jnp.float32
    # Bfloat16 holds 256 and 258.
    assert total.item() == 257.0


def test_the_images_type_decides_and_the_kernel_keeps_its_own():
    x, w = normal(1, 4, 4, 2).astype(jnp.bfloat16), normal(3, 3, 2, 3)
    y, pullback = jax.vjp(lambda x, w: conv(x, w, 1, ((1, 1), (1, 1))), x, w)
    dx, dw = jax.eval_shape(pullback, y)
    assert (y.dtype, dx.dtype, dw.dtype) == (jnp.bfloat16, jnp.bfloat16, jnp.float32)


def test_forward_mode_is_refused():
    x, w = normal(1, 4, 4, 2), normal(3, 3, 2, 3)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda x: conv(x, w, 1, ((1, 1), (1, 1))), (x,), (x,))


def test_kernels_larger_than_the_padded_input_are_refused():
    message = r"a 5x5 kernel is larger than the 2x3 input padded to 4x5; use a larger image"
    with pytest.raises(ValueError, match=message):
        conv(normal(1, 2, 3, 1), normal(5, 5, 1, 1), 1, ((1, 1), (1, 1)))


def test_a_transpose_that_crops_everything_is_refused():
    with pytest.raises(ValueError, match="crop the transposed convolution's result to nothing"):
        conv_transpose(normal(1, 2, 2, 1), normal(3, 3, 1, 1), 1, ((2, 2), (2, 2)))


def test_equal_shapes_are_traced_and_lowered_once():
    x = jax.ShapeDtypeStruct((1, 8, 8, 4), jnp.float32)
    w = jax.ShapeDtypeStruct((3, 3, 4, 4), jnp.float32)
    pads = ((1, 1), (1, 1))
    twice = jax.jit(lambda x, w: conv(conv(x, w, 1, pads), w, 1, pads)).lower(x, w).as_text()
    assert twice.count("func.func private @_by_backend") == 1
    assert twice.count("call @_by_backend") == 2
