"""What every run shares: its folder, its training, what it leaves in its log, what it prints."""

import json
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from jax import local_devices
from rich.console import Console
from rich.table import Table

from experiments.build import AnyTask, build_average, build_optimizers
from experiments.config import MAY_CHANGE, AnyConfig, as_dict
from experiments.memory import peak_memory
from retrojax.data import PhotoData
from retrojax.training.log_file import append_line, read_lines
from retrojax.training.loop import LoopSettings, Timing, train
from retrojax.training.processes import is_first
from retrojax.training.report import write_report
from retrojax.training.report_sections import duration
from retrojax.training.run_folder import open_run
from retrojax.training.sampling import Sampler
from retrojax.training.state import GanState

ConfigT = TypeVar("ConfigT", bound=AnyConfig)
TaskT = TypeVar("TaskT", bound=AnyTask)


@dataclass(frozen=True)
class Run(ABC, Generic[ConfigT, TaskT]):
    """A run that is ready to start: its input was checked, nothing was compiled.

    Attributes:
        config: its configuration.
        data: what it learns from.
        task: what it learns.
        started: `time.perf_counter()` at the start of the command.
    """

    config: ConfigT
    data: PhotoData
    task: TaskT
    started: float

    def finish(self) -> None:
        """Trains to the end and writes everything a user keeps; a finished run is summed up."""
        config, folder = self.config, self.config.folder
        if not _finished(folder, config.steps):
            state, timing = _trained(config, self.task, self.data, self.sampler)
            if is_first():
                figures = self.judge(state)
                _record(
                    folder,
                    step=int(state.step),
                    figures=figures,
                    formula=self.task.loss.formula,
                    timing=timing,
                    started=self.started,
                )
                write_report(folder)
        if is_first():
            said = event(folder, "figures")
            assert said is not None
            written = json.loads((folder / "config.json").read_text())
            _show(folder, self.table(said["figures"], written), use=self.use())

    @abstractmethod
    def sampler(self) -> Sampler:
        """Draws the sample pictures, always of the same input."""

    @abstractmethod
    def judge(self, state: GanState) -> dict[str, dict[str, float]]:
        """Writes pictures and models to the run's folder.

        Returns:
            Figures by system, the run's own last.
        """

    @abstractmethod
    def table(self, figures: dict[str, dict[str, float]], config: dict[str, Any]) -> Table:
        """The figures as people read them; `config` as the folder has it."""

    @abstractmethod
    def use(self) -> str:
        """A command that uses the model."""


def claim_folder(config: AnyConfig, data: PhotoData) -> None:
    """Creates the run's folder or recognises it as this run's, and names files that are left out.

    Raises:
        ValueError: if the folder holds another run.
    """
    for line in data.skipped:
        print(f"experiments.run: skipped {line}", file=sys.stderr)
    written = {**as_dict(config), "data_fingerprint": data.fingerprint}
    open_run(config.folder, written, may_change=MAY_CHANGE, write=is_first())


def _trained(
    config: AnyConfig, task: AnyTask, data: PhotoData, make_sampler: Callable[[], Sampler]
) -> tuple[GanState, Timing]:
    """Trains to the end in the run's folder; returns the final state and where the time went."""
    settings = LoopSettings(
        steps=config.steps,
        batch_size=config.batch_size,
        window=config.window,
        seed=config.seed,
        order=config.order,
        ema_halflife_images=build_average(config),
        discriminator_steps=config.discriminator_steps,
        fresh_generator_batch=config.fresh_generator_batch,
        zoom=getattr(config, "zoom", 1.0),
        parallel=config.parallel,
        accumulate=config.accumulate,
        save_every_steps=config.save_every_steps,
        save_every_seconds=config.save_every_seconds,
        sample_every_steps=config.sample_every_steps,
        log_every_steps=config.log_every_steps,
        profile=config.profile,
    )
    headline = (
        f"run folder  {config.folder}",
        f"data        {data.description}",
        f"loss        {config.loss}   {task.loss.formula}",
    )
    optimizers = build_optimizers(config)
    return train(
        task,
        optimizers,
        data,
        settings,
        config.folder,
        make_sampler=make_sampler,
        headline=headline,
    )


