"""Rematerialised steps: all tasks compute both players' activations again; the numbers stay."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.build import build_task
from experiments.presets import preset
from retrojax.training.optimizers import make_optimizer
from retrojax.training.state import init_state
from retrojax.training.step import make_step

KEY = jax.random.key(0)
QUICK = ("tiny",)
LONG = (
    "cyclegan-tiny",
    "document-tiny",
    "pix2pix-tiny",
    "cut-tiny",
    "r3gan-tiny",
    "retro-unpaired",
)
SLOW = tuple(pytest.param(name, marks=pytest.mark.slow) for name in LONG)


def setting(name):
    """A configuration with a batch of two, and such a batch."""
    config = replace(preset(name), batch_size=2)
    two_domains = getattr(config, "method", "paired") != "paired"
    names = ("source", "target") if two_domains else ("source",)
    rng = np.random.default_rng(0)
    shape = (2, config.window, config.window, 3)
    return config, {key: rng.integers(0, 256, shape, dtype=np.uint8) for key in names}


OPTIMIZERS = (make_optimizer("sgd", 0.01),) * 2


def start(task, raw):
    return init_state(KEY, *task.init(KEY, task.prepare(raw, KEY)), OPTIMIZERS, ema=False)


def program(function, *shapes):
    return str(jax.make_jaxpr(function)(*shapes))


@pytest.mark.parametrize("name", [*QUICK, *SLOW])
def test_both_players_of_every_task_are_rematerialised(name):
    config, raw = setting(name)
    for remat in (False, True):
        task = build_task(replace(config, remat=remat))
        state = jax.eval_shape(lambda task=task: start(task, raw))
        batch = jax.eval_shape(task.prepare, raw, KEY)

        def generate(variables, batch, task=task):
            return task.generate(variables, batch, KEY)[0]

        def judge(variables, outputs, batch, task=task):
            return task.discriminator_loss(variables, outputs, batch, KEY)[0]

        g, d = state.generator.variables, state.discriminator.variables
        outputs = jax.eval_shape(generate, g, batch)
        for text in (program(generate, g, batch), program(judge, d, outputs, batch)):
            assert ("checkpoint[" in text or "remat" in text) == remat


@pytest.mark.slow
@pytest.mark.parametrize("name", [*QUICK, *LONG])
def test_a_step_is_the_same_with_and_without(name):
    config, raw = setting(name)
    results = []
    for remat in (False, True):
        task = build_task(replace(config, remat=remat))
        first = jax.jit(lambda raw, task=task: start(task, raw))(raw)
        results.append(jax.jit(make_step(task, OPTIMIZERS))(first, raw))
    (plain, plain_metrics), (again, metrics) = results
    leaves = jax.tree.leaves
    steps = zip(leaves(first.generator), leaves(plain.generator), strict=True)
    assert max(float(jnp.abs(a - b).max()) for a, b in steps) > 1e-5
    for one, other in (
        (plain.generator, again.generator),
        (plain.discriminator, again.discriminator),
        (plain_metrics, metrics),
    ):
        for a, b in zip(leaves(one), leaves(other), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
