"""Every adversarial loss trains: fifty steps with finite losses move the generator by its loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.losses import ADVERSARIAL_LOSSES, DEFAULT_PENALTIES, Penalties
from retrojax.training.first_state import initial_state
from retrojax.training.optimizers import make_optimizer
from retrojax.training.step import make_step

STEPS = 50


def trained(task, raw, optimizer, rate):
    """State before and after, and the metrics of every step."""
    optimizers = make_optimizer(optimizer, rate), make_optimizer(optimizer, rate)
    first = initial_state(task, raw, optimizers, seed=0, ema=False)
    step = jax.jit(make_step(task, optimizers))
    last, lines = first, []
    for _ in range(STEPS):
        last, metrics = step(last, raw)
        lines.append(jax.device_get(metrics))
    return first, last, {name: [line[name] for line in lines] for name in lines[0]}


def distance(first, last):
    return max(
        float(jnp.abs(a - b).max())
        for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(last), strict=True)
    )


QUICK = ("lsgan",)
LOSSES = [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
    for name in ADVERSARIAL_LOSSES
]


@pytest.mark.parametrize("name", LOSSES)
def test_fifty_steps_stay_finite_and_the_adversary_moves_both_players(name, make_task, raw):
    """Without reconstruction, so that what moves the generator is the adversarial loss."""
    task = make_task(
        loss=ADVERSARIAL_LOSSES[name],
        penalties=DEFAULT_PENALTIES.get(name, Penalties()),
        l1_weight=0.0,
    )
    first, last, metrics = trained(task, raw, "adam", 1e-3)
    for metric, values in metrics.items():
        assert np.isfinite(values).all(), metric
    assert distance(first.generator.params, last.generator.params) > 5e-3
    assert distance(first.discriminator.params, last.discriminator.params) > 5e-3


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_both_optimisers_bring_the_output_nearer_to_the_target(name, make_task, raw):
    rate = {"adam": 1e-2, "sgd": 2e-1}[name]
    _, _, metrics = trained(make_task(adversarial_weight=0.0), raw, name, rate)
    assert np.mean(metrics["g/l1"][-5:]) < 0.6 * np.mean(metrics["g/l1"][:5])
