"""The source document's networks against Keras's definitions, and the generator of points."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from retrojax.models import (
    DocumentDiscriminator,
    DocumentGenerator,
    FullyConnectedDiscriminator,
    MLPGenerator,
    discriminator_probability,
)
from retrojax.models.layers import ConvTranspose

LAYOUT = ("NHWC", "HWIO", "NHWC")


def struct(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def shapes(module, *inputs):
    """Shapes of the variables and of the result, without computing either."""
    out, variables = jax.eval_shape(module.init_with_output, jax.random.key(0), *inputs)
    return variables, out


def weights(module, *inputs):
    """Variables filled with values of deviation 0.1; variances are made positive."""
    rng = np.random.default_rng(1)

    def fill(path, leaf):
        values = 0.1 * rng.normal(size=leaf.shape)
        return jnp.asarray(0.5 + abs(values) if path[-1].key == "var" else values, leaf.dtype)

    return jax.tree_util.tree_map_with_path(fill, shapes(module, *inputs)[0])


def count(variables):
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def leaky(x):
    return np.where(x > 0, x, 0.3 * x)


def dense(variables, name, x):
    """A dense layer, in numpy."""
    layer = jax.tree.map(np.asarray, variables["params"][name])
    return x @ layer["kernel"] + layer["bias"]


def strided(x, kernel, stride):
    """TensorFlow's convolution with padding "SAME"."""
    return lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=LAYOUT)


def transposed(y, kernel, stride):
    """Keras's Conv2DTranspose: the gradient of the strided convolution with padding "SAME"."""
    image = jnp.zeros((len(y), stride * y.shape[1], stride * y.shape[2], kernel.shape[2]))
    return np.asarray(jax.vjp(lambda x: strided(x, kernel, stride), image)[1](jnp.asarray(y))[0])


@pytest.mark.parametrize(("base", "parameters"), [(7, 2_308_672), (8, 2_700_352)])
def test_the_generator_has_the_documents_size(base, parameters):
    module = DocumentGenerator(base=base)
    variables, images = shapes(module, struct(2, module.latent_size))
    assert images.shape == (2, 4 * base, 4 * base, 3)
    assert count(variables) == parameters


def test_the_discriminator_has_the_documents_size():
    variables, logits = shapes(DocumentDiscriminator(), struct(2, 32, 32, 3))
    assert logits.shape == (2,)
    assert count(variables) == 217_985


@pytest.mark.parametrize("stride", [1, 2])
def test_the_transposed_convolution_is_the_gradient_of_the_strided_one(stride):
    layer, y = ConvTranspose(3, 5, stride, use_bias=False), normal(2, 4, 3, 2)
    variables = weights(layer, y)
    np.testing.assert_allclose(
        layer.apply(variables, y), transposed(y, variables["params"]["kernel"], stride), atol=1e-5
    )


def test_the_generator_is_the_documents_layer_by_layer():
    module, z = DocumentGenerator(base=2), normal(2, 5)
    variables = weights(module, z)
    params, stats = (jax.tree.map(np.asarray, variables[c]) for c in ("params", "batch_stats"))

    def activate(x, name):
        p, s = params[f"{name}_norm"], stats[f"{name}_norm"]
        return leaky((x - s["mean"]) / np.sqrt(s["var"] + 1e-3) * p["scale"] + p["bias"])

    x = activate(np.asarray(z) @ params["dense"]["kernel"], "dense").reshape(2, 2, 2, 256)
    x = activate(transposed(x, params["up_0"]["kernel"], 1), "up_0")
    x = activate(transposed(x, params["up_1"]["kernel"], 2), "up_1")
    expected = np.tanh(transposed(x, params["image"]["kernel"], 2))
    np.testing.assert_allclose(jax.jit(module.apply)(variables, z), expected, atol=1e-5)


def test_the_discriminator_is_the_documents_layer_by_layer():
    module, images = DocumentDiscriminator(), normal(2, 8, 8, 3)
    variables = weights(module, images)
    params, x = jax.tree.map(np.asarray, variables["params"]), images
    for name in ("conv_0", "conv_1"):
        x = leaky(np.asarray(strided(x, params[name]["kernel"], 2)) + params[name]["bias"])
    expected = dense(variables, "logits", x.reshape(2, -1))[:, 0]
    np.testing.assert_allclose(jax.jit(module.apply)(variables, images), expected, atol=1e-5)


def test_the_last_layer_on_the_features_gives_the_logits():
    module, images = DocumentDiscriminator(), normal(2, 8, 8, 3)
    variables = weights(module, images)
    features = jax.jit(functools.partial(module.apply, method="features"))(variables, images)
    assert features.shape == (2, 2 * 2 * 128)
    logits = jax.jit(module.apply)(variables, images)
    np.testing.assert_allclose(
        dense(variables, "logits", np.asarray(features))[:, 0], logits, rtol=1e-4, atol=1e-5
    )


