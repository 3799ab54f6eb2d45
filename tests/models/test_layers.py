"""Layers the networks share: types, statistics, dropout per example, padding, noise."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from retrojax.models.layers import (
    NORMS,
    Conv,
    ConvTranspose,
    Dropout,
    biased,
    instance_norm,
    join_noise,
    leaky_relu,
    make_norm,
    reflect_pad,
)


def normal(*shape, seed=0, mean=0.0, std=1.0):
    values = mean + std * np.random.default_rng(seed).normal(size=shape)
    return jnp.asarray(values.astype(np.float32))


def standardised(x, axes):
    wide = np.asarray(x, np.float64)
    return (wide - wide.mean(axes, keepdims=True)) / np.sqrt(wide.var(axes, keepdims=True) + 1e-5)


@pytest.mark.parametrize("layer", [Conv, ConvTranspose])
def test_bfloat16_computes_narrow_and_keeps_float32_parameters_and_gradients(layer):
    x, module = normal(1, 4, 4, 2), layer(3, 3, dtype=jnp.bfloat16)
    variables = jax.eval_shape(module.init, jax.random.key(0), x)
    slope = jax.grad(lambda v: module.apply(v, x).astype(jnp.float32).sum())
    gradients = jax.eval_shape(slope, variables)
    assert jax.eval_shape(module.apply, variables, x).dtype == jnp.bfloat16
    for leaf in jax.tree.leaves((variables, gradients)):
        assert leaf.dtype == jnp.float32


def test_without_a_type_a_convolution_computes_in_that_of_its_input():
    x = normal(1, 4, 4, 2).astype(jnp.bfloat16)
    y, variables = jax.eval_shape(Conv(3, 3).init_with_output, jax.random.key(0), x)
    assert y.dtype == jnp.bfloat16
    assert variables["params"]["kernel"].dtype == jnp.float32


@pytest.mark.parametrize("layer", [Conv, ConvTranspose])
def test_kernels_start_normal_with_deviation_002_and_biases_at_zero(layer):
    x = jnp.zeros((1, 5, 5, 32))
    params = jax.jit(layer(64, 5).init)(jax.random.key(0), x)["params"]
    channels = {Conv: (32, 64), ConvTranspose: (64, 32)}[layer]
    assert params["kernel"].shape == (5, 5, *channels)
    assert np.std(params["kernel"]) == pytest.approx(0.02, rel=0.02)
    assert abs(np.mean(params["kernel"])) < 5e-4
    np.testing.assert_array_equal(params["bias"], np.zeros(64))


@pytest.mark.parametrize("layer", [Conv, ConvTranspose])
def test_a_bias_is_added_to_every_pixel_and_only_if_wanted(layer):
    x = jnp.zeros((2, 4, 4, 2))
    params = {"kernel": jnp.ones((3, 3, *{Conv: (2, 3), ConvTranspose: (3, 2)}[layer]))}
    y = layer(3, 3).apply({"params": params | {"bias": jnp.arange(3.0)}}, x)
    np.testing.assert_array_equal(y, np.broadcast_to(np.arange(3.0), (2, 4, 4, 3)))
    assert np.abs(layer(3, 3, use_bias=False).apply({"params": params}, x)).max() == 0


@pytest.mark.parametrize("layer", [Conv, ConvTranspose])
def test_an_unknown_padding_lists_the_known_ones(layer):
    message = "unknown padding 'SAME'; choose same, valid, a number"
    # The annotation check that runs in tests speaks first; without it the layer does.
    with pytest.raises((ValueError, TypeError), match=f"{message}|Type-check"):
        layer(3, 3, padding="SAME").init(jax.random.key(0), jnp.zeros((1, 4, 4, 2)))


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (3.0, 0.01)])
def test_instance_norm_is_the_double_precision_formula(mean, std):
    x = normal(2, 32, 33, 3, mean=mean, std=std)
    np.testing.assert_allclose(instance_norm(x), standardised(x, (1, 2)), atol=2e-4)


def test_instance_norm_keeps_the_type_and_takes_its_statistics_in_float32():
    x = normal(2, 32, 32, 3, mean=3.0).astype(jnp.bfloat16)
    y = instance_norm(x)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(
        np.asarray(y, np.float64), standardised(x, (1, 2)), rtol=0.005, atol=1e-3
    )


def test_instance_norm_of_a_flat_map_is_zero_with_finite_gradients():
    x = jnp.full((1, 4, 4, 2), 3.0)
    np.testing.assert_array_equal(instance_norm(x), 0.0)
    slope = jax.grad(lambda x: (instance_norm(x) * jnp.arange(16.0).reshape(1, 4, 4, 1)).sum())(x)
    assert np.isfinite(slope).all()


class Normed(nn.Module):
    norm: str
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, *, train):
        return make_norm(self.norm, train=train, axis_name=self.axis_name)("n")(x)


def batch_variables(scale=(1.0, 2.0, 3.0), bias=(0.1, 0.2, 0.3)):
    return {
        "params": {"n": {"scale": jnp.asarray(scale), "bias": jnp.asarray(bias)}},
        "batch_stats": {"n": {"mean": jnp.asarray([0.5, 0.0, 1.0]), "var": jnp.full(3, 4.0)}},
    }


def test_batch_norm_in_training_uses_the_batch_and_moves_the_running_statistics_by_a_tenth():
    x, variables = normal(4, 6, 7, 3, mean=3.0, std=0.01), batch_variables()
    y, updated = Normed("batch").apply(variables, x, train=True, mutable=["batch_stats"])
    expected = standardised(x, (0, 1, 2)) * [1.0, 2.0, 3.0] + [0.1, 0.2, 0.3]
    np.testing.assert_allclose(y, expected, atol=1e-3)
    stats, wide = updated["batch_stats"]["n"], np.asarray(x, np.float64)
    np.testing.assert_allclose(
        stats["mean"], 0.9 * np.asarray([0.5, 0.0, 1.0]) + 0.1 * wide.mean((0, 1, 2)), rtol=1e-5
    )
    np.testing.assert_allclose(stats["var"], 0.9 * 4.0 + 0.1 * wide.var((0, 1, 2)), rtol=1e-6)


def test_batch_norm_out_of_training_uses_the_running_statistics_alone():
    x = normal(2, 3, 4, 3)
    y = Normed("batch").apply(batch_variables(), x, train=False)
    centred = (np.asarray(x) - [0.5, 0.0, 1.0]) / np.sqrt(4.0 + 1e-5)
    np.testing.assert_allclose(y, centred * [1.0, 2.0, 3.0] + [0.1, 0.2, 0.3], rtol=1e-4, atol=1e-5)


def test_batch_norm_over_a_mapped_axis_is_that_of_the_whole_batch():
    x, variables = normal(4, 3, 5, 3), batch_variables()
    whole = Normed("batch").apply(variables, x, train=True, mutable=["batch_stats"])
    apply = lambda part: Normed("batch", "devices").apply(  # noqa: E731
        variables, part, train=True, mutable=["batch_stats"]
    )
    parts, stats = jax.vmap(apply, axis_name="devices")(x.reshape(2, 2, 3, 5, 3))
    np.testing.assert_allclose(parts.reshape(x.shape), whole[0], atol=1e-5)
    for leaf, expected in zip(jax.tree.leaves(stats), jax.tree.leaves(whole[1]), strict=True):
        np.testing.assert_allclose(leaf[0], expected, rtol=1e-5, atol=1e-6)


def test_batch_norm_starts_with_scales_around_one():
    x = jnp.zeros((1, 2, 2, 4096))
    init = jax.jit(Normed("batch").init, static_argnames="train")
    params = init(jax.random.key(0), x, train=True)["params"]["n"]
    assert np.mean(params["scale"]) == pytest.approx(1.0, abs=0.002)
    assert np.std(params["scale"]) == pytest.approx(0.02, rel=0.05)
    np.testing.assert_array_equal(params["bias"], 0.0)


def test_the_other_norms_are_instance_norm_and_nothing_and_have_no_parameters():
    x = normal(2, 4, 5, 3, mean=2.0)
    y, variables = Normed("instance").init_with_output(jax.random.key(0), x, train=True)
    np.testing.assert_array_equal(y, instance_norm(x))
    same, none = Normed("none").init_with_output(jax.random.key(0), x, train=True)
    np.testing.assert_array_equal(same, x)
    assert variables == none == {}


def test_only_before_instance_norm_have_inner_convolutions_a_bias():
    assert {name: biased(name) for name in NORMS} == {
        "instance": True,
        "batch": False,
        "none": False,
    }


def test_an_unknown_norm_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown norm 'layer'; choose one of instance, batch, no"):
        make_norm("layer", train=True)


@functools.partial(jax.jit, static_argnames=("rate", "train"))
def drop(x, rate, seed=0, train=True):
    return Dropout(rate).apply({}, x, train=train, rngs={"dropout": jax.random.key(seed)})


def test_dropout_draws_for_an_example_whatever_the_batch():
    x = jnp.ones((6, 8, 8, 3))
    large, small = drop(x, 0.5), drop(x[:2], 0.5)
    np.testing.assert_array_equal(large[:2], small)
    assert len({row.tobytes() for row in np.asarray(large)}) == 6
    assert (np.asarray(drop(x, 0.5, 1)) != np.asarray(drop(x, 0.5, 0))).any()


def test_dropout_zeroes_its_rate_and_makes_up_for_it():
    out = np.asarray(drop(jnp.full((2, 100, 50, 2), 3.0), 0.25))
    assert (out == 0).mean() == pytest.approx(0.25, abs=0.01)
    np.testing.assert_allclose(out[out != 0], 4.0, rtol=1e-6)


def test_dropout_is_off_out_of_training_and_at_rate_zero_and_then_takes_no_key():
    x = normal(2, 3, 4)
    np.testing.assert_array_equal(Dropout(0.5).apply({}, x, train=False), x)
    np.testing.assert_array_equal(Dropout(0.0).apply({}, x, train=True), x)


def test_dropout_keeps_the_type():
    assert drop(jnp.ones((1, 4), jnp.bfloat16), 0.5).dtype == jnp.bfloat16


@pytest.mark.parametrize("rate", [1.0, -0.1])
def test_a_rate_that_is_no_share_is_refused(rate):
    with pytest.raises(ValueError, match=rf"dropout rate must be in \[0, 1\), got {rate}"):
        drop(jnp.ones((1, 4)), rate, train=False)


def test_reflected_borders_are_numpys():
    x = normal(2, 4, 5, 3)
    expected = np.pad(np.asarray(x), ((0, 0), (3, 3), (3, 3), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(reflect_pad(x, 3), expected)


def test_leaky_relu_has_slope_a_fifth_below_zero():
    x = jnp.asarray([-2.0, -0.5, 0.0, 3.0])
    np.testing.assert_allclose(leaky_relu(x), [-0.4, -0.1, 0.0, 3.0], rtol=1e-6)


def test_noise_follows_the_source_among_the_channels():
    source, noise = normal(2, 4, 5, 3), normal(2, 4, 5, 1, seed=1)
    joined = join_noise(source, noise, 1)
    np.testing.assert_array_equal(joined, np.concatenate([source, noise], axis=-1))
    np.testing.assert_array_equal(join_noise(source, None, 0), source)
    assert join_noise(source.astype(jnp.bfloat16), noise, 1).dtype == jnp.bfloat16


def test_noise_that_does_not_fit_is_refused():
    source = jnp.zeros((2, 4, 5, 3))
    with pytest.raises(ValueError, match=r"takes no noise \(noise_channels=0\): pass noise=None"):
        join_noise(source, jnp.zeros((2, 4, 5, 1)), 0)
    with pytest.raises(ValueError, match=r"pass noise of shape \(2, 4, 5, 2\)"):
        join_noise(source, None, 2)
    with pytest.raises(ValueError, match=r"shape \(2, 4, 5, 1\), must be \(2, 4, 5, 2\)"):
        join_noise(source, jnp.zeros((2, 4, 5, 1)), 2)
