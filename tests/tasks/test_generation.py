"""The generation task: what a batch becomes, who learns from what, what is random."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.film import Look, look, render
from retrojax.losses import Penalties, adversarial_loss
from retrojax.models import DCGANGenerator, FullyConnectedDiscriminator, MLPGenerator
from retrojax.tasks.generation import GenerationTask
from retrojax.tasks.task import Task
from retrojax.training.optimizers import make_optimizer
from retrojax.training.state import init_state
from retrojax.training.step import make_step


def make_task(loss="bce", **changes) -> GenerationTask:
    task = GenerationTask(
        generator=MLPGenerator(shape=(8, 8, 3), widths=(16,), latent_size=5),
        discriminator=FullyConnectedDiscriminator(widths=(16,)),
        loss=adversarial_loss(loss),
        size=8,
    )
    return replace(task, **changes)


@pytest.fixture
def raw():
    values = np.random.default_rng(0).integers(0, 256, (6, 12, 12, 3), dtype=np.uint8)
    return {"source": values}


def test_it_is_a_task():
    assert isinstance(make_task(), Task)


def test_a_prepared_batch_is_the_centre_of_the_raw_squares(raw):
    batch = make_task(flip=False).prepare(raw, jax.random.key(0))
    expected = raw["source"][:, 2:10, 2:10].astype(np.float32) / 127.5 - 1
    np.testing.assert_allclose(batch["real"], expected, atol=1e-6)


def test_flips_mirror_some_examples_and_leave_the_others(raw):
    plain = make_task(flip=False).prepare(raw, jax.random.key(0))["real"]
    flipped = make_task().prepare(raw, jax.random.key(1))["real"]
    same = (flipped == plain).all((1, 2, 3))
    mirrored = (flipped == plain[:, :, ::-1]).all((1, 2, 3))
    assert (same | mirrored).all() and same.any() and mirrored.any()


def test_a_look_is_rendered_before_the_crop():
    """With a look of tone alone, black becomes the black of that look, whatever the exposure."""
    tone = Look(tone=look("sepia").tone)
    grey = jnp.zeros((1, 12, 12, 3), jnp.uint8)
    black = make_task(look=tone).prepare({"source": grey}, jax.random.key(0))["real"]
    expected = render(jax.random.key(0), jnp.zeros((8, 8, 3)), tone) * 2 - 1
    np.testing.assert_allclose(black[0], expected, atol=1e-5)
    assert black.min() > -1


def test_as_many_images_are_made_as_the_batch_has_and_each_from_its_own_latent(raw):
    task = make_task()
    batch = jax.jit(task.prepare)(raw, jax.random.key(0))
    generator, _ = jax.jit(task.init)(jax.random.key(1), batch)
    outputs, _ = jax.jit(task.generate)(generator, batch, jax.random.key(2))
    assert outputs.shape == (6, 8, 8, 3) and outputs.dtype == jnp.float32
    half = {"real": batch["real"][:3]}
    fewer, _ = jax.jit(task.generate)(generator, half, jax.random.key(2))
    np.testing.assert_allclose(outputs[:3], fewer, atol=1e-6)
    assert len(np.unique(np.asarray(outputs).reshape(6, -1), axis=0)) == 6


@pytest.mark.slow
def test_batch_norm_of_the_generator_reaches_the_state(raw):
    big = {"source": raw["source"].repeat(6, axis=1).repeat(6, axis=2)}
    task = make_task(generator=DCGANGenerator(features=1, latent_size=5), size=64)
    optimizers = make_optimizer("sgd", 0.1), make_optimizer("sgd", 0.1)
    players = jax.jit(task.init)(jax.random.key(0), jax.jit(task.prepare)(big, jax.random.key(0)))
    state = init_state(jax.random.key(1), *players, optimizers, ema=False)
    before = jax.device_get(state.generator.collections)
    state, _ = jax.jit(make_step(task, optimizers))(state, big)
    after = jax.device_get(state.generator.collections)
    changed = jax.tree.map(lambda a, b: bool((a != b).any()), before, after)
    assert all(jax.tree.leaves(changed))


@pytest.mark.parametrize("penalty", ["r1", "r2", "gradient"])
def test_penalties_reach_the_discriminator_alone(penalty, raw):
    plain, punished = make_task(), make_task(penalties=Penalties(**{penalty: 2.0}))
    batch = plain.prepare(raw, jax.random.key(0))
    generator, discriminator = plain.init(jax.random.key(1), batch)
    fake, _ = plain.generate(generator, batch, jax.random.key(2))
    key = jax.random.key(3)
    losses = [t.discriminator_loss(discriminator, fake, batch, key)[0] for t in (plain, punished)]
    assert losses[1] > losses[0]
    g_losses = [t.generator_loss(discriminator, fake, batch, key)[0] for t in (plain, punished)]
    assert g_losses[0] == g_losses[1]


def test_a_critic_is_shown_augmented_images_and_teaches_through_them(raw):
    """Cutout hides a quarter or more of what the generator made: no gradient comes from there."""
    task = make_task(augment="cutout")
    batch = jax.jit(task.prepare)(raw, jax.random.key(0))
    generator, discriminator = jax.jit(task.init)(jax.random.key(1), batch)
    fake, _ = jax.jit(task.generate)(generator, batch, jax.random.key(2))

    def loss(task, images):
        return task.generator_loss(discriminator, images, batch, jax.random.key(3))[0]

    hidden = (jax.grad(lambda x: loss(task, x))(fake) == 0).all(-1).mean((1, 2))
    assert (hidden > 0.05).all() and (hidden <= 0.3).all()
    shown = (jax.grad(lambda x: loss(make_task(), x))(fake) == 0).all(-1).mean()
    assert shown < 0.01
    assert (
        loss(task, fake)
        != jax.jit(task.generator_loss)(discriminator, fake, batch, jax.random.key(4))[0]
    )
