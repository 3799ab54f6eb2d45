"""Tiny games on 1 to 8 virtual CPU devices, in a process of its own: tests have four.

`python tests/training/many_devices.py CASES.json` takes `[[game, order, parallel, devices,
accumulate], ...]` and prints one JSON object a case: how far each player's params are from those
of one device after `STEPS` steps of SGD, how far those are from where they began, and by what part
each player's adversarial loss of the first batch has changed.
"""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
sys.path.insert(0, str(Path(__file__).parents[2]))

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from retrojax.film import Look, look
from retrojax.losses import Penalties, adversarial_loss
from retrojax.models import PatchDiscriminator, PatchSampleF
from retrojax.models.layers import Dropout, make_norm
from retrojax.tasks.contrastive import ContrastiveTask
from retrojax.tasks.domains import Domains
from retrojax.tasks.generation import GenerationTask
from retrojax.tasks.one_sided import OneSidedTask
from retrojax.tasks.paired import PairedTask
from retrojax.tasks.ramp import Ramp
from retrojax.tasks.unpaired import UnpairedTask
from retrojax.training.first_state import initial_state
from retrojax.training.placement import make_placement
from retrojax.training.step import make_step

STEPS, BATCH = 20, 8


class Pixels(nn.Module):
    """1x1 convolutions with a norm and dropout between; its one inner map can be tapped."""

    norm: str = "batch"
    dropout: float = 0.3
    noise_channels: int = 1
    axis_name: str | None = None

    @nn.compact
    def __call__(self, source, noise=None, *, train=False, taps=None, encode_only=False):
        x = source if noise is None else jnp.concatenate([source, noise], -1)
        x = nn.Dense(6)(x)
        x = make_norm(self.norm, train=train, axis_name=self.axis_name)("norm")(x)
        # Before the ReLU: with so few channels it would make pixels of zeros, which have no angle.
        features = (x,)
        x = Dropout(self.dropout)(nn.relu(x), train=train)
        if encode_only:
            return features
        image = nn.tanh(nn.Dense(3)(x))
        return image if taps is None else (image, features)


class Latents(nn.Module):
    """Dense, batch norm, dense: a latent becomes an image of 8x8 pixels."""

    norm: str = "batch"
    latent_size: int = 4
    axis_name: str | None = None

    @nn.compact
    def __call__(self, z, *, train=False):
        x = nn.Dense(64)(z).reshape(-1, 4, 4, 4)
        x = nn.relu(make_norm(self.norm, train=train, axis_name=self.axis_name)("norm")(x))
        return nn.tanh(nn.Dense(12)(x)).reshape(-1, 4, 4, 2, 2, 3).transpose(
            0, 1, 3, 2, 4, 5
        ).reshape(-1, 8, 8, 3)  # fmt: skip


def critic(norm):
    return PatchDiscriminator(features=4, layers=1, norm=norm)


LOOK = Look(tone=look("sepia").tone, grain=look("sepia").grain)
PAIRED = PairedTask(
    generator=Pixels(),
    discriminator=critic("batch"),
    loss=adversarial_loss("lsgan"),
    crop=8,
    look=LOOK,
    pixels_per_mm=14.0,
    blurred_l1_weight=2.0,
    augment="color,translation",
)
GENERATION = GenerationTask(
    generator=Latents(),
    discriminator=critic("none"),
    loss=adversarial_loss("relativistic"),
    size=8,
    penalties=Penalties(r1=1.0, r2=1.0),
    augment="color,cutout",
    penalty_ramp=Ramp(1.0, 0.1, 300.0),
    augment_ramp=Ramp(0.0, 0.9, 100.0),
)
UNPAIRED = UnpairedTask(
    generator=Pixels(norm="instance", noise_channels=0),
    discriminator=critic("instance"),
    loss=adversarial_loss("lsgan"),
    domains=Domains(crop=8),
    pool_size=12,
)
CONTRASTIVE = ContrastiveTask(
    generator=Pixels(norm="instance", noise_channels=0),
    head=PatchSampleF(features=32),
    discriminator=critic("instance"),
    loss=adversarial_loss("lsgan"),
    domains=Domains(crop=8),
    layers=(0,),
    patches=9,
    all_negatives=True,
)
ONE_SIDED = OneSidedTask(
    generator=Pixels(),
    discriminator=critic("instance"),
    loss=adversarial_loss("lsgan"),
    domains=Domains(crop=8, look=LOOK, pixels_per_mm=14.0),
)
GAMES = {
    "paired": (PAIRED, {}),
    "generation": (GENERATION, {"ema_halflife_images": 100.0}),
    "critic steps": (
        replace(GENERATION, loss=adversarial_loss("wgan"), penalties=Penalties(gradient=10.0)),
        {"discriminator_steps": 2, "fresh_generator_batch": True},
    ),
    "unpaired": (UNPAIRED, {}),
    "contrastive": (CONTRASTIVE, {}),
    "one-sided": (ONE_SIDED, {}),
    # Without anything in which examples meet, so that micro-batches give what the batch gives.
    "paired apart": (
        replace(
            PAIRED,
            generator=Pixels(norm="instance"),
            discriminator=critic("instance"),
            penalties=Penalties(r1=0.1, r2=0.1),
        ),
        {"ema_halflife_images": 100.0},
    ),
    "generation apart": (
        replace(GENERATION, generator=Latents(norm="instance")),
        {"discriminator_steps": 2, "fresh_generator_batch": True},
    ),
    "unpaired apart": (replace(UNPAIRED, pool_size=0), {}),
    "contrastive apart": (replace(CONTRASTIVE, all_negatives=False), {}),
    "one-sided apart": (replace(ONE_SIDED, generator=Pixels(norm="instance")), {}),
}
# Rates of G and D at which both learn in 20 steps, and no game breaks: where they are not 0.05.
RATES = {
    "generation": (0.1, 0.1),
    "generation apart": (0.1, 0.1),
    "critic steps": (0.1, 0.02),
    "unpaired": (0.02, 0.02),
    "unpaired apart": (0.02, 0.02),
    "contrastive": (0.02, 0.02),
    "contrastive apart": (0.02, 0.02),
    "one-sided": (0.02, 0.02),
    "one-sided apart": (0.02, 0.02),
}
# How many times larger G and D begin than at their initialisers' scale of 0.02. There, 20 steps of
# SGD hardly change a relativistic loss, and the first makes all of CUT's projections one point.
SCALES = {
    "generation": (1, 10),
    "generation apart": (1, 10),
    "contrastive": (50, 50),
    "contrastive apart": (50, 50),
}
# Where players begin, if not at 0: there rounding must grow little in 20 steps. Of eight starts of
# "paired" some let D's gradient norm differ by 1e-3, others by 1e-6, on the same devices. And both
# players must learn: from 0 and 1 a loss of "generation" changes by less than `check` asks for. Of
# twelve starts of "unpaired apart" some meet the kink of an L1 or a ReLU within rounding; so does
# the first of "one-sided".
SEEDS = {"generation": 2, "paired": 3, "unpaired apart": 3, "one-sided": 2}
SGD = (optax.sgd(0.05), optax.sgd(0.05))
ADAM = (optax.adam(2e-4, 0.5, 0.999), optax.adam(2e-4, 0.5, 0.999))


