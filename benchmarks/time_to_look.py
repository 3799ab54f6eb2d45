"""Minutes to a look: the product's main run, and PyTorch from its start to a trained generator.

    python benchmarks/time_to_look.py
    python benchmarks/time_to_look.py --against=look --against=pairs --against=pix2pix

The product's side is the command of README.md, `python -m experiments.run --loss=lsgan`, in an
empty folder: it decodes photographs, renders the look inside the step, compiles, and writes
samples and checkpoints while it trains. `--against=look` trains the same generator and critic with
the same losses, batch and number of steps in PyTorch, eager, on the same photographs: windows come
from the product's loader, and PyTorch varies their colours and renders the look. `--against=pairs`
spares it even that, with pairs that were cut and rendered beforehand. Neither writes anything: all
that is left out favours PyTorch. `--against=pix2pix` trains pix2pix's networks instead (U-Net of 8
levels, 70x70 PatchGAN, 256x256 pixels, one image a step) on as many images, random ones: content
does not change the time.

Both clocks run from the start of a process to the last step; the product's also to its end, when
its figures are printed and its report is written. Needs the extra `bench`.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# Started by its path, Python looks for modules in benchmarks/ and not in the checkout above it.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import numpy as np

from benchmarks.command_line import Parser, new_file, positive
from benchmarks.games import game
from benchmarks.handover import Arrays, Handover, save
from benchmarks.prepared import build, random_batches, settings
from benchmarks.table import Report, laid_out, loads
from benchmarks.worker import ROOT, Worker, available_cpus
from experiments.config import LookConfig
from experiments.presets import preset
from retrojax.data import batches, open_data

AGAINST = ("look", "pairs", "pix2pix")
BATCHES = 100
"""Prepared for PyTorch, which takes them again and again."""
PAIR = ("source", "target")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs both and prints the table."""
    parser = Parser(prog="time_to_look", description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--against", action="append", choices=AGAINST, help="what PyTorch trains (default: look)")
    add("--preset", choices=("look", "tiny"), default="look", help="of the run (default: look)")
    add("--steps", type=positive, help="of the run (default: the preset's)")
    add("--json", type=new_file, metavar="FILE", help="write the figures there too")
    chosen = parser.parse_args(arguments)
    if find_spec("torch") is None:
        parser.error("PyTorch is missing: pip install '.[bench]'")
    config = preset(chosen.preset)
    assert isinstance(config, LookConfig)
    steps = chosen.steps or config.steps
    load = os.getloadavg() if hasattr(os, "getloadavg") else None
    report: Report = {
        "preset": config.preset,
        "steps": steps,
        "batch_size": config.batch_size,
        "load_average": load,
        "product": run_product(config.preset, steps),
        "torch": {name: run_torch(config, steps, name) for name in chosen.against or ["look"]},
    }
    for found in report["torch"].values():
        found["ratio"] = report["product"]["trained"] / found["trained"]
        found["whole_ratio"] = report["product"]["whole"] / found["trained"]
    print(laid_out(list(lines(report))))
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(report, indent=2) + "\n")


def run_product(name: str, steps: int) -> dict[str, Any]:
    """Runs the command in an empty folder.

    Returns:
        Seconds until the last step ("trained") and until the end ("whole"), and of the run's own
        clocks "compile" and "train".

    Raises:
        RuntimeError: if it fails.
    """
    command = ["experiments.run", f"--preset={name}", "--loss=lsgan", f"--steps={steps}"]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    trained = None
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if trained is None and line.startswith(last_line(steps)):
                    trained = time.perf_counter() - begin
        whole = time.perf_counter() - begin
        if process.returncode or trained is None:
            raise RuntimeError(f"{' '.join(command)} ended with exit code {process.returncode}")
        logs = list(Path(folder).glob("runs/*/metrics.jsonl"))
        events = [json.loads(line) for line in logs[0].read_text().splitlines()]
    timing = next(event for event in events if event.get("event") == "timing")
    own = {name: timing[f"{name}_seconds"] for name in ("compile", "train")}
    return {"trained": trained, "whole": whole, **own}


def last_line(steps: int) -> str:
    """How the line begins that a run prints when its last step's metrics were read."""
    return f"step {steps:,}/{steps:,} "


def run_torch(config: LookConfig, steps: int, against: str) -> dict[str, Any]:
    """Trains in PyTorch, in a process of its own.

    Returns:
        Seconds until the last step ("trained"), the number of "steps", and what ran where.
    """
    options: dict[str, Any] = {"model": "look", "batch_size": config.batch_size}
    options["size"] = config.crop
    if against == "pix2pix":
        options = {"model": "pix2pix", "batch_size": 1, "size": 256}
        steps *= config.batch_size
    played = game(**options)
    task = build(played)
    given = random_batches(played, count=8) if against != "pairs" else look_batches(config)
    generator, critic = jax.jit(task.init)(jax.random.key(config.seed), given[0])
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "handover.npz")
        start = Handover(settings(task), generator, critic, given, [{}] * len(given))
        save(Path(file), start)
        begin = time.perf_counter()
        with Worker("torch", threads=available_cpus(), **options) as worker:
            worker.call("load", file=file)
            if against == "look":
                worker.call("train_look", preset_name=config.preset, steps=steps)
            else:
                worker.call("train", steps=steps)
            trained = time.perf_counter() - begin
            facts = worker.call("facts")
    return {"trained": trained, "steps": steps, "title": played.title, **facts}


def look_batches(config: LookConfig) -> list[Arrays]:
    """The first batches of the product's run, as its task prepares them."""
    task = build(game("look", batch_size=config.batch_size, size=config.crop))
    data = open_data(config.data, photo_size=config.photo_size, window=config.window)
    raw = batches(
        data,
        batch_size=config.batch_size,
        window=config.window,
        seed=config.seed,
        first_step=0,
        steps=min(BATCHES, config.steps),
    )
    prepare = jax.jit(task.prepare)
    keys = jax.random.split(jax.random.key(config.seed), BATCHES)
    return [
        {name: np.asarray(x) for name, x in prepare(batch, key).items() if name in PAIR}
        for batch, key in zip(raw, keys, strict=False)
    ]


def lines(report: Report) -> Iterator[tuple[str, str]]:
    """The report as `what   figure`."""
    product, first = report["product"], next(iter(report["torch"].values()))
    yield "run", f"preset {report['preset']}, loss lsgan, {report['steps']} steps"
    yield "device", first["device"]
    if report["load_average"] is not None:
        yield "load average before", f"{loads(report['load_average'])} ({os.cpu_count()} CPUs)"
    yield (
        "product, to the last step",
        f"{product['trained']:.1f} s (compiling {product['compile']:.1f}, training "
        f"{product['train']:.1f})",
    )
    yield "product, whole command", f"{product['whole']:.1f} s with figures, pictures and report"
    for name, torch in report["torch"].items():
        yield f"PyTorch, {name}", f"{torch['title']}, {torch['versions']['torch']} eager"
        yield "  to the last step", f"{torch['trained']:.1f} s ({torch['steps']} steps)"
        yield "  product / PyTorch", f"{torch['ratio']:.3f} (to the last step; one run of each)"
        yield "  whole / PyTorch", f"{torch['whole_ratio']:.3f} (to its figures and report)"


if __name__ == "__main__":
    main()
