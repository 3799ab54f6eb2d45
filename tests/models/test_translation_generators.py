"""`ResNetGenerator` and `UNetGenerator`: shapes, range, noise, dropout, published sizes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from retrojax.models import (
    GENERATORS,
    EncoderDecoderGenerator,
    LookGenerator,
    ResNetGenerator,
    SinCUTGenerator,
    UNetGenerator,
)
from retrojax.models.layers import Dropout

SMALL = {
    "resnet": functools.partial(ResNetGenerator, features=2, blocks=1),
    "unet": functools.partial(UNetGenerator, features=2, levels=3, norm="instance"),
}


def picture(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def shapes(module, *inputs):
    """Shapes of the variables and of the image, without computing either."""
    image, variables = jax.eval_shape(module.init_with_output, jax.random.key(0), *inputs)
    return variables, image


def weights(module, *inputs):
    """Variables filled with numpy's normal values of deviation 0.2."""
    rng = np.random.default_rng(0)
    fill = lambda leaf: jnp.asarray(0.2 * rng.normal(size=leaf.shape), leaf.dtype)  # noqa: E731
    return jax.tree.map(fill, shapes(module, *inputs)[0])


def count(variables):
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def test_the_table_of_generators_is_complete_and_closed():
    assert dict(GENERATORS) == {
        "look": LookGenerator,
        "resnet": ResNetGenerator,
        "unet": UNetGenerator,
        "sincut": SinCUTGenerator,
        "encoder-decoder": EncoderDecoderGenerator,
    }
    with pytest.raises(TypeError):
        GENERATORS["mine"] = LookGenerator  # pyright: ignore


@pytest.mark.parametrize("name", SMALL)
def test_images_keep_their_size_and_lie_in_the_range_each_by_itself(name):
    module, source = SMALL[name](), normal(3, 16, 24, 3)
    variables, apply = weights(module, source), jax.jit(module.apply)
    image = np.asarray(apply(variables, source))
    assert image.shape == (3, 16, 24, 3) and image.dtype == np.float32
    assert np.abs(image).max() <= 1 and image.std() > 0.01
    np.testing.assert_allclose(image[1:2], apply(variables, source[1:2]), rtol=1e-4, atol=1e-5)
    assert np.abs(apply(variables, 100 * source)).max() <= 1


@pytest.mark.parametrize("name", SMALL)
def test_every_pixel_of_the_source_counts(name):
    module, source = SMALL[name](norm="none"), normal(1, 16, 24, 3)
    variables = weights(module, source)
    slope = jax.jit(
        jax.grad(lambda x: (module.apply(variables, x) * normal(16, 24, 3)[None]).sum())
    )
    assert (np.asarray(slope(source)) != 0).all()


@pytest.mark.parametrize("name", SMALL)
def test_noise_changes_the_image_and_the_same_noise_does_not(name):
    module, source = SMALL[name](noise_channels=2), normal(1, 16, 16, 3)
    noise, other = normal(1, 16, 16, 2, seed=1), normal(1, 16, 16, 2, seed=2)
    variables, apply = weights(module, source, noise), jax.jit(module.apply)
    image = apply(variables, source, noise)
    np.testing.assert_array_equal(image, apply(variables, source, noise))
    assert np.abs(image - apply(variables, source, other)).max() > 1e-3


@pytest.mark.parametrize("name", SMALL)
def test_noise_that_does_not_fit_is_refused(name):
    source, noise = picture(1, 16, 16, 3), picture(1, 16, 16, 2)
    with pytest.raises(ValueError, match=r"takes no noise \(noise_channels=0\)"):
        shapes(SMALL[name](), source, noise)
    with pytest.raises(ValueError, match=r"pass noise of shape \(1, 16, 16, 2\)"):
        shapes(SMALL[name](noise_channels=2), source)
    with pytest.raises(ValueError, match=r"noise has shape \(1, 16, 16, 2\), must be \(1, 16, 16,"):
        shapes(SMALL[name](noise_channels=3), source, noise)


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("resnet", (16, 18), "multiples of 4 and at least 8, got 16x18; crop or pad"),
        ("resnet", (4, 16), "multiples of 4 and at least 8, got 4x16; crop or pad"),
        ("unet", (16, 20), "U-Net of 3 levels .* multiples of 8, got 16x20; .* or use fewer"),
    ],
)
def test_sizes_that_do_not_halve_are_refused(name, size, message):
    with pytest.raises(ValueError, match=message):
        shapes(SMALL[name](), picture(1, *size, 3))


@pytest.mark.parametrize("name", SMALL)
def test_an_unknown_norm_is_refused(name):
    with pytest.raises(ValueError, match="unknown norm 'layer'; choose one of instance, batch"):
        shapes(SMALL[name](norm="layer"), picture(1, 16, 16, 3))


