"""Rematerialised stages: the same parameters and gradients, fewer activations kept."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.models import (
    PatchDiscriminator,
    R3GANDiscriminator,
    R3GANGenerator,
    ResNetGenerator,
    SinCUTDiscriminator,
    SinCUTGenerator,
    UNetGenerator,
)
from retrojax.models.stages import remat_saves_memory

NETWORKS = {
    "resnet": (ResNetGenerator(features=4, blocks=2, dropout=0.5), (2, 16, 16, 3)),
    "unet": (UNetGenerator(features=4, levels=5), (2, 32, 32, 3)),
    "patch": (PatchDiscriminator(features=4, norm="batch"), (2, 32, 32, 3)),
    "sincut": (SinCUTGenerator(features=4, noise_channels=0), (2, 16, 16, 3)),
    "sincut-critic": (SinCUTDiscriminator(widths=(4, 4, 8)), (2, 16, 16, 3)),
    "r3gan": (R3GANGenerator(widths=(16, 16), group_channels=4, latent_size=8), (2, 8)),
    "r3gan-critic": (R3GANDiscriminator(widths=(16, 16), group_channels=4), (2, 8, 8, 3)),
}
# Compilers apart, what a pullback keeps from the forward pass, as a share of what it kept without.
KEPT = {
    "resnet": 0.5, "unet": 0.6, "patch": 0.5, "sincut": 0.5, "sincut-critic": 0.5, "r3gan": 0.7,
    "r3gan-critic": 0.5,
}  # fmt: skip


def setting(name):
    network, shape = NETWORKS[name]
    x = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)
    return network, x, jax.eval_shape(network.init, jax.random.key(0), x)


def weights(shapes):
    rng = np.random.default_rng(1)
    return jax.tree.map(
        lambda leaf: jnp.asarray(0.1 * rng.normal(size=leaf.shape), leaf.dtype), shapes
    )


def apply(network, variables, x):
    names = [name for name in variables if name != "params"]
    rngs = {"dropout": jax.random.key(2)}
    return network.apply(variables, x, train=True, mutable=names, rngs=rngs)


def kept(network, variables, x):
    """Bytes that the pullback holds beside the parameters and the input."""

    def pullback(variables, x):
        return jax.vjp(lambda variables, x: apply(network, variables, x)[0], variables, x)[1]

    size = lambda tree: sum(v.size * v.dtype.itemsize for v in jax.tree.leaves(tree))  # noqa: E731
    return size(jax.eval_shape(pullback, variables, x)) - size((variables, x))


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_stages_have_the_same_parameters_gradients_and_statistics(name):
    """Dropout and batch norm too: a stage draws and counts what it drew and counted before."""
    network, x, shapes = setting(name)
    again = network.clone(remat=True)
    assert jax.eval_shape(again.init, jax.random.key(0), x) == shapes
    variables = weights(shapes)

    def gradients(network):
        def loss(params, x):
            output, collections = apply(network, {**variables, "params": params}, x)
            return (output**2).sum(), (output, collections)

        return jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(variables["params"], x)

    plain, remat = gradients(network), gradients(again)
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(plain))
    assert largest > 1e-3
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(remat), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6 * largest)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_pullback_keeps_less_of_the_forward_pass(name):
    network, x, shapes = setting(name)
    share = kept(network.clone(remat=True), shapes, x) / kept(network, shapes, x)
    assert 0 < share < KEPT[name]


def test_features_in_the_middle_are_the_same():
    network, x, shapes = setting("resnet")
    variables, taps = weights(shapes), (0, 2, 4, 7, 11)
    plain, remat = (
        jax.jit(network.clone(remat=remat).apply, static_argnames="taps")(variables, x, taps=taps)
        for remat in (False, True)
    )
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(remat), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.skipif(not remat_saves_memory(), reason="this jaxlib merges both passes on CPU")
def test_the_compiled_gradient_needs_less_memory():
    network = PatchDiscriminator(features=16)
    x = jax.ShapeDtypeStruct((8, 128, 128, 3), jnp.float32)
    shapes = jax.eval_shape(network.init, jax.random.key(0), x)

    def memory(network):
        loss = lambda variables, x: (network.apply(variables, x, train=True) ** 2).sum()  # noqa: E731
        compiled = jax.jit(jax.grad(loss)).lower(shapes, x).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert memory(network.clone(remat=True)) < 0.7 * memory(network)
