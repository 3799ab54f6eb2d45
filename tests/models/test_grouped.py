"""The grouped convolution: Flax's in value and derivatives, without its slow weight gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from retrojax.models.grouped import grouped_conv, grouped_weight_gradient
from retrojax.models.layers import GroupedConv


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def derivatives(layer, params, x, weights):
    """Value, first gradients, and gradients of the squared slope (a penalty as R1)."""

    def value(params, x):
        return (jnp.sin(layer.apply({"params": params}, x)) * weights).sum()

    def penalty(params, x):
        return (jax.grad(value, argnums=1)(params, x) ** 2).sum()

    out = layer.apply({"params": params}, x)
    first = jax.grad(value, argnums=(0, 1))(params, x)
    return out, first, jax.grad(penalty, argnums=(0, 1))(params, x)


@pytest.mark.parametrize(("groups", "inputs", "outputs"), [(1, 3, 2), (2, 4, 6), (4, 4, 4)])
def test_it_is_flaxs_in_value_first_and_second_derivatives(groups, inputs, outputs):
    x, weights = normal(2, 4, 5, inputs), normal(2, 4, 5, outputs, seed=1)
    params = {
        "kernel": 0.4 * normal(3, 3, inputs // groups, outputs, seed=2),
        "bias": 0.1 * normal(outputs, seed=3),
    }
    theirs = nn.Conv(outputs, (3, 3), padding=1, feature_group_count=groups)

    @jax.jit
    def both(params, x):
        layers = (GroupedConv(outputs, groups), theirs)
        return [derivatives(layer, params, x, weights) for layer in layers]

    mine, flax = both(params, x)
    assert jax.tree.structure(mine) == jax.tree.structure(flax)
    for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(flax), strict=True):
        assert a.shape == b.shape and np.abs(b).max() > 0
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-4)


def test_its_parameters_are_flaxs():
    x = jax.ShapeDtypeStruct((1, 4, 4, 6), jnp.float32)
    ours, theirs = (
        jax.eval_shape(layer.init, jax.random.key(0), x)
        for layer in (GroupedConv(4, 2), nn.Conv(4, (3, 3), feature_group_count=2))
    )
    assert ours == theirs


def test_the_weight_gradient_is_its_transpose():
    x, w, y = normal(2, 4, 5, 6), normal(3, 3, 2, 9, seed=1), normal(2, 4, 5, 9, seed=2)
    form = np.vdot(y, grouped_conv(x, w, 3))
    np.testing.assert_allclose(np.vdot(w, grouped_weight_gradient(x, y, 3)), form, rtol=1e-4)


def test_no_derivative_takes_a_batch_of_groups():
    """Flax's own weight gradient is one: proof that the words are the right ones."""
    x = normal(2, 4, 4, 6)
    params = {"kernel": normal(3, 3, 2, 6), "bias": normal(6)}

    def program(layer):
        run = jax.jit(lambda params, x: derivatives(layer, params, x, x))
        return run.lower(params, x).as_text()

    ours, flax = program(GroupedConv(6, 3)), program(nn.Conv(6, (3, 3), feature_group_count=3))
    assert "feature_group_count = 3" in ours and "batch_group_count = 3" not in ours
    assert "batch_group_count = 3" in flax


def test_bfloat16_maps_have_float32_weight_gradients_and_kernels():
    x, layer = normal(1, 4, 4, 4), GroupedConv(4, 2, dtype=jnp.bfloat16)
    variables = jax.eval_shape(layer.init, jax.random.key(0), x)
    slope = jax.grad(lambda v: layer.apply(v, x).astype(jnp.float32).sum())
    assert jax.eval_shape(layer.apply, variables, x).dtype == jnp.bfloat16
    for leaf in jax.tree.leaves((variables, jax.eval_shape(slope, variables))):
        assert leaf.dtype == jnp.float32
    narrow = jnp.ones((1, 17, 17, 1), jnp.bfloat16)
    # Bfloat16 holds 288 and 290.
    assert grouped_weight_gradient(narrow, narrow, 1)[1, 1, 0, 0].item() == 289.0


@pytest.mark.parametrize(("channels", "outputs"), [(5, 6), (4, 5)])
def test_channels_that_do_not_fit_the_groups_are_refused(channels, outputs):
    message = r"2 groups of 2 channels do not make the .* choose other widths"
    with pytest.raises(ValueError, match=message):
        grouped_conv(normal(1, 3, 3, channels), normal(3, 3, 2, outputs), 2)
