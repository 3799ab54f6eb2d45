"""Halving and doubling by slices: equal to depthwise convolutions and to bilinear resizing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from retrojax.models.layers import blur_down, blur_up, resample_down, resample_up, smooth


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def depthwise(x, taps, pads, *, stride=1, dilation=1, gain=1.0):
    """Each channel by itself, as a convolution with the outer product of `taps`."""
    kernel = gain * np.outer(taps, taps) / np.sum(taps) ** 2
    kernel = jnp.tile(jnp.asarray(kernel, jnp.float32)[:, :, None, None], (1, 1, 1, x.shape[-1]))
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        (pads, pads),
        lhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def mirrored(x, mode):
    return jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode=mode)


FOUR = (1, 3, 3, 1)
PAIRS = {
    "blur_down": (
        blur_down,
        lambda x: depthwise(mirrored(x, "reflect"), (1, 2, 1), (0, 0), stride=2),
    ),
    "blur_up": (
        blur_up,
        lambda x: depthwise(mirrored(x, "edge"), FOUR, (0, 0), dilation=2, gain=4),
    ),
    "resample_down": (resample_down, lambda x: depthwise(x, FOUR, (1, 1), stride=2)),
    "resample_up": (resample_up, lambda x: depthwise(x, FOUR, (2, 2), dilation=2, gain=4)),
    "smooth": (lambda x: smooth(x, 2), lambda x: depthwise(x, FOUR, (2, 2))),
}


def derivatives(function, x):
    """Value, slope, and the slope of the slope's square, of a function that bends."""
    shape = jax.eval_shape(function, x).shape
    value = lambda x: (jnp.sin(function(x)) * normal(*shape, seed=1)).sum()  # noqa: E731
    penalty = lambda x: (jax.grad(value)(x) ** 2).sum()  # noqa: E731
    return function(x), jax.grad(value)(x), jax.grad(penalty)(x)


@pytest.mark.parametrize("size", [(8, 6), (7, 9)])
@pytest.mark.parametrize("name", PAIRS)
def test_slices_are_the_depthwise_convolution_in_value_and_derivatives(name, size):
    x = normal(2, *size, 3)
    ours, theirs = jax.jit(lambda x: [derivatives(f, x) for f in PAIRS[name]])(x)
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape and np.abs(b).max() > 0
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("size", [(8, 6), (1, 5)])
def test_doubling_with_continued_borders_is_bilinear_resizing(size):
    x = normal(2, *size, 3)
    shape = (2, 2 * size[0], 2 * size[1], 3)
    np.testing.assert_allclose(blur_up(x), jax.image.resize(x, shape, "linear"), atol=1e-6)


@pytest.mark.parametrize(("function", "sizes"), [(blur_down, (4, 5)), (resample_down, (4, 4))])
def test_an_odd_map_is_halved_up_by_the_blur_and_down_by_the_resampling(function, sizes):
    assert function(normal(1, 8, 9, 2)).shape == (1, *sizes, 2)


@pytest.mark.parametrize("function", [blur_down, blur_up, resample_down, resample_up])
def test_flat_maps_stay_flat_inside_and_types_stay(function):
    y = function(jnp.ones((1, 8, 8, 2), jnp.bfloat16))
    assert y.dtype == jnp.bfloat16
    np.testing.assert_array_equal(y[:, 1:-1, 1:-1].astype(jnp.float32), 1.0)


def test_zeros_lie_outside_in_the_resampling_alone():
    x = jnp.ones((1, 4, 4, 1))
    np.testing.assert_array_equal(blur_up(x), 1.0)
    np.testing.assert_allclose(resample_up(x)[0, 0, :, 0], [0.5625, *[0.75] * 6, 0.5625])


@pytest.mark.parametrize("name", PAIRS)
def test_no_convolution_is_left_in_the_program(name):
    lowered = jax.jit(lambda x: derivatives(PAIRS[name][0], x)).lower(normal(1, 6, 6, 2))
    assert "convolution" not in lowered.as_text()
