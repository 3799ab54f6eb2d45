"""What a run says while it trains: a progress bar, `metrics.jsonl`, and TensorBoard files.

The lines of `metrics.jsonl` are described in `log_file`. The bar is drawn on a terminal; elsewhere
a plain line is printed now and then. TensorBoard files are written when tensorboardX is installed;
it is loaded in a thread, since it loads PyTorch where that is installed.
"""

import math
import os
import platform
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import UInt8
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from retrojax import __version__
from retrojax.training.log_file import METRICS_FILE, as_text, drop_lost_lines

# Seconds between plain lines where there is no terminal to draw a bar on.
PLAIN_INTERVAL = 10.0

# Columns of the terminal taken by the bar, the rate, two times and the spaces between.
BAR_WIDTH = 8
FIXED_WIDTH = BAR_WIDTH + 10 + 7 + 7 + 5

REPORTED_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")


class RunLog:
    """The log of one run; a context manager.

    On entering, lines of `metrics.jsonl` later than `first_step` are dropped: they tell of work
    that was lost when the run was stopped and is about to be done again.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        total_steps: int,
        first_step: int,
        images_per_step: int,
        quiet: bool = False,
    ) -> None:
        """Describe the run; nothing is opened before the context is entered.

        Args:
            run_dir: The run's folder; made if missing.
            total_steps: Updates the finished run will have.
            first_step: Updates done when this sitting begins; 0 starts the log afresh.
            images_per_step: Images in a global batch, for the rate.
            quiet: Print nothing; the files are written all the same.

        Raises:
            ValueError: If the steps are negative, or begin after the end.
        """
        if not 0 <= first_step <= total_steps:
            raise ValueError(
                f"first_step must lie between 0 and total_steps, got {first_step} of "
                f"{total_steps}; ask for at least as many steps as the run already has"
            )
        self._path = Path(run_dir) / METRICS_FILE
        self._total_steps = total_steps
        self._first_step = first_step
        self._images_per_step = images_per_step
        self._quiet = quiet
        self._console = Console(quiet=quiet, highlight=False, markup=False, soft_wrap=True)

    def __enter__(self) -> "RunLog":
        """Open the files and draw the bar."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        kept = drop_lost_lines(self._path, self._first_step)
        self._file = self._path.open("a", encoding="utf-8")
        self._writer: Future[Any] | None = None
        # Seconds go on from the last sitting, so that curves over time do not fold back.
        self._started = time.monotonic() - max(
            (line.get("seconds", 0.0) for line in kept), default=0
        )
        self._last_time, self._last_step = time.monotonic(), self._first_step
        self._last_print = -math.inf
        self._progress = self._bar() if self._console.is_terminal and not self._quiet else None
        if self._progress:
            self._task = self._progress.add_task(
                "", total=self._total_steps, completed=self._first_step, losses="", rate=""
            )
            self._progress.start()
        if self._first_step < self._total_steps:
            self.event(self._first_step, "environment", **environment())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close everything; an exception passes through."""
        if self._progress:
            self._progress.stop()
        self._file.close()
        if self._writer and (writer := self._writer.result()):
            writer.close()

    def open_tensorboard(self) -> None:
        """Begin to load the writer of TensorBoard files; if not called, the first line does it."""
        if self._writer is None:
            loading = ThreadPoolExecutor(1, thread_name_prefix="tensorboard")
            folder = self._path.parent / "tensorboard"
            self._writer = loading.submit(_tensorboard_writer, folder, self._first_step)
            loading.shutdown(wait=False)

    def metrics(self, step: int, values: Mapping[str, Any]) -> None:
        """Append one line of metrics and show them.

        Args:
            step: Completed updates.
            values: Scalars by name; arrays without axes are read, which waits for the device.
                "images_per_second" is measured since the last line unless given.
        """
        numbers = {name: float(value) for name, value in values.items()}
        now = time.monotonic()
        images = (step - self._last_step) * self._images_per_step
        rate = numbers.pop("images_per_second", images / max(now - self._last_time, 1e-9))
        self._last_time, self._last_step = now, step
        numbers = {"images_per_second": rate, **numbers}
        self._write(step, {name: float(f"{value:.6g}") for name, value in numbers.items()})
        writer = self._tensorboard()
        if writer:
            for name, value in numbers.items():
                # tensorboardX prints a warning of its own for each value that is not finite.
                if math.isfinite(value):
                    writer.add_scalar(name, value, step)
        self._show(step, numbers, now)

    def event(self, step: int, name: str, **payload: Any) -> None:
        """Append one line that tells of something other than a step's metrics.

        Args:
            step: Completed updates.
            name: What happened, such as "figures", "timing" or "formula".
            **payload: Anything JSON can say, and numpy or JAX arrays and scalars.
        """
        self._write(step, {"event": name, **payload})

    def image(self, step: int, name: str, image: UInt8[np.ndarray, "h w 3"]) -> None:
        """Hand a picture to TensorBoard, if it is installed; nothing is printed."""
        writer = self._tensorboard()
        if writer:
            writer.add_image(name, image, step, dataformats="HWC")

    def advance(self, step: int) -> None:
        """Move the bar without a line of metrics; cheap enough for every step."""
        if self._progress:
            self._progress.update(self._task, completed=step)

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        (self._progress.console if self._progress else self._console).print(text)

    def _tensorboard(self) -> Any:
        self.open_tensorboard()
        assert self._writer is not None
        return self._writer.result()

    def _write(self, step: int, payload: Mapping[str, Any]) -> None:
        seconds = round(time.monotonic() - self._started, 3)
        self._file.write(as_text({"step": step, "seconds": seconds, **payload}))
        self._file.flush()

    def _bar(self) -> Progress:
        return Progress(
            TextColumn("{task.completed:,.0f}/{task.total:,.0f}", markup=False),
            BarColumn(bar_width=BAR_WIDTH),
            TextColumn("{task.fields[losses]}", markup=False),
            TextColumn("{task.fields[rate]}", style="cyan", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
        )

    def _show(self, step: int, numbers: Mapping[str, float], now: float) -> None:
        rate = f"{numbers['images_per_second']:,.3g} img/s"
        if self._progress:
            counts = 2 * len(f"{self._total_steps:,}") + 1
            losses = short_losses(numbers, self._console.width - FIXED_WIDTH - counts)
            self._progress.update(self._task, completed=step, losses=losses, rate=rate)
        elif now - self._last_print >= PLAIN_INTERVAL or step == self._total_steps:
            self._last_print = now
            elapsed = _clock(now - self._started)
            losses = short_losses(numbers, 100)
            self.note(f"step {step:,}/{self._total_steps:,}  {losses}  {rate}  {elapsed}")


class SilentLog(RunLog):
    """The log of a process that is not the first of its run: it writes and says nothing."""

    def __enter__(self) -> "SilentLog":
        """Opens nothing."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes nothing; an exception passes through."""

    def open_tensorboard(self) -> None:
        """Nothing."""

    def metrics(self, step: int, values: Mapping[str, Any]) -> None:
        """Nothing."""

    def event(self, step: int, name: str, **payload: Any) -> None:
        """Nothing."""

    def image(self, step: int, name: str, image: UInt8[np.ndarray, "h w 3"]) -> None:
        """Nothing."""

    def advance(self, step: int) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


def environment() -> dict[str, str]:
    """What the run runs on: versions, system and devices, without names of people or hosts."""
    import jax

    versions = {}
    for package in REPORTED_PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    devices = jax.devices()
    return {
        "retrojax": __version__,
        "python": platform.python_version(),
        **versions,
        "system": f"{platform.system()} {platform.machine()}",
        "cores": str(os.cpu_count()),
        "devices": f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform})",
        "processes": str(jax.process_count()),
    }


def short_losses(numbers: Mapping[str, float], width: int) -> str:
    """As many losses as fit, with names cut to five letters: "g.adver 0.512  d.real 0.498"."""
    text = ""
    for name, value in numbers.items():
        player, _, loss = name.partition("/")
        if loss:
            column = f"{player}.{loss[:5]} {value:.3g}"
            if len(text) + len(column) + 2 > width:
                break
            text += ("  " if text else "") + column
    return text


def _tensorboard_writer(folder: Path, first_step: int) -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        return None
    # purge_step tells TensorBoard to forget what an earlier sitting wrote from there on.
    return SummaryWriter(logdir=str(folder), purge_step=first_step + 1 if first_step else None)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