def _finished(folder: Path, steps: int) -> bool:
    """Whether the run was trained to `steps` and judged."""
    timing = event(folder, "timing")
    return timing is not None and timing["step"] >= steps and (folder / "report.html").exists()


def _record(
    folder: Path,
    *,
    step: int,
    figures: dict[str, dict[str, float]],
    formula: str,
    timing: Timing,
    started: float,
) -> None:
    """Appends a run's last events to its log.

    Args:
        folder: the run's folder.
        step: completed updates.
        figures: figures by system, the run's own last.
        formula: of the adversarial loss.
        timing: of the training.
        started: `time.perf_counter()` at the start of the command.
    """
    log = folder / "metrics.jsonl"
    append_line(log, {"step": step, "event": "figures", "figures": figures})
    append_line(log, {"step": step, "event": "formula", "formula": formula})
    times = {
        "compile_seconds": timing.compile,
        "trace_seconds": timing.trace,
        "train_seconds": timing.train,
        "step_seconds": timing.step,
        "data_wait_share": timing.data_wait,
        "stall_seconds": {
            kind: {name: round(seconds, 6) for name, seconds in held.items()}
            for kind, held in timing.stalls.items()
        },
        "total_seconds": time.perf_counter() - started,
        "peak_memory_gb": peak_memory() / 1e9,
    }
    on_devices = _peak_device_memory_gb()
    if on_devices is not None:
        times["peak_device_memory_gb"] = on_devices
    append_line(log, {"step": step, "event": "timing", **times})


def _show(folder: Path, table: Table, *, use: str) -> None:
    """Prints a finished run's figures, times and files.

    Args:
        folder: the run's folder.
        table: its figures.
        use: a command that uses the model.
    """
    console = Console(soft_wrap=True)
    timing = event(folder, "timing")
    assert timing is not None
    console.print(table)
    on_devices = timing.get("peak_device_memory_gb")
    console.print(
        f"time    compiling {duration(timing['compile_seconds'])}, training "
        f"{duration(timing['train_seconds'])}, in all {duration(timing['total_seconds'])}; "
        f"waiting for data {timing['data_wait_share']:.1%}; "
        f"peak memory {timing['peak_memory_gb']:.1f} GB"
        + ("" if on_devices is None else f", on a device {on_devices:.1f} GB")
    )
    stalls = _long_stalls(timing)
    if stalls:
        console.print(f"stalls  {stalls}")
    console.print(f"model   {folder / 'model'}")
    console.print(f"report  {folder / 'report.html'}")
    console.print(f"use it  {use}")


def event(folder: Path, name: str) -> dict[str, Any] | None:
    """The last event of that name in a run's log."""
    events = [line for line in read_lines(folder / "metrics.jsonl") if line.get("event") == name]
    return events[-1] if events else None


def _long_stalls(timing: dict[str, Any]) -> str:
    """Which kinds of event held a step for longer than a step takes, and how long; may be none."""
    step = timing.get("step_seconds", 0.0)
    largest = {kind: held["largest"] for kind, held in timing.get("stall_seconds", {}).items()}
    long = [f"{kind} {held:.2g} s" for kind, held in largest.items() if held > step]
    return f"up to {', '.join(long)}; a step takes {step:.2g} s" if long else ""


def _peak_device_memory_gb() -> float | None:
    """Most memory in use at once on any device of this process, in GB; None on a CPU."""
    peaks = [(device.memory_stats() or {}).get("peak_bytes_in_use") for device in local_devices()]
    known = [peak for peak in peaks if peak is not None]
    return max(known) / 1e9 if known else None