@pytest.mark.parametrize("name", SMALL)
def test_bfloat16_keeps_float32_parameters_and_gives_a_float32_image(name):
    variables, image = shapes(SMALL[name](dtype=jnp.bfloat16), picture(1, 16, 16, 3))
    assert image.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("name", SMALL)
def test_the_image_may_have_other_channels_than_the_source(name):
    _, image = shapes(SMALL[name](out_channels=1), picture(1, 16, 16, 4))
    assert image.shape == (1, 16, 16, 1)


@pytest.mark.parametrize("name", SMALL)
def test_batch_norm_keeps_running_statistics_and_instance_norm_none(name):
    source = picture(1, 16, 16, 3)
    assert set(shapes(SMALL[name](norm="batch"), source)[0]) == {"params", "batch_stats"}
    assert set(shapes(SMALL[name](norm="instance"), source)[0]) == {"params"}


def test_the_resnet_has_the_published_number_of_parameters():
    """CycleGAN's PyTorch code prints 11.378 M for nine blocks and 7.838 M for six."""
    source = picture(1, 64, 64, 3)
    assert count(shapes(ResNetGenerator(), source)[0]) == 11_378_179
    assert round(count(shapes(ResNetGenerator(blocks=6), source)[0]) / 1e6, 3) == 7.838


def test_the_unet_has_the_published_number_of_parameters():
    """The PyTorch code of pix2pix prints 54.414 M for 256 pixels and 41.829 M for 128."""
    source = picture(1, 256, 256, 3)
    assert round(count(shapes(UNetGenerator(), source)[0]) / 1e6, 3) == 54.414
    assert round(count(shapes(UNetGenerator(levels=7), source)[0]) / 1e6, 3) == 41.829


def test_the_resnets_dropout_acts_in_training_alone():
    module, source = SMALL["resnet"](dropout=0.5), normal(1, 8, 8, 3)
    variables = weights(module, source)
    train = jax.jit(functools.partial(module.apply, train=True))
    a, b = (train(variables, source, rngs={"dropout": jax.random.key(s)}) for s in (0, 1))
    assert np.abs(a - b).max() > 1e-3
    assert np.abs(a - jax.jit(module.apply)(variables, source)).max() > 1e-3


def dropped(module, size, train):
    """Names of the dropouts that are called."""
    names = []

    def record(call, args, kwargs, context):
        if isinstance(context.module, Dropout) and context.method_name == "__call__":
            assert kwargs == {"train": train} and context.module.rate == module.dropout
            names.append(context.module.name)
        return call(*args, **kwargs)

    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    with nn.intercept_methods(record):
        jax.eval_shape(lambda x: module.init(keys, x, train=train), picture(1, size, size, 3))
    return names


@pytest.mark.parametrize("train", [True, False])
def test_the_unets_dropout_acts_from_the_last_level_but_one_down_to_level_five(train):
    unet = functools.partial(UNetGenerator, features=2)
    expected = ["up_7_dropout", "up_6_dropout", "up_5_dropout"]
    assert dropped(unet(levels=8, dropout=0.4), 256, train) == expected
    assert dropped(unet(levels=5), 32, train) == []


def test_the_resnet_has_one_dropout_in_each_block():
    module = ResNetGenerator(features=2, blocks=3, dropout=0.3)
    assert dropped(module, 8, True) == [f"block_{i}_dropout" for i in range(3)]


def test_the_unets_skips_carry_the_source_past_the_bottom_and_come_first():
    module, source = UNetGenerator(features=4, levels=3, norm="none"), normal(1, 16, 16, 3)
    params = weights(module, source)["params"]
    slope = jax.jit(jax.grad(lambda x, params: module.apply({"params": params}, x).sum()))
    # Nothing comes from below: what is left are the first four of eight channels.
    params = params | {"up_2": {"kernel": jnp.zeros_like(params["up_2"]["kernel"])}}
    assert np.abs(slope(source, params)).max() > 1e-3
    kernel = params["image"]["kernel"].at[..., :4].set(0.0)
    params = params | {"image": params["image"] | {"kernel": kernel}}
    assert np.abs(slope(source, params)).max() == 0.0


def test_the_unets_skips_double_the_channels_on_the_way_up():
    params = shapes(UNetGenerator(features=4, levels=3), picture(1, 16, 16, 3))[0]["params"]
    # [k, k, out, in]: what comes in is the level below and, but for the bottom, its skip.
    assert params["up_3"]["kernel"].shape == (4, 4, 8, 16)
    assert params["up_2"]["kernel"].shape == (4, 4, 4, 16)
    assert params["image"]["kernel"].shape == (4, 4, 3, 8)
