"""The main job: train a look, judge it on held-out photographs, keep the model and a report."""

import time
from dataclasses import dataclass
from itertools import islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.table import Table

from experiments.build import build_paired_task, module_options
from experiments.config import LookConfig
from experiments.run_parts import Run, claim_folder
from retrojax.data import batches, open_data
from retrojax.inference.bundle import save_bundle
from retrojax.metrics import LOOK_FIGURES, figures_table
from retrojax.tasks.paired import PairedTask
from retrojax.tasks.task import Variables
from retrojax.training.evaluation import TRAINED, common_crop, evaluate, fit_baseline
from retrojax.training.placement import make_placement
from retrojax.training.samples import sample_grid, write_png
from retrojax.training.sampling import Sampler
from retrojax.training.state import GanState

SAMPLE_SIDE = 256
# Keys of what happens outside the steps; the run's own randomness comes from --seed.
SAMPLE_KEY, EVALUATION_KEY, BASELINE_KEY = 1, 2, 3
BASELINE_BATCHES, BASELINE_PIXELS = 48, 4000


@dataclass(frozen=True)
class LookRun(Run[LookConfig, PairedTask]):
    """A run that learns a look from pairs."""

    def table(self, figures: dict[str, dict[str, float]], config: dict[str, Any]) -> Table:
        """The figures beside each other."""
        title = f"{config['look']} with {config['loss']} on held-out photographs"
        return figures_table(LOOK_FIGURES, figures, title=title)

    def use(self) -> str:
        """The command that makes pictures."""
        return f"retrojax stylize PHOTO --model {self.config.folder / 'model'}"

    def sampler(self) -> Sampler:
        """Draws a grid of the same photographs with the same seed."""
        photos = common_crop(self.data.validation[:3], largest=SAMPLE_SIDE)
        key = jax.random.key(SAMPLE_KEY)
        source = jnp.asarray(photos["source"], jnp.float32) / 255
        if self.task.look is None:
            target = photos["target"]
        else:
            target = np.rint(np.asarray(jax.jit(self.task.render)(key, source)) * 255)
        draw = jax.jit(lambda v, images: self.task.sample(v, {"source": images}, key)["image"])

        def grid(variables: Variables) -> np.ndarray:
            output = np.asarray(draw(variables, source * 2 - 1), np.float32)
            output = np.rint(np.clip(output / 2 + 0.5, 0, 1) * 255)
            rows = [
                [image.astype(np.uint8) for image in row]
                for row in zip(photos["source"], output, target, strict=True)
            ]
            return sample_grid(rows, labels=["source", "output", "target"])

        return grid

    def judge(self, state: GanState) -> dict[str, dict[str, float]]:
        """Figures on held-out photographs, pictures for the report, and the model."""
        config, folder = self.config, self.config.folder
        variables = jax.device_get(state.sampling_variables)
        stream = batches(
            self.data,
            batch_size=config.batch_size,
            window=config.window,
            seed=config.seed,
            first_step=0,
            steps=BASELINE_BATCHES,
        )
        try:
            pixels = min(BASELINE_PIXELS, config.batch_size * config.crop**2)
            baseline = fit_baseline(
                self.task,
                islice(stream, BASELINE_BATCHES),
                jax.random.key(BASELINE_KEY),
                pixels=pixels,
            )
        finally:
            stream.close()
        photos = common_crop(self.data.validation)
        figures, pictures = evaluate(
            self.task, variables, photos, baseline, jax.random.key(EVALUATION_KEY)
        )
        for index, photo in enumerate(self.data.validation):
            for name, images in pictures.items():
                stem = photo.name.replace("/", "_")
                write_png(folder / "samples" / f"final-{stem}-{name}.png", images[index])
        save_bundle(
            folder / "model",
            variables=variables,
            generator_name=config.generator,
            generator_options=module_options(self.task.generator),
            about={
                "look": config.look if self.task.look is not None else None,
                "loss": config.loss,
                "steps": config.steps,
                "pixels_per_mm": config.pixels_per_mm,
                "figures": figures[TRAINED],
            },
        )
        return figures


def open_look_run(config: LookConfig) -> LookRun:
    """Checks a run's input and opens its folder; nothing is compiled.

    Raises:
        ValueError: one line that names what is wrong and the way out.
    """
    started = time.perf_counter()
    make_placement(config.batch_size, accumulate=config.accumulate)
    data = open_data(config.data, photo_size=config.photo_size, window=config.window)
    task = build_paired_task(config, paired_data=data.validation[0].target is not None)
    claim_folder(config, data)
    return LookRun(config, data, task, started)
