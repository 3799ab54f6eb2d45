"""SinCUT's networks: run-time scales, noise, sizes.

Values and derivatives are tests/models/test_parity.py's, sizes test_parameter_counts.py's.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.models import SinCUTDiscriminator, SinCUTGenerator

SOURCE = jnp.asarray(np.random.default_rng(0).normal(size=(2, 12, 16, 3)), jnp.float32)
NOISE = jnp.asarray(np.random.default_rng(1).normal(size=(2, 12, 16, 1)), jnp.float32)
GENERATOR = SinCUTGenerator(features=8, blocks=1)


def shapes(module, *inputs):
    return jax.eval_shape(module.init_with_output, jax.random.key(0), *inputs)


@pytest.mark.slow
def test_weights_start_with_deviation_one_and_maps_keep_theirs():
    critic = SinCUTDiscriminator()
    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 64, 64, 3)), jnp.float32)
    variables = jax.jit(critic.init)(jax.random.key(0), images)
    for name in ("last", "dense"):
        assert np.std(variables["params"][name]["kernel"]) == pytest.approx(1, rel=0.02)
    logits = jax.jit(critic.apply)(variables, images)
    assert logits.shape == (2,) and 0.01 < np.abs(logits).max() < 10


@pytest.mark.slow
def test_noise_counts_as_soon_as_its_weight_is_not_zero():
    variables = jax.jit(GENERATOR.init)(jax.random.key(0), SOURCE, NOISE)
    apply = jax.jit(GENERATOR.apply)
    assert variables["params"]["up"]["noise_weight"].item() == 0
    image = apply(variables, SOURCE, NOISE)
    np.testing.assert_array_equal(image, apply(variables, SOURCE, -NOISE))
    slopes = jax.jit(jax.grad(lambda v: (apply(v, SOURCE, NOISE) ** 2).sum()))(variables)
    assert slopes["params"]["up"]["noise_weight"].item() != 0
    variables["params"]["up"]["noise_weight"] += 1
    assert np.abs(image - apply(variables, SOURCE, NOISE)).max() > 0.01


def test_images_are_as_large_as_their_source_and_float32_of_float32_parameters():
    module = GENERATOR.clone(dtype=jnp.bfloat16)
    image, variables = shapes(module, SOURCE, NOISE)
    assert image.shape == SOURCE.shape
    assert {leaf.dtype for leaf in jax.tree.leaves((image, variables))} == {jnp.dtype("float32")}
    critic = SinCUTDiscriminator(widths=(4, 8), dtype=jnp.bfloat16)
    logits, variables = shapes(critic, jnp.ones((2, 8, 8, 3)))
    assert {leaf.dtype for leaf in jax.tree.leaves((logits, variables))} == {jnp.dtype("float32")}


@pytest.mark.slow
def test_a_pixel_reaches_16_pixels_and_8_more_for_every_block_beyond_the_first():
    """So far an input pixel may lie from an output pixel that it changes: 8 + 8 blocks."""
    for blocks in (1, 2):
        module = SinCUTGenerator(features=2, blocks=blocks, noise_channels=0)
        source = jnp.asarray(np.random.default_rng(0).normal(size=(1, 8, 96, 3)), jnp.float32)
        variables = jax.jit(module.init)(jax.random.key(0), source)
        for column in (48, 49):
            pixel = lambda x: module.apply(variables, x)[0, 4, column].sum()  # noqa: B023, E731
            seen = np.flatnonzero(np.abs(jax.jit(jax.grad(pixel))(source)[0]).sum((0, 2)))
            assert max(column - seen[0], seen[-1] - column) <= 8 + 8 * blocks


@pytest.mark.parametrize(
    ("module", "inputs", "message"),
    [
        (GENERATOR, (SOURCE[:, :11], NOISE[:, :11]), "even heights and widths of at least 4, got"),
        (GENERATOR, (SOURCE,), r"noise is None, must be \(2, 12, 16, 1\)"),
        (GENERATOR.clone(noise_channels=0), (SOURCE, NOISE), "must be None: .*noise_channels=0"),
        (GENERATOR.clone(noise_channels=2), (SOURCE,), "is 0 or 1, not 2"),
        (SinCUTDiscriminator(widths=(4, 8)), (SOURCE,), "images of 8x8 pixels, got 12x16; crop"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(module, inputs, message):
    with pytest.raises(ValueError, match=message):
        shapes(module, *inputs)
