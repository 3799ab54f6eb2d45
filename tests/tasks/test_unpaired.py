"""CycleGAN's game: which terms reach which network, the pool, and that it learns."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from retrojax.losses import adversarial_loss
from retrojax.models import PatchDiscriminator
from retrojax.tasks.domains import Domains
from retrojax.tasks.unpaired import UnpairedTask, one_direction
from retrojax.training.optimizers import make_optimizer
from retrojax.training.state import init_state
from retrojax.training.step import make_step


class Tint(nn.Module):
    """One 1x1 convolution: it can learn a colour change and nothing else."""

    noise_channels: int = 0

    @nn.compact
    def __call__(self, source, noise=None, *, train=False):
        return jnp.tanh(nn.Conv(3, (1, 1))(source))


class NormedTint(nn.Module):
    """The same after BatchNorm, which makes examples depend on each other."""

    noise_channels: int = 0

    @nn.compact
    def __call__(self, source, noise=None, *, train=False):
        return jnp.tanh(nn.Conv(3, (1, 1))(nn.BatchNorm(use_running_average=not train)(source)))


def make_task(**changes):
    task = UnpairedTask(
        generator=Tint(),
        discriminator=PatchDiscriminator(features=4, layers=1),
        loss=adversarial_loss("lsgan"),
        domains=Domains(crop=16),
        pool_size=5,
    )
    return replace(task, **changes)


@pytest.fixture(scope="module")
def raw():
    rng = np.random.default_rng(0)
    source = rng.integers(60, 200, (4, 16, 16, 3), dtype=np.uint8)
    return {"source": source, "target": (source[::-1] * [1.0, 0.7, 0.4]).astype(np.uint8)}


@pytest.fixture(scope="module")
def played(raw):
    task = make_task()
    batch = jax.jit(task.prepare)(raw, jax.random.key(0))
    generator, discriminator = jax.jit(task.init)(jax.random.key(1), batch)
    outputs, _ = jax.jit(task.generate)(generator, batch, jax.random.key(2))
    return task, batch, generator, discriminator, outputs


def test_every_output_is_the_application_it_is_named_for(played):
    task, batch, generator, _, outputs = played

    def apply(name, images):
        return task.generator.apply(one_direction(generator, name), images)

    expected = {
        "fake_target": apply("forward", batch["source"]),
        "fake_source": apply("backward", batch["target"]),
        "cycled_source": apply("backward", outputs["fake_target"]),
        "cycled_target": apply("forward", outputs["fake_source"]),
        "same_target": apply("forward", batch["target"]),
        "same_source": apply("backward", batch["source"]),
    }
    assert outputs.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(outputs[name], value, atol=1e-6, err_msg=name)


def test_batches_do_not_mix_where_examples_depend_on_each_other(played):
    _, batch, _, _, _ = played
    task = make_task(generator=NormedTint())
    generator, _ = jax.jit(task.init)(jax.random.key(1), batch)
    outputs, (collections, _) = jax.jit(task.generate)(generator, batch, jax.random.key(2))
    alone, changed = task.generator.apply(
        one_direction(generator, "forward"), batch["source"], train=True, mutable=["batch_stats"]
    )
    np.testing.assert_allclose(outputs["fake_target"], alone, atol=1e-6)
    # The statistics went on with the two passes after it.
    last = collections["batch_stats"]["forward"]["BatchNorm_0"]["mean"]
    assert np.abs(last - changed["batch_stats"]["BatchNorm_0"]["mean"]).max() > 1e-4


def test_the_generators_loss_is_the_sum_of_its_terms_with_their_weights(played):
    task, batch, _, discriminator, outputs = played
    total, (_, metrics) = jax.jit(task.generator_loss)(
        discriminator, outputs, batch, jax.random.key(0)
    )
    by_hand = 0.0
    for side in ("source", "target"):
        critic = {"params": discriminator["params"][side]}
        logits = task.discriminator.apply(critic, outputs[f"fake_{side}"])
        by_hand += 0.5 * ((logits - 1) ** 2).mean()
        by_hand += 10 * jnp.abs(outputs[f"cycled_{side}"] - batch[side]).mean()
        by_hand += 5 * jnp.abs(outputs[f"same_{side}"] - batch[side]).mean()
    np.testing.assert_allclose(total, by_hand, rtol=1e-5)
    assert {name for name in metrics if name.startswith("g/")} == set(metrics)


def test_without_identity_its_passes_are_not_made(played):
    task, batch, generator, _, _ = played
    outputs, _ = replace(task, identity_weight=0.0).generate(generator, batch, jax.random.key(0))
    assert not [name for name in outputs if name.startswith("same")]


def test_each_critic_learns_from_its_own_domain_alone(played):
    task, batch, _, discriminator, outputs = played

    @jax.jit
    @jax.grad
    def gradients(params, outputs):
        variables = {**discriminator, "params": params}
        return task.discriminator_loss(variables, outputs, batch, jax.random.key(0))[0]

    before = gradients(discriminator["params"], outputs)
    halved = {**outputs, "fake_source": outputs["fake_source"] * 0.5}
    after = gradients(discriminator["params"], halved)
    for a, b in zip(
        jax.tree.leaves(before["target"]), jax.tree.leaves(after["target"]), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert any(
        np.abs(a - b).max() > 1e-6
        for a, b in zip(
            jax.tree.leaves(before["source"]), jax.tree.leaves(after["source"]), strict=True
        )
    )


@pytest.mark.slow
def test_pools_fill_step_by_step_and_survive_in_the_state(raw):
    task = make_task()
    optimizers = (make_optimizer("sgd", 1e-3), make_optimizer("sgd", 1e-3))
    players = jax.jit(task.init)(jax.random.key(1), jax.jit(task.prepare)(raw, jax.random.key(0)))
    state = init_state(jax.random.key(2), *players, optimizers, ema=False)
    step = jax.jit(make_step(task, optimizers, order="simultaneous"))
    counts = []
    for _ in range(2):
        state, _ = step(state, raw)
        pool = state.discriminator.collections["pool"]
        counts.append([int(pool[side]["count"]) for side in ("source", "target")])
    assert counts == [[4, 4], [5, 5]]
    assert np.abs(pool["target"]["images"]).min(axis=(1, 2, 3)).max() > 0


@pytest.mark.slow
def test_learns_the_other_domains_colours(raw):
    task = make_task(cycle_weight=1.0, identity_weight=0.0)
    optimizers = (make_optimizer("adam", 1e-2), make_optimizer("adam", 1e-2))
    players = jax.jit(task.init)(jax.random.key(1), jax.jit(task.prepare)(raw, jax.random.key(0)))
    state = init_state(jax.random.key(2), *players, optimizers, ema=False)
    step = jax.jit(make_step(task, optimizers, order="simultaneous"))
    batch = jax.jit(task.prepare)(raw, jax.random.key(0))

    def off(state):
        image = task.sample(state.sampling_variables, batch, jax.random.key(0))["image"]
        return float(jnp.abs(image.mean((0, 1, 2)) - batch["target"].mean((0, 1, 2))).max())

    before = off(state)
    for _ in range(150):
        state, _ = step(state, raw)
    assert off(state) < 0.5 * before
