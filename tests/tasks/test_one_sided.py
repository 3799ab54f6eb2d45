"""SimGAN's objective with a look generator: colours learn from the critic, content stays."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.losses import adversarial_loss, blurred_l1
from retrojax.models import LookGenerator, PatchDiscriminator
from retrojax.tasks.domains import Domains
from retrojax.tasks.one_sided import OneSidedTask


@pytest.fixture(scope="module")
def game():
    task = OneSidedTask(
        generator=LookGenerator(lut_size=4, features=4, texture_features=2, joint=True),
        discriminator=PatchDiscriminator(features=4, layers=1, norm="none"),
        loss=adversarial_loss("lsgan"),
        domains=Domains(crop=16),
        source_l1_weight=3.0,
    )
    rng = np.random.default_rng(0)
    raw = {n: rng.integers(0, 256, (2, 16, 16, 3), dtype=np.uint8) for n in ("source", "target")}
    batch = jax.jit(task.prepare)(raw, jax.random.key(0))
    return task, batch, *jax.jit(task.init)(jax.random.key(1), batch)


def test_the_loss_is_adversarial_plus_the_weighted_distance_to_the_source(game):
    task, batch, generator, discriminator = game
    fake, _ = jax.jit(task.generate)(generator, batch, jax.random.key(2))
    total, (_, metrics) = task.generator_loss(discriminator, fake, batch, jax.random.key(3))
    logits = task.discriminator.apply(discriminator, fake)
    expected = 0.5 * ((logits - 1) ** 2).mean() + 3 * blurred_l1(fake, batch["source"]).mean()
    np.testing.assert_allclose(total, expected, rtol=1e-5)
    assert set(metrics) == {"g/adversarial", "g/source_l1"}


@pytest.mark.parametrize(("joint", "learns"), [(True, True), (False, False)])
def test_only_a_joint_look_learns_its_colours_from_the_critic(game, joint, learns):
    task, batch, generator, discriminator = game
    task = replace(
        task, generator=replace_module(task.generator, joint=joint), source_l1_weight=0.0
    )

    def loss(params):
        fake, _ = task.generate({"params": params}, batch, jax.random.key(2))
        return task.generator_loss(discriminator, fake, batch, jax.random.key(3))[0]

    gradients = jax.jit(jax.grad(loss))(generator["params"])
    colour = max(float(jnp.abs(x).max()) for x in jax.tree.leaves(gradients["colour"]))
    grain = max(float(jnp.abs(x).max()) for x in jax.tree.leaves(gradients["texture_out"]))
    assert (colour > 0) == learns and grain > 0


def replace_module(module, **changes):
    return module.clone(**changes)
