"""Published numbers of parameters of every reference network; shapes alone, nothing is computed."""

import functools

import jax
import jax.numpy as jnp
import pytest

from retrojax.models import (
    PatchDiscriminator,
    PatchSampleF,
    PixelDiscriminator,
    R3GANDiscriminator,
    R3GANGenerator,
    ResNetGenerator,
    SinCUTDiscriminator,
    SinCUTGenerator,
    UNetGenerator,
)


def count(module, *inputs):
    variables = jax.eval_shape(module.init, jax.random.key(0), *inputs)
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def picture(side, channels=3):
    return jax.ShapeDtypeStruct((1, side, side, channels), jnp.float32)


CUT = functools.partial(ResNetGenerator, antialias_down=True, antialias_up=True)


@pytest.mark.parametrize(
    ("module", "inputs", "parameters"),
    [
        (ResNetGenerator(norm="instance"), [picture(64)], 11_378_179),
        (ResNetGenerator(norm="batch"), [picture(64)], 11_383_427),
        (ResNetGenerator(norm="instance", blocks=6), [picture(64)], 7_837_699),
        (ResNetGenerator(norm="batch", blocks=6), [picture(64)], 7_841_411),
        (UNetGenerator(norm="batch"), [picture(256)], 54_413_955),
        (UNetGenerator(norm="batch", levels=7), [picture(256)], 41_828_995),
        (UNetGenerator(norm="instance"), [picture(256)], 54_409_603),
        (UNetGenerator(norm="instance", levels=7), [picture(256)], 41_825_667),
        (PatchDiscriminator(norm="instance"), [picture(70)], 2_764_737),
        (PatchDiscriminator(norm="batch"), [picture(70)], 2_765_633),
        (PatchDiscriminator(norm="instance"), [picture(70)] * 2, 2_767_809),
        (PatchDiscriminator(norm="batch"), [picture(70)] * 2, 2_768_705),
        (PixelDiscriminator(norm="instance"), [picture(4)], 8_705),
        (PixelDiscriminator(norm="batch"), [picture(4)], 8_832),
        (PixelDiscriminator(norm="instance"), [picture(4)] * 2, 8_897),
        (PixelDiscriminator(norm="batch"), [picture(4)] * 2, 9_024),
        (CUT(), [picture(64)], 11_378_179),
        (PatchDiscriminator(antialias=True), [picture(70)], 2_764_737),
        (SinCUTGenerator(), [picture(64), None], 3_068_403),
        (SinCUTGenerator(), [picture(64), picture(64, 1)], 3_068_404),
        (SinCUTDiscriminator(), [picture(64)], 5_885_473),
    ],
    ids=lambda value: f"{value:_}" if isinstance(value, int) else "",
)
def test_translation_networks_have_the_published_number_of_parameters(module, inputs, parameters):
    if inputs[-1] is None:
        module = module.clone(noise_channels=0)
    assert count(module, *inputs) == parameters


def test_the_projection_of_cut_has_the_published_number_of_parameters():
    features = tuple(picture(16, width) for width in (3, 128, 256, 256, 256))
    indices = (jax.ShapeDtypeStruct((7,), jnp.int32),) * 5
    assert count(PatchSampleF(), features, indices) == 560_384


WIDE = {"widths": (1536,) * 4, "group_channels": 32, "classes": 1000}


@pytest.mark.parametrize(
    ("options", "generator", "discriminator"),
    [
        ({"classes": 10}, 20_781_952, 21_280_512),
        ({}, 20_732_160, 20_683_776),
        ({"widths": (768,) * 4 + (384,)}, 22_429_824, 22_381_440),
        ({"widths": (768,) * 4 + (384, 192, 96)}, 23_057_952, 23_009_568),
        (WIDE, 82_914_304, 86_548_992),
        (WIDE | {"widths": (1536,) * 5}, 103_570_432, 107_205_120),
    ],
    ids=["cifar10", "cifar10-unconditional", "ffhq64", "ffhq256", "imagenet32", "imagenet64"],
)
def test_r3gan_has_the_published_number_of_parameters(options, generator, discriminator):
    labels = jax.ShapeDtypeStruct((1,), jnp.int32) if "classes" in options else None
    module, z = R3GANGenerator(**options), jax.ShapeDtypeStruct((1, 64), jnp.float32)
    images = jax.eval_shape(module.init_with_output, jax.random.key(0), z, labels)[0]
    side = 4 * 2 ** (len(module.widths) - 1)
    assert images.shape == (1, side, side, 3) and images.dtype == jnp.float32
    assert count(module, z, labels) == generator
    critic = R3GANDiscriminator(**options)
    logits = jax.eval_shape(critic.init_with_output, jax.random.key(0), images, labels)[0]
    assert logits.shape == (1,) and logits.dtype == jnp.float32
    assert count(critic, images, labels) == discriminator
