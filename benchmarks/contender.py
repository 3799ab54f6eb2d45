"""The product as a contender in a comparison: its joint step, from weights that are handed over.

What one system does in a process of its own is the same for all: `load` a hand-over, `losses` of
its first steps, `round` after round of timed steps. Another system of JAX is a subclass.
"""

import itertools
import time
from collections.abc import Callable
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from benchmarks.ceilings import convolutions, matmul_side
from benchmarks.compiled import step_flops
from benchmarks.games import CHECKED_STEPS, Game, game
from benchmarks.handover import Handover, load, save
from benchmarks.prepared import DRAWN, PreparedTask, build, random_batches, settings
from benchmarks.timing import conv_flops, matmul_flops
from experiments.build import build_average, build_optimizers
from experiments.memory import peak_memory
from retrojax.huge_pages import keep_what_is_large
from retrojax.training.placement import make_placement
from retrojax.training.state import GanState, init_state
from retrojax.training.step import make_step

Step = Callable[[GanState, PyTree], tuple[GanState, dict[str, Any]]]


class ProductContender:
    """The product's joint step, compiled as training compiles it, on one device."""

    libraries = ("jax", "jaxlib", "flax", "optax")

    def __init__(self, **chosen: Any) -> None:
        """Takes what `games.game` takes; nothing is compiled yet."""
        self.game = game(**chosen)
        keep_what_is_large()
        self.placement = make_placement(self.game.config.batch_size, jax.local_devices()[:1])
        self.compile_seconds = 0.0
        self.flops: float | None = None

    def hand_over(self, file: str) -> None:
        """Writes fresh weights, random batches and what the product draws in its first steps."""
        batches = random_batches(self.game, count=CHECKED_STEPS)
        task = build(self.game)
        key = jax.random.key(self.game.config.seed)
        generator, discriminator = jax.jit(task.init)(key, batches[0])
        start = Handover(settings(task), generator, discriminator, batches, [{}] * len(batches))
        self._start(start)
        drawn = [
            {
                name.removeprefix(DRAWN): np.asarray(x)
                for name, x in said.items()
                if name.startswith(DRAWN)
            }
            for said in self._first_steps()
        ]
        save(Path(file), start._replace(draws=drawn))

    def load(self, file: str) -> None:
        """Reads the weights to start from and the batches."""
        self._start(load(Path(file)))

    def losses(self) -> list[dict[str, float]]:
        """Every loss of the first steps of `Game.checked`, one a batch."""
        return [
            {name: float(value) for name, value in said.items() if is_loss(name)}
            for said in self._first_steps()
        ]

    def compile(self) -> None:
        """Compiles the step that is timed."""
        begin = time.perf_counter()
        self.step = self._compiled(self.game, record=False)
        self.compile_seconds = time.perf_counter() - begin
        # After the clock: to count is to trace the step once more.
        step = self._joint_step(self.game, record=False)
        self.flops = step_flops(step, self.state, self.batches[0])

    def round(self, steps: int, warmup: int) -> dict[str, Any]:
        """Times steps without a pause, from the weights that were handed over.

        Args:
            steps: how many, at least 1; only the last is waited for.
            warmup: untimed steps before, at least 0.

        Returns:
            "seconds" a step, and whether the last step's figures are "finite".
        """
        turn = itertools.cycle(self.batches)
        state = jax.tree.map(jnp.copy, self.state)
        for _ in range(warmup):
            state, _ = self.step(state, next(turn))
        jax.block_until_ready(state)
        begin = time.perf_counter()
        for _ in range(steps):
            state, said = self.step(state, next(turn))
        jax.block_until_ready((state, said))
        seconds = (time.perf_counter() - begin) / steps
        finite = all(np.isfinite(value) for value in jax.device_get(list(said.values())))
        return {"seconds": seconds, "finite": finite}

    def ceilings(self) -> dict[str, float]:
        """FLOP/s of a square matrix product and of the fastest of a few plain convolutions."""
        dtype, platform = self.game.config.dtype, jax.local_devices()[0].platform
        return {
            "matmul": matmul_flops(self.placement, size=matmul_side(platform), dtype=dtype),
            "convolution": max(conv_flops(x, dtype=dtype) for x in convolutions(platform)),
        }

    def facts(self) -> dict[str, Any]:
        """What ran, and where."""
        device = jax.local_devices()[0]
        in_use = (device.memory_stats() or {}).get("peak_bytes_in_use")
        return {
            "versions": {name: metadata.version(name) for name in self.libraries},
            "device": f"{device.device_kind} ({device.platform})",
            "compile_seconds": self.compile_seconds,
            "flops": self.flops,
            "peak_bytes": peak_memory() if in_use is None else in_use,
        }

    def _start(self, handover: Handover) -> None:
        ema = self.game.config.ema_halflife_images > 0
        key = jax.random.key(self.game.config.seed)
        players = handover.generator, handover.discriminator
        state = init_state(key, *players, build_optimizers(self.game.config), ema=ema)
        self.state = self.placement.put_state(state)
        self.batches = [self.placement.put_batch(dict(batch)) for batch in handover.batches]

    def _first_steps(self) -> list[dict[str, Any]]:
        """The metrics of the first steps."""
        state, metrics = jax.tree.map(jnp.copy, self.state), []
        for batch in self.batches:
            state, said = self._checked_step(state, batch)
            metrics.append(said)
        return metrics

    @cached_property
    def _checked_step(self) -> Step:
        """The step whose losses are compared; its metrics hold what was drawn."""
        with jax.default_matmul_precision("highest"):
            return self._compiled(self.game.checked, record=True)

    def _compiled(self, game: Game, *, record: bool) -> Step:
        """The step of a game, ready to run."""
        step = self._joint_step(game, record=record)
        return self.placement.compile(step, self.state, self.batches[0])

    def _joint_step(self, game: Game, *, record: bool) -> Step:
        """The product's step of a game, not compiled."""
        return make_step(
            PreparedTask(build(game), record),
            build_optimizers(game.config),
            order=game.config.order,
            ema_halflife_images=build_average(game.config),
        )


def is_loss(name: str) -> bool:
    """Whether a metric of the product is a loss, and not a norm or a mean of logits."""
    return name.startswith(("d/adversarial", "g/")) and not name.endswith("norm")
