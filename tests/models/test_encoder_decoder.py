"""`EncoderDecoderGenerator`: everything passes through the code; one size; its parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.models import EncoderDecoderGenerator

SMALL = EncoderDecoderGenerator(size=16, features=2, levels=2, code=5)


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def shapes(module, *inputs):
    """Shapes of the image and of the variables, without computing either."""
    return jax.eval_shape(module.init_with_output, jax.random.key(0), *inputs)


def picture(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def test_images_have_the_size_and_lie_in_the_range_each_by_itself():
    source = normal(3, 16, 16, 3)
    variables = jax.jit(SMALL.init)(jax.random.key(0), source)
    apply = jax.jit(SMALL.apply)
    image = np.asarray(apply(variables, source))
    assert image.shape == (3, 16, 16, 3) and image.dtype == np.float32
    assert np.abs(image).max() <= 1 and image.std(axis=0).mean() > 0.01
    np.testing.assert_allclose(image[1:2], apply(variables, source[1:2]), rtol=1e-4, atol=1e-5)


def test_the_parameters_are_those_of_the_named_layers():
    _, variables = shapes(EncoderDecoderGenerator(), picture(1, 48, 48, 3))
    sizes = {
        name: sum(leaf.size for leaf in layer.values())
        for name, layer in variables["params"].items()
    }
    assert set(variables) == {"params"}
    assert sizes == {
        "down_1": 16 * 3 * 16 + 16,
        "down_2": 16 * 16 * 32 + 32,
        "down_3": 16 * 32 * 64 + 64,
        "code": 6 * 6 * 64 * 256 + 256,
        "image": 256 * 48 * 48 * 3 + 48 * 48 * 3,
    }


def test_every_parameter_and_every_pixel_of_the_source_has_a_gradient():
    source, weight = normal(4, 16, 16, 3), normal(16, 16, 3, seed=1)
    variables = jax.jit(SMALL.init)(jax.random.key(0), source)

    def loss(variables, source):
        return (SMALL.apply(variables, source) * weight[None]).sum()

    slopes = jax.jit(jax.grad(loss, argnums=(0, 1)))(variables, source)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(slopes[0]))
    assert (np.asarray(slopes[1]) != 0).mean() > 0.95


def test_nothing_passes_beside_the_code():
    """The picture's slope by the source has the rank of the code, which skips would exceed."""
    source = normal(1, 16, 16, 3)
    variables = jax.jit(SMALL.init)(jax.random.key(0), source)
    slope = jax.jit(jax.jacobian(lambda x: SMALL.apply(variables, x)))(source)
    assert np.linalg.matrix_rank(np.asarray(slope).reshape(768, 768), tol=1e-4) <= SMALL.code


def test_noise_takes_channels_of_the_first_layer():
    module = SMALL.clone(noise_channels=2)
    _, variables = shapes(module, picture(1, 16, 16, 3), picture(1, 16, 16, 2))
    assert variables["params"]["down_1"]["kernel"].shape == (4, 4, 5, 2)
    with pytest.raises(ValueError, match="takes no noise"):
        shapes(SMALL, picture(1, 16, 16, 3), picture(1, 16, 16, 2))


def test_bfloat16_keeps_float32_parameters_and_gives_a_float32_image():
    image, variables = shapes(SMALL.clone(dtype=jnp.bfloat16), picture(1, 16, 16, 3))
    assert image.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


def test_other_sizes_are_refused():
    with pytest.raises(ValueError, match="images of 16x16 pixels, got 16x24; crop or resize"):
        shapes(SMALL, picture(1, 16, 24, 3))
    with pytest.raises(ValueError, match="2 levels .* multiple of 4, got 18; choose"):
        shapes(SMALL.clone(size=18), picture(1, 18, 18, 3))