def test_statistics_move_by_a_hundredth_in_training_alone():
    module, z = DocumentGenerator(base=1), normal(4, 5)
    variables = weights(module, z)

    def moved_by(train):
        apply = functools.partial(module.apply, train=train, mutable=["batch_stats"])
        return jax.jit(apply)(variables, z)[1]["batch_stats"]

    before, after = variables["batch_stats"], moved_by(train=True)
    inner = np.asarray(z @ variables["params"]["dense"]["kernel"])
    for name, batch in (("mean", inner.mean(0)), ("var", inner.var(0))):
        expected = 0.99 * np.asarray(before["dense_norm"][name]) + 0.01 * batch
        np.testing.assert_allclose(after["dense_norm"][name], expected, rtol=1e-5)
    for leaf, moved in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        assert (leaf != moved).all()
    assert jax.tree.all(jax.tree.map(jnp.array_equal, moved_by(train=False), before))


def test_statistics_are_averaged_over_a_mapped_axis():
    z = normal(4, 5)
    variables = weights(DocumentGenerator(base=1), z)

    def run(z, axis_name=None):
        module = DocumentGenerator(base=1, axis_name=axis_name)
        return module.apply(variables, z, train=True, mutable=["batch_stats"])[0]

    whole = jax.jit(run)(z)
    mapped = jax.vmap(functools.partial(run, axis_name="i"), axis_name="i")
    parts = jax.jit(mapped)(z.reshape(2, 2, 5))
    np.testing.assert_allclose(parts.reshape(whole.shape), whole, atol=1e-5)


def test_dropout_is_drawn_for_every_example_by_itself():
    module, images = DocumentDiscriminator(), normal(3, 8, 8, 3)
    variables = weights(module, images)

    @jax.jit
    def run(images, seed=0):
        rngs = {"dropout": jax.random.key(seed)}
        return module.apply(variables, images, train=True, rngs=rngs)

    judged = run(images)
    np.testing.assert_allclose(run(images[:1]), judged[:1], rtol=1e-4)
    for other in (
        run(images, 1),
        run(images[::-1])[::-1],
        jax.jit(module.apply)(variables, images),
    ):
        assert not np.isclose(other[0], judged[0], rtol=1e-2)


def test_without_dropout_training_changes_nothing_and_needs_no_stream():
    module, images = DocumentDiscriminator(dropout=0.0), normal(2, 8, 8, 3)
    variables = weights(module, images)
    np.testing.assert_array_equal(
        jax.jit(functools.partial(module.apply, train=True))(variables, images),
        jax.jit(DocumentDiscriminator().apply)(variables, images),
    )


def test_kernels_start_glorot_uniform_and_scales_at_one():
    module = DocumentGenerator(base=1)
    params = jax.jit(module.init)(jax.random.key(0), jnp.zeros((1, module.latent_size)))["params"]
    kernel = np.asarray(params["up_1"]["kernel"])
    limit = np.sqrt(6 / (25 * (64 + 128)))
    assert 0.99 * limit < abs(kernel).max() <= limit
    np.testing.assert_allclose(kernel.std(), limit / np.sqrt(3), rtol=0.02)
    assert (params["up_1_norm"]["scale"] == 1).all() and (params["up_1_norm"]["bias"] == 0).all()


@pytest.mark.parametrize(
    ("module", "given"),
    [(DocumentGenerator, struct(2, 100)), (DocumentDiscriminator, struct(2, 32, 32, 3))],
)
def test_bfloat16_gives_float32_of_float32_variables(module, given):
    variables, out = shapes(module(dtype=jnp.bfloat16), given)
    assert out.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("shape", [(2,), (4, 6, 3)])
def test_the_fully_connected_discriminator_judges_anything(shape, dtype):
    variables, logits = shapes(FullyConnectedDiscriminator(), struct(5, *shape, dtype=dtype))
    assert (logits.shape, logits.dtype) == ((5,), jnp.float32)
    size = int(np.prod(shape))
    assert count(variables) == (size + 1) * 512 + 513 * 256 + 257


def test_the_fully_connected_discriminator_is_the_documents_prose():
    module, x = FullyConnectedDiscriminator(widths=(4, 3)), normal(5, 2, 3)
    variables = weights(module, x)
    hidden = leaky(dense(variables, "dense_0", np.asarray(x).reshape(5, 6)))
    hidden = leaky(dense(variables, "dense_1", hidden))
    np.testing.assert_allclose(
        module.apply(variables, x), dense(variables, "logits", hidden)[:, 0], rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_probability_rises_from_0_to_1_and_is_a_half_at_0(dtype):
    logits = jnp.linspace(-15.0, 15.0, 30).reshape(5, 6).astype(dtype)
    probability = discriminator_probability(logits)
    assert probability.shape == (5, 6) and probability.dtype == jnp.float32
    assert ((probability > 0) & (probability < 1)).all()
    assert (np.diff(probability.ravel()) > 0).all()
    assert discriminator_probability(jnp.zeros(())) == 0.5


def test_the_generator_of_points_is_its_dense_layers():
    module, z = MLPGenerator(shape=(2, 3), widths=(4,)), normal(5, 2)
    variables = weights(module, z)
    hidden = np.maximum(dense(variables, "dense_0", np.asarray(z)), 0)
    expected = dense(variables, "output", hidden).reshape(5, 2, 3)
    points = module.apply(variables, z, train=True)
    assert points.dtype == jnp.float32
    np.testing.assert_allclose(points, expected, rtol=1e-5, atol=1e-6)
