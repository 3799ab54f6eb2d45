"""The main job: train a look, judge it on held-out photographs, keep the model and a report."""

import json
import resource
import sys
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.build import build_optimizers, build_task
from experiments.config import MAY_CHANGE, Config, as_dict
from retrojax.data import PhotoData, batches, open_data
from retrojax.inference.bundle import save_bundle
from retrojax.metrics import figures_table
from retrojax.models import GENERATORS
from retrojax.tasks.paired import PairedTask
from retrojax.training.evaluation import TRAINED, common_crop, evaluate, fit_baseline
from retrojax.training.log_file import append_line, read_lines
from retrojax.training.loop import LoopSettings, Sampler, Timing, train
from retrojax.training.placement import make_placement
from retrojax.training.report import write_report
from retrojax.training.report_sections import duration
from retrojax.training.run_folder import open_run
from retrojax.training.samples import sample_grid, write_png
from retrojax.training.state import GanState

SAMPLE_SIDE = 256
# Keys of what happens outside the steps; the run's own randomness comes from --seed.
SAMPLE_KEY, EVALUATION_KEY, BASELINE_KEY = 1, 2, 3
BASELINE_BATCHES, BASELINE_PIXELS = 48, 4000


@dataclass(frozen=True)
class LookRun:
    """A run that is ready to start: its input was checked, nothing was compiled."""

    config: Config
    data: PhotoData
    task: PairedTask
    started: float

    def finish(self) -> None:
        """Trains to the end and writes everything a user keeps; a finished run is summed up."""
        config, folder = self.config, self.config.folder
        console = Console(soft_wrap=True)
        if not _finished(folder, config.steps):
            state, timing = train(
                self.task,
                build_optimizers(config),
                self.data,
                _settings(config),
                folder,
                sampler=self._sampler(),
                headline=(
                    f"run folder  {folder}",
                    f"data        {self.data.description}",
                    f"loss        {config.loss}   {self.task.loss.formula}",
                ),
            )
            self._judge(state, timing)
            write_report(folder)
        console.print(_summary(folder))
        console.print(_times(folder))
        console.print(f"model   {folder / 'model'}")
        console.print(f"report  {folder / 'report.html'}")
        console.print(f"use it  retrojax stylize PHOTO --model {folder / 'model'}")

    def _sampler(self) -> Sampler:
        """Draws a grid of the same photographs with the same seed."""
        photos = common_crop(self.data.validation[:3], largest=SAMPLE_SIDE)
        key = jax.random.key(SAMPLE_KEY)
        source = jnp.asarray(photos["source"], jnp.float32) / 255
        if self.task.look is None:
            target = photos["target"]
        else:
            target = np.rint(np.asarray(jax.jit(self.task.render)(key, source)) * 255)
        draw = jax.jit(
            lambda variables: self.task.sample(variables, {"source": source * 2 - 1}, key)["image"]
        )

        def grid(state: GanState) -> np.ndarray:
            output = np.asarray(draw(state.sampling_variables), np.float32)
            output = np.rint(np.clip(output / 2 + 0.5, 0, 1) * 255)
            rows = [
                [image.astype(np.uint8) for image in row]
                for row in zip(photos["source"], output, target, strict=True)
            ]
            return sample_grid(rows, labels=["source", "output", "target"])

        return grid

    def _judge(self, state: GanState, timing: Timing) -> None:
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
        generator = self.task.generator
        save_bundle(
            folder / "model",
            variables=variables,
            generator_name=config.generator,
            generator_options=_options(generator),
            about={
                "look": config.look if self.task.look is not None else None,
                "loss": config.loss,
                "steps": config.steps,
                "pixels_per_mm": config.pixels_per_mm,
                "figures": figures[TRAINED],
            },
        )
        step = int(state.step)
        log = folder / "metrics.jsonl"
        append_line(log, {"step": step, "event": "figures", "figures": figures})
        append_line(log, {"step": step, "event": "formula", "formula": self.task.loss.formula})
        append_line(
            log,
            {
                "step": step,
                "event": "timing",
                "compile_seconds": timing.compile,
                "train_seconds": timing.train,
                "data_wait_share": timing.data_wait,
                "total_seconds": time.perf_counter() - self.started,
                "peak_memory_gb": _peak_memory_gb(),
            },
        )


def open_look_run(config: Config) -> LookRun:
    """Checks a run's input and opens its folder; nothing is compiled.

    Raises:
        ValueError: one line that names what is wrong and the way out.
    """
    started = time.perf_counter()
    make_placement(config.batch_size)
    data = open_data(config.data, photo_size=config.photo_size, window=config.window)
    for line in data.skipped:
        print(f"experiments.run: skipped {line}", file=sys.stderr)
    task = build_task(config, paired_data=data.validation[0].target is not None)
    written = {**as_dict(config), "data_fingerprint": data.fingerprint}
    open_run(config.folder, written, may_change=MAY_CHANGE)
    return LookRun(config, data, task, started)


def _settings(config: Config) -> LoopSettings:
    """How long and how often."""
    return LoopSettings(
        steps=config.steps,
        batch_size=config.batch_size,
        window=config.window,
        seed=config.seed,
        order=config.order,
        ema_halflife_images=config.ema_halflife_images,
        save_every_steps=config.save_every_steps,
        save_every_seconds=config.save_every_seconds,
        sample_every_steps=config.sample_every_steps,
        log_every_steps=config.log_every_steps,
    )


def _options(generator: object) -> dict[str, object]:
    """A generator's fields as JSON values; Linen's own fields and the type are left out."""
    names = set(GENERATORS[_name_of(generator)].__dataclass_fields__) - {"parent", "name", "dtype"}
    return {name: getattr(generator, name) for name in sorted(names)}


def _name_of(generator: object) -> str:
    return next(name for name, kind in GENERATORS.items() if isinstance(generator, kind))


def _peak_memory_gb() -> float:
    """Largest resident size of this process so far, in GB (10^9 bytes)."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size * (1 if sys.platform == "darwin" else 1024) / 1e9


def _event(folder: Path, name: str) -> dict | None:
    events = [line for line in read_lines(folder / "metrics.jsonl") if line.get("event") == name]
    return events[-1] if events else None


def _finished(folder: Path, steps: int) -> bool:
    timing = _event(folder, "timing")
    return timing is not None and timing["step"] >= steps and (folder / "report.html").exists()


def _times(folder: Path) -> str:
    event = _event(folder, "timing")
    assert event is not None
    return (
        f"time    compiling {duration(event['compile_seconds'])}, training "
        f"{duration(event['train_seconds'])}, in all {duration(event['total_seconds'])}; "
        f"peak memory {event['peak_memory_gb']:.1f} GB"
    )


def _summary(folder: Path) -> Table:
    event = _event(folder, "figures")
    assert event is not None
    config = json.loads((folder / "config.json").read_text())
    return figures_table(
        event["figures"], title=f"{config['look']} with {config['loss']} on held-out photographs"
    )