def scaled(player, factor):
    """A player with params that many times as large."""
    return replace(player, params=jax.tree.map(lambda leaf: factor * leaf, player.params))


def start(game, placement, optimizer="sgd"):
    """The state before the first step, the step's options and optimisers, and raw batches."""
    task, options = GAMES[game]
    rates = RATES.get(game)
    optimizers = SGD if rates is None else (optax.sgd(rates[0]), optax.sgd(rates[1]))
    optimizers = ADAM if optimizer == "adam" else optimizers
    rounds = options.get("discriminator_steps", 1) + options.get("fresh_generator_batch", False)
    rng = np.random.default_rng(0)
    shape = (BATCH * rounds, 10, 10, 3)
    raws = [
        {
            "source": rng.integers(0, 256, shape, np.uint8),
            "target": rng.integers(60, 200, shape, np.uint8),
        }
        for _ in range(STEPS)
    ]
    if not isinstance(task, UnpairedTask | ContrastiveTask | OneSidedTask):
        raws = [{"source": raw["source"]} for raw in raws]
    ema = "ema_halflife_images" in options
    state = initial_state(task, raws[0], optimizers, seed=SEEDS.get(game, 0), ema=ema)
    if game in SCALES:
        g, d = SCALES[game]
        players = scaled(state.generator, g), scaled(state.discriminator, d)
        state = replace(state, generator=players[0], discriminator=players[1])
    return placement.put_state(state), optimizers, raws


def play(game, order, parallel, devices, accumulate, optimizer="sgd"):
    """Both players' params after `STEPS` steps, each step's metrics, and how far each came.

    The last metrics are those of the first batch again, by the step after.
    """
    task, options = GAMES[game]
    placement = make_placement(
        BATCH, jax.devices()[:devices], parallel=parallel, accumulate=accumulate
    )
    state, optimizers, raws = start(game, placement, optimizer)
    began = jax.device_get((state.generator.params, state.discriminator.params))
    how = {"order": order, "accumulate": accumulate, "axis_name": placement.axis_name}
    compiled = placement.compile(make_step(task, optimizers, **how, **options), state, raws[0])
    said = []
    for raw in raws:
        state, metrics = compiled(state, placement.put_batch(raw))
        said.append(jax.device_get(metrics))
    players = {"generator": state.generator.params, "discriminator": state.discriminator.params}
    players["collections"] = (state.generator.collections, state.discriminator.collections)
    if state.ema is not None:
        players["average"] = state.ema
    players = jax.device_get(players)
    _, metrics = compiled(state, placement.put_batch(raws[0]))
    said.append(jax.device_get(metrics))
    ended = players["generator"], players["discriminator"]
    return players, said, [distance(*pair) for pair in zip(ended, began, strict=True)]


def distance(a, b):
    """Relative L2 distance over all leaves."""
    pairs = list(zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
    if not pairs:
        return 0.0
    apart = sum(float(np.square(np.float64(x) - np.float64(y)).sum()) for x, y in pairs)
    return float(np.sqrt(apart / sum(float(np.square(np.float64(y)).sum()) for _, y in pairs)))


def changes(before, after):
    """How far adversarial losses changed, over themselves or 0.1: the largest of G's, of D's."""
    return [
        max(
            abs(float(after[name]) - float(before[name])) / max(abs(float(before[name])), 0.1)
            for name in before
            if name.startswith(f"{player}/adversarial")
        )
        for player in "gd"
    ]


def main(cases):
    jax.config.update("jax_num_cpu_devices", 8)
    jax.config.update("jax_numpy_rank_promotion", "raise")
    references = {}
    for game, order, *how in cases:
        alone = (game, order, *how[3:])
        if alone not in references:
            references[alone] = play(game, order, "jit", 1, 1, *how[3:])
        one, said, moved = references[alone]
        many, heard, _ = play(game, order, *how)
        metrics = max(
            abs(float(b[n]) - float(a[n])) / max(abs(float(a[n])), 1.0)
            for a, b in zip(said, heard, strict=True)
            for n in a
        )
        found = {name: distance(many[name], one[name]) for name in one}
        came = {"moved": moved, "changed": changes(said[0], said[-1])}
        print(json.dumps({**found, "metrics": metrics, **came}), flush=True)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
