"""DCGAN-64: its published sizes, and its layers against PyTorch's definitions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from retrojax.models import DCGANDiscriminator, DCGANGenerator

NETWORKS = [
    (DCGANGenerator(features=2, latent_size=5), (2, 5)),
    (DCGANDiscriminator(width=2), (2, 64, 64, 3)),
]
each_network = pytest.mark.parametrize(("module", "shape"), NETWORKS, ids=["G", "D"])


def struct(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def shapes(module, *inputs):
    """Shapes of the variables and of the result, without computing either."""
    out, variables = jax.eval_shape(module.init_with_output, jax.random.key(0), *inputs)
    return variables, out


def weights(module, *inputs):
    """Variables filled with values of deviation 0.2; variances are made positive."""
    rng = np.random.default_rng(1)

    def fill(path, leaf):
        values = 0.2 * rng.normal(size=leaf.shape)
        return jnp.asarray(0.5 + abs(values) if path[-1].key == "var" else values, leaf.dtype)

    return jax.tree_util.tree_map_with_path(fill, shapes(module, *inputs)[0])


def count(variables):
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def strided(x, kernel, stride, pad):
    """PyTorch's `conv2d` on NHWC arrays."""
    pads = ((pad, pad), (pad, pad))
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (stride, stride), pads, dimension_numbers=layout)


def transposed(y, kernel, stride, pad):
    """PyTorch's `conv_transpose2d`: the gradient of `conv2d`."""
    side = (y.shape[1] - 1) * stride - 2 * pad + kernel.shape[0]
    image = jnp.zeros((len(y), side, side, kernel.shape[2]))
    return jax.vjp(lambda x: strided(x, kernel, stride, pad), image)[1](y)[0]


def normed(x, variables, name):
    """PyTorch's `BatchNorm2d` in evaluation mode, in numpy."""
    p, s = (
        {k: np.asarray(v) for k, v in variables[c][name].items()} for c in ("params", "batch_stats")
    )
    return (np.asarray(x) - s["mean"]) / np.sqrt(s["var"] + 1e-5) * p["scale"] + p["bias"]


def test_the_generator_has_the_published_size():
    module = DCGANGenerator()
    variables, images = shapes(module, struct(2, module.latent_size))
    assert images.shape == (2, 64, 64, 3)
    assert count(variables) == 3_576_704


def test_the_discriminator_has_the_published_size():
    variables, logits = shapes(DCGANDiscriminator(), struct(2, 64, 64, 3))
    assert logits.shape == (2,)
    assert count(variables) == 2_765_568


def test_the_generator_is_pytorchs_layer_by_layer():
    module, z = DCGANGenerator(features=2, latent_size=5), normal(2, 5)
    variables = weights(module, z)
    x = z.reshape(2, 1, 1, 5)
    for i in range(4):
        x = transposed(x, variables["params"][f"up_{i}"]["kernel"], *((2, 1) if i else (1, 0)))
        x = jnp.asarray(np.maximum(normed(x, variables, f"norm_{i}"), 0))
    expected = np.tanh(transposed(x, variables["params"]["image"]["kernel"], 2, 1))
    np.testing.assert_allclose(jax.jit(module.apply)(variables, z), expected, atol=1e-5)


def test_the_discriminator_is_pytorchs_layer_by_layer():
    module, images = DCGANDiscriminator(width=2), normal(2, 64, 64, 3)
    variables = weights(module, images)
    x = images
    for i in range(4):
        x = strided(x, variables["params"][f"conv_{i}"]["kernel"], 2, 1)
        x = normed(x, variables, f"norm_{i}") if i else np.asarray(x)
        x = jnp.asarray(np.where(x > 0, x, 0.2 * x))
    expected = strided(x, variables["params"]["logits"]["kernel"], 1, 0).reshape(2)
    np.testing.assert_allclose(jax.jit(module.apply)(variables, images), expected, atol=1e-5)


def test_the_last_convolution_on_the_features_gives_the_logits():
    module, images = DCGANDiscriminator(width=2), normal(2, 64, 64, 3)
    variables = weights(module, images)
    features = jax.jit(functools.partial(module.apply, method="features"))(variables, images)
    assert features.shape == (2, 4 * 4 * 16)
    kernel = variables["params"]["logits"]["kernel"].reshape(-1)
    logits = jax.jit(module.apply)(variables, images)
    np.testing.assert_allclose(features @ kernel, logits, rtol=1e-4, atol=1e-5)


@each_network
def test_statistics_move_in_training_alone(module, shape):
    inputs = normal(*shape)
    variables = weights(module, inputs)

    def moved_by(train):
        apply = functools.partial(module.apply, train=train, mutable=["batch_stats"])
        return jax.jit(apply)(variables, inputs)[1]["batch_stats"]

    before, after = variables["batch_stats"], moved_by(train=True)
    for leaf, moved in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        assert (leaf != moved).all()
    assert jax.tree.all(jax.tree.map(jnp.array_equal, moved_by(train=False), before))


@each_network
def test_statistics_are_averaged_over_a_mapped_axis(module, shape):
    inputs = normal(*shape)
    variables = weights(module, inputs)

    def run(inputs, axis_name=None):
        cloned = module.clone(axis_name=axis_name)
        return cloned.apply(variables, inputs, train=True, mutable=["batch_stats"])[0]

    whole = jax.jit(run)(inputs)
    mapped = jax.vmap(functools.partial(run, axis_name="i"), axis_name="i")
    parts = jax.jit(mapped)(inputs.reshape(2, 1, *shape[1:]))
    np.testing.assert_allclose(parts.reshape(whole.shape), whole, atol=1e-4)


@each_network
def test_kernels_start_normal_and_there_is_no_bias_but_the_norms(module, shape):
    params = jax.jit(module.init)(jax.random.key(0), normal(*shape))["params"]
    for name, leaves in params.items():
        assert set(leaves) == ({"scale", "bias"} if name.startswith("norm") else {"kernel"})
    kernels = [leaves["kernel"].ravel() for leaves in params.values() if "kernel" in leaves]
    np.testing.assert_allclose(jnp.concatenate(kernels).std(), 0.02, rtol=0.05)


@each_network
def test_bfloat16_gives_float32_of_float32_variables(module, shape):
    variables, out = shapes(module.clone(dtype=jnp.bfloat16), struct(*shape))
    assert out.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("method", ["__call__", "features"])
def test_images_of_another_size_are_refused(method):
    module = DCGANDiscriminator(width=2)
    message = "takes images of 64x64 pixels, got 64x32; crop or resize"
    with pytest.raises(ValueError, match=message):
        module.init(jax.random.key(0), jnp.zeros((1, 64, 32, 3)), method=method)
