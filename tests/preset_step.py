"""The joint step of a preset as the training loop builds it, by shapes; nothing is compiled."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from experiments.build import AnyTask, build_average, build_optimizers, build_task
from experiments.config import AnyConfig
from retrojax.training.first_state import first_state
from retrojax.training.state import GanState
from retrojax.training.step import Step, make_step, rounds

TWO_DOMAINS = ("unpaired", "contrastive", "one-sided")


@dataclass(frozen=True)
class PresetStep:
    """A step and the shapes that it takes; `optimizers` are the generator's and the critic's."""

    config: AnyConfig
    task: AnyTask
    optimizers: tuple[Any, Any]
    step: Step
    state: GanState
    raw: dict[str, jax.ShapeDtypeStruct]


def preset_step(config: AnyConfig, **changes: Any) -> PresetStep:
    """Builds it; `changes` are to the task."""
    task, optimizers = replace(build_task(config), **changes), build_optimizers(config)
    average = build_average(config)
    count = config.batch_size * rounds(config.discriminator_steps, config.fresh_generator_batch)
    image = jax.ShapeDtypeStruct((count, config.window, config.window, 3), np.uint8)
    two = getattr(config, "method", "") in TWO_DOMAINS
    raw = {name: image for name in ("source", "target")[: 1 + two]}
    ema = callable(average) or average > 0

    def start(raw):
        return first_state(task, raw, optimizers, seed=config.seed, ema=ema)

    step = make_step(
        task,
        optimizers,
        order=config.order,
        ema_halflife_images=average,
        discriminator_steps=config.discriminator_steps,
        fresh_generator_batch=config.fresh_generator_batch,
    )
    return PresetStep(config, task, optimizers, step, jax.eval_shape(start, raw), raw)
