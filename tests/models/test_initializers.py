"""Starting again by a scheme: deviations, independence of what else is in the tree, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.models import (
    PatchDiscriminator,
    R3GANGenerator,
    ResNetGenerator,
    UNetGenerator,
    reinitialise,
)

TREE = {
    "conv": {"kernel": jnp.ones((3, 3, 64, 128)), "bias": jnp.ones(128)},
    "dense": {"kernel": jnp.ones((300, 256))},
    "norm": {"scale": jnp.zeros(4096), "bias": jnp.ones(4096)},
}


@pytest.mark.parametrize(
    ("scheme", "conv", "dense"),
    [
        ("normal", 0.02, 0.02),
        ("xavier", 0.02 * np.sqrt(2 / (9 * 192)), 0.02 * np.sqrt(2 / 556)),
    ],
)
def test_kernels_have_the_schemes_deviation_and_the_rest_its_start(scheme, conv, dense):
    params = reinitialise(jax.random.key(0), TREE, scheme)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, TREE)
    for name, deviation in (("conv", conv), ("dense", dense)):
        kernel = np.asarray(params[name]["kernel"])
        assert kernel.std() == pytest.approx(deviation, rel=0.02)
        assert abs(kernel.mean()) < 0.02 * deviation
        # Not truncated: of 70,000 values and more some lie beyond four deviations.
        assert np.abs(kernel).max() > 3.8 * deviation
    for name in ("conv", "norm"):
        np.testing.assert_array_equal(params[name]["bias"], 0.0)
    scale = np.asarray(params["norm"]["scale"])
    assert scale.mean() == pytest.approx(1, abs=0.002)
    assert scale.std() == pytest.approx(0.02, rel=0.05)


def test_the_spec_of_cut_is_met_by_a_block():
    """Deviation 4.2e-4 for a 3x3 kernel from 256 to 256 channels."""
    params = {"kernel": jnp.ones((3, 3, 256, 256))}
    kernel = reinitialise(jax.random.key(0), params, "xavier")["kernel"]
    assert np.std(kernel) == pytest.approx(4.2e-4, rel=0.01)


def test_a_leaf_depends_on_the_key_and_its_own_path_alone():
    key = jax.random.key(0)
    whole = reinitialise(key, TREE, "xavier")
    part = reinitialise(key, {"conv": TREE["conv"]}, "xavier")
    np.testing.assert_array_equal(part["conv"]["kernel"], whole["conv"]["kernel"])
    twins = reinitialise(key, {"a": TREE["dense"], "b": TREE["dense"]}, "normal")
    assert (twins["a"]["kernel"] != twins["b"]["kernel"]).any()
    other = reinitialise(jax.random.key(1), TREE, "xavier")
    assert (other["conv"]["kernel"] != whole["conv"]["kernel"]).any()


@pytest.mark.slow
@pytest.mark.parametrize(
    "module",
    [
        ResNetGenerator(features=2, blocks=1, norm="batch"),
        UNetGenerator(features=2, levels=3),
        PatchDiscriminator(features=2, layers=1),
    ],
    ids=lambda module: type(module).__name__,
)
def test_every_translation_network_can_start_again(module):
    images = jnp.zeros((1, 16, 16, 3))
    params = jax.jit(module.init)(jax.random.key(0), images)["params"]
    again = jax.jit(reinitialise, static_argnums=2)(jax.random.key(0), params, "xavier")
    assert jax.tree.map(jnp.shape, again) == jax.tree.map(jnp.shape, params)


def test_a_network_with_weights_of_another_kind_is_refused():
    module = R3GANGenerator(widths=(8, 8))
    z = jax.ShapeDtypeStruct((1, 64), jnp.float32)
    params = jax.eval_shape(module.init, jax.random.key(0), z)["params"]
    with pytest.raises(ValueError, match="basis is neither kernel, bias nor scale"):
        jax.eval_shape(lambda p: reinitialise(jax.random.key(0), p, "normal"), params)


def test_an_unknown_scheme_is_refused():
    with pytest.raises(ValueError, match="unknown scheme 'kaiming'; choose one of normal, xavier"):
        reinitialise(jax.random.key(0), TREE, "kaiming")
