"""The paired task: what a batch becomes, and who learns from what."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.film import Look, look, render
from retrojax.losses import Penalties, adversarial_loss
from retrojax.models import LookGenerator, PatchDiscriminator
from retrojax.tasks.paired import PairedTask


def make_task(loss="lsgan", **changes) -> PairedTask:
    task = PairedTask(
        generator=LookGenerator(lut_size=4, features=4, texture_features=4),
        discriminator=PatchDiscriminator(features=4, layers=1, norm="none"),
        loss=adversarial_loss(loss),
        crop=16,
        look=look("sepia").without("vignette", "dust"),
        pixels_per_mm=14.0,
    )
    return replace(task, **changes)


@pytest.fixture(scope="module")
def raw():
    return np.random.default_rng(0).integers(0, 256, (3, 24, 24, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def game(raw):
    task = make_task()
    batch = jax.jit(task.prepare)({"source": raw}, jax.random.key(1))
    generator, discriminator = jax.jit(task.init)(jax.random.key(0), batch)
    return task, batch, generator, discriminator


def test_a_prepared_batch_is_float_in_range_and_cropped(raw):
    batch = make_task().prepare({"source": raw}, jax.random.key(1))
    assert set(batch) == {"source", "target"}
    for images in batch.values():
        assert images.shape == (3, 16, 16, 3) and images.dtype == jnp.float32
        assert images.min() >= -1 and images.max() <= 1


def test_the_target_is_the_look_of_this_very_source(raw):
    """With grain off the look of a crop is a function of the crop and its surroundings."""
    task = make_task(look=Look(tone=look("sepia").tone))
    batch = jax.jit(task.prepare)({"source": raw}, jax.random.key(1))
    unit = lambda x: x / 2 + 0.5  # noqa: E731
    expected = jax.vmap(lambda x: render(jax.random.key(9), x, task.look))(unit(batch["source"]))
    np.testing.assert_allclose(unit(batch["target"]), expected, atol=1e-5)


def test_real_pairs_are_flipped_together_and_otherwise_left_alone(raw):
    task = make_task(look=None)
    batch = jax.jit(task.prepare)({"source": raw, "target": 255 - raw}, jax.random.key(1))
    np.testing.assert_allclose(batch["target"], -batch["source"], atol=1e-6)
    middle = raw[:, 4:20, 4:20] / np.float32(127.5) - 1
    for made, kept in zip(batch["source"], middle, strict=True):
        made = np.asarray(made)
        assert min(np.abs(made - kept).max(), np.abs(made - kept[:, ::-1]).max()) < 1e-6


def test_other_keys_make_other_batches_and_the_same_key_the_same(raw):
    task = make_task()
    a, b, c = (task.prepare({"source": raw}, jax.random.key(k)) for k in (1, 1, 2))
    np.testing.assert_array_equal(a["target"], b["target"])
    assert np.abs(a["target"] - c["target"]).max() > 0.01


@pytest.mark.slow
def test_the_adversary_teaches_the_texture_and_the_reconstruction_the_colour(game):
    task, batch, generator, discriminator = game

    def loss(params, task):
        outputs, _ = jax.jit(task.generate)({"params": params}, batch, jax.random.key(2))
        return task.generator_loss(discriminator, outputs, batch, jax.random.key(3))[0]

    def touched(task):
        gradients = jax.jit(jax.grad(loss), static_argnums=1)(generator["params"], task)
        return {
            name
            for name, g in gradients.items()
            if jax.tree.reduce(lambda a, b: a or bool(jnp.abs(b).max() > 0), g, False)
        }

    adversary = touched(replace(task, blurred_l1_weight=0.0))
    reconstruction = touched(replace(task, adversarial_weight=0.0))
    assert adversary and all(name.startswith("texture") for name in adversary)
    assert "colour" in reconstruction
    assert not any(name.startswith("texture") for name in reconstruction)


def test_without_adversarial_weight_the_discriminator_is_not_consulted(game):
    task, batch, generator, discriminator = game
    task = replace(task, adversarial_weight=0.0)
    outputs, _ = jax.jit(task.generate)(generator, batch, jax.random.key(2))
    broken = jax.tree.map(lambda x: x * jnp.nan, discriminator)
    loss, _ = jax.jit(task.generator_loss)(broken, outputs, batch, jax.random.key(3))
    assert np.isfinite(loss)


def test_the_squared_error_is_between_the_picture_and_the_target(game):
    task, batch, generator, discriminator = game
    outputs, _ = jax.jit(task.generate)(generator, batch, jax.random.key(2))
    task = replace(task, adversarial_weight=0.0, blurred_l1_weight=0.0, l2_weight=3.0)
    loss, _ = jax.jit(task.generator_loss)(discriminator, outputs, batch, jax.random.key(3))
    expected = 3 * np.square(np.asarray(outputs.image) - np.asarray(batch["target"])).mean()
    assert loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["r1", "r2", "gradient"])
def test_a_penalty_adds_its_weighted_value_to_the_discriminators_loss(game, name):
    task, batch, generator, discriminator = game
    outputs, _ = jax.jit(task.generate)(generator, batch, jax.random.key(2))
    key = jax.random.key(4)
    plain, _ = jax.jit(task.discriminator_loss)(discriminator, outputs, batch, key)
    with_penalty = replace(task, penalties=Penalties(**{name: 6.0}))
    total, (_, metrics) = with_penalty.discriminator_loss(discriminator, outputs, batch, key)
    value = metrics["d/gradient_penalty" if name == "gradient" else f"d/{name}"]
    assert value > 0
    factor = 6.0 if name == "gradient" else 3.0
    np.testing.assert_allclose(total - plain, factor * value, rtol=1e-3, atol=1e-7)


def test_r1_differentiates_the_judged_image_only(game):
    """A critic that looks at the source alone has no gradient at the judged image."""
    task, batch, generator, discriminator = game
    kernel = discriminator["params"]["conv_0"]["kernel"]
    # Channels: the condition's three, then the image's three.
    blind = jax.tree.map(lambda x: x, discriminator)
    blind["params"]["conv_0"]["kernel"] = kernel.at[:, :, 3:].set(0.0)
    task = replace(task, penalties=Penalties(r1=1.0))
    outputs, _ = jax.jit(task.generate)(generator, batch, jax.random.key(2))
    _, (_, metrics) = jax.jit(task.discriminator_loss)(blind, outputs, batch, jax.random.key(4))
    assert metrics["d/r1"] == 0.0


@pytest.mark.parametrize("loss", ["lsgan", "relativistic"])
def test_the_generators_loss_is_the_formula_on_the_critics_logits(game, loss):
    _, batch, generator, discriminator = game
    task = make_task(loss, blurred_l1_weight=0.0, adversarial_weight=0.5)
    outputs, _ = jax.jit(task.generate)(generator, batch, jax.random.key(2))
    judge = lambda x: task.discriminator.apply(discriminator, x, batch["source"])  # noqa: E731
    formula = adversarial_loss(loss).generator
    expected = 0.5 * formula(judge(batch["target"]), judge(outputs.image)).mean()
    got, _ = jax.jit(task.generator_loss)(discriminator, outputs, batch, jax.random.key(3))
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_samples_depend_on_the_key_only_through_the_grain(game):
    task, batch, generator, _ = game
    a, b = (task.sample(generator, batch, jax.random.key(k)) for k in (5, 6))
    np.testing.assert_array_equal(a["clean"], b["clean"])
    assert np.abs(a["image"] - b["image"]).max() > 1e-4
    same = task.sample(generator, batch, jax.random.key(5))
    np.testing.assert_array_equal(a["image"], same["image"])
