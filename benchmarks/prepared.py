"""The product's task for a game, on batches that come prepared.

Turning photographs into batches (decoding, crops, flips, the look) is left out of a comparison:
other systems would have to draw the same. Everything after it is the product's own.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Key, PyTree

from benchmarks.games import Game
from benchmarks.handover import Arrays
from experiments.build import build_task, module_options
from experiments.config import GenerationConfig
from retrojax.tasks.generation import GenerationTask
from retrojax.tasks.paired import PairedTask
from retrojax.tasks.task import Task, Variables
from retrojax.tasks.unpaired import UnpairedTask

ProductTask = GenerationTask | PairedTask | UnpairedTask

DRAWN = "drawn/"
"""Prefix, among the metrics of a recorded step, of what the task drew."""


@dataclass(frozen=True)
class PreparedTask:
    """A task whose raw batches are float batches already.

    Attributes:
        task: the product's.
        record: whether `generate` adds what it draws to the metrics, for the hand-over.
    """

    task: Task
    record: bool = False

    def init(self, key: Key[Array, ""], batch: PyTree) -> tuple[Variables, Variables]:
        """The task's."""
        return self.task.init(key, batch)

    def prepare(self, raw: PyTree, key: Key[Array, ""], step: Array | int = 0) -> PyTree:
        """The batch as it comes."""
        return raw

    def generate(self, generator: Variables, batch: PyTree, key: Key[Array, ""]) -> Any:
        """The task's, and what it draws."""
        outputs, (collections, metrics) = self.task.generate(generator, batch, key)
        if self.record:
            noise = drawn(self.task, batch, key)
            metrics = metrics | {DRAWN + name: values for name, values in noise.items()}
        return outputs, (collections, metrics)

    def discriminator_loss(
        self, discriminator: Variables, outputs: PyTree, batch: PyTree, key: Key[Array, ""]
    ) -> Any:
        """The task's."""
        return self.task.discriminator_loss(discriminator, outputs, batch, key)

    def generator_loss(
        self, discriminator: Variables, outputs: PyTree, batch: PyTree, key: Key[Array, ""]
    ) -> Any:
        """The task's."""
        return self.task.generator_loss(discriminator, outputs, batch, key)

    def sample(self, generator: Variables, batch: PyTree, key: Key[Array, ""]) -> dict[str, Array]:
        """The task's."""
        return self.task.sample(generator, batch, key)


def drawn(task: Task, batch: PyTree, key: Key[Array, ""]) -> dict[str, Array]:
    """The noise that a task's `generate` draws with a key, by name; dropout's masks are not in it.

    The key is split as the tasks split it: if they ever part, systems that are handed this noise
    disagree with the product.
    """
    noise_key, _ = jax.random.split(key)
    if isinstance(task, GenerationTask):
        return {"latent": task.latent(noise_key, len(batch["real"]))}
    noise = task.noise(noise_key, batch["source"]) if isinstance(task, PairedTask) else None
    return {} if noise is None else {"noise": noise}


def build(game: Game) -> ProductTask:
    """The product's task for a game."""
    task = build_task(game.config)
    assert isinstance(task, ProductTask)
    if game.drops:
        return task
    return replace(task, generator=_dry(task.generator), discriminator=_dry(task.discriminator))


def _dry(network: nn.Module) -> nn.Module:
    """The network without dropout."""
    return network.clone(dropout=0.0) if hasattr(network, "dropout") else network


def settings(task: ProductTask) -> dict[str, dict[str, Any]]:
    """The numbers and names that the task and its networks were made with, as JSON values."""
    own = {field.name: getattr(task, field.name) for field in fields(task)}
    return {
        "task": {name: x for name, x in own.items() if isinstance(x, int | float | str)},
        "generator": module_options(task.generator),
        "discriminator": module_options(task.discriminator),
    }


def random_batches(game: Game, *, count: int) -> list[Arrays]:
    """Prepared batches of random colours, uniform in [-1, 1], each of other contents.

    Random, because multipliers take less power, and run faster, on zeros.
    """
    rng = np.random.default_rng(game.config.seed)
    names = ("real",) if isinstance(game.config, GenerationConfig) else ("source", "target")
    shape = (game.config.batch_size, game.size, game.size, 3)
    return [
        {name: rng.uniform(-1, 1, shape).astype(np.float32) for name in names} for _ in range(count)
    ]
