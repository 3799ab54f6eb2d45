"""Whether training waits for its photographs: how fast they come, and how fast they are taken.

    python benchmarks/input_pipeline.py --json=input.json
    python benchmarks/input_pipeline.py --preset=look --folder=PHOTOGRAPHS

Three questions. Does the loader bring at least twice the images that the preset's compiled step
takes? Are large photographs decoded for training at 0.85 of the speed at which Pillow alone decodes
and shrinks the same files on as many threads, round by round in turn, and what does preparing a new
folder cost with all its writing? And what share of a real run, a short one in a temporary folder,
is spent waiting for the next batch (goal: 2 %; it includes the wait for the first one, which longer
runs do not notice)?
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Final

# Started by its path, Python looks for modules in benchmarks/ and not in the checkout above it.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import numpy as np

from benchmarks.command_line import Parser, new_file, positive
from benchmarks.photo_rates import rounds
from benchmarks.photographs import write_photographs
from benchmarks.product import product, random_batches, start
from benchmarks.ratios import ratios, spread
from benchmarks.table import Report, laid_out, loads
from benchmarks.timing import time_steps
from benchmarks.worker import available_cpus
from experiments import run
from experiments.config import AnyConfig, LookConfig
from experiments.presets import PRESETS, preset
from experiments.run_parts import event
from retrojax import huge_pages
from retrojax.data import PhotoData, batches, open_data
from retrojax.data.photo_files import PhotoFile, find_photos
from retrojax.training.placement import make_placement

GOALS: Final = {"demand": 2.0, "pillow": 0.85, "wait": 0.02}
LIBRARIES: Final = ("jax", "grain", "pillow", "tensorflow-datasets", "numpy")
# Batches before those that are timed: every photograph of a small set is decoded by then.
WARMUP: Final = 20


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark and prints its table."""
    load = os.getloadavg() if hasattr(os, "getloadavg") else None
    parser = _arguments()
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        try:
            config, data, files = _subject(chosen, place)
        except ValueError as error:
            parser.error(str(error))
        report = {
            "preset": config.preset,
            "device": jax.devices()[0].device_kind,
            "cpu_count": os.cpu_count(),
            "load_average": load,
            "versions": {name: metadata.version(name) for name in LIBRARIES},
            "loader": loader(config, data, chosen.batches) | step(config, chosen.steps),
            "photographs": photographs(files, config.photo_size, chosen.rounds),
            "run": waiting(config),
        }
    print(table(report))
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(report, indent=2) + "\n")


def loader(config: AnyConfig, data: PhotoData, count: int) -> dict[str, float]:
    """Images a second that training's own stream of batches brings when nobody else works.

    Args:
        config: whose batches.
        data: what they are cut from.
        count: timed batches, at least 1.
    """
    stream = batches(
        data,
        batch_size=config.batch_size,
        window=config.window,
        seed=config.seed,
        first_step=0,
        steps=WARMUP + count,
    )
    with contextlib.closing(stream):
        for _ in range(WARMUP):
            next(stream)
        begin = time.perf_counter()
        for _ in stream:
            pass
        seconds = time.perf_counter() - begin
    return {"batches": count, "images_per_second": count * config.batch_size / seconds}


def step(config: AnyConfig, count: int) -> dict[str, float]:
    """Images a second that the compiled step takes: the batch over its median time.

    Args:
        config: whose step.
        count: timed steps, at least 1.
    """
    placement = make_placement(config.batch_size)
    subject = product(config)
    times = time_steps(
        subject.compile(placement),
        start(config, subject, placement),
        random_batches(config, placement, count=4),
        steps=count,
        warmup=3,
    )
    median = float(np.median(times.blocked))
    return {"steps": count, "step_seconds": median, "demand": config.batch_size / median}


def photographs(files: Sequence[PhotoFile], photo_size: int, count: int) -> Report:
    """Rates of preparing a folder.

    Args:
        files: the photographs.
        photo_size: longest side of a prepared one in pixels.
        count: rounds, at least 1.
    """
    threads = min(8, available_cpus())
    seconds = rounds(files, photo_size=photo_size, count=count, threads=threads)
    return {
        "files": len(files),
        "photo_size": photo_size,
        "threads": threads,
        "rounds": count,
        "seconds": seconds,
        "per_second": {name: len(files) / spread(s).median for name, s in seconds.items()},
        "ratios": {
            name: ratios(seconds["pillow"], seconds[name])._asdict()
            for name in ("decoding", "preparing")
        },
    }


def waiting(config: AnyConfig) -> Mapping[str, float]:
    """What a real run says of its time.

    Args:
        config: a run in a folder that does not exist yet.

    Raises:
        RuntimeError: if the run fails.
    """
    flags = [
        f"--preset={config.preset}",
        f"--steps={config.steps}",
        f"--run-dir={config.folder}",
    ]
    # The table alone goes to stdout.
    with contextlib.redirect_stdout(sys.stderr):
        if run.main(flags):
            raise RuntimeError(f"experiments.run {' '.join(flags)} failed")
    timing = event(config.folder, "timing")
    assert timing is not None
    return {"steps": timing["step"]} | {
        name: timing[name] for name in ("train_seconds", "data_wait_share")
    }


def table(report: Report) -> str:
    """Lays a report out as lines of `what   figure`."""
    fed, photos, ran = report["loader"], report["photographs"], report["run"]
    supply = fed["images_per_second"] / fed["demand"]
    rows = [
        ("preset", report["preset"]),
        ("device", f"{report['device']}, {report['cpu_count']} CPUs"),
        ("versions", ", ".join(f"{name} {v}" for name, v in report["versions"].items())),
    ]
    if report["load_average"] is not None:
        rows.append(("load average before", f"{loads(report['load_average'])} (1, 5, 15 min)"))
    rows += [
        ("loader", f"{fed['images_per_second']:.1f} images/s ({fed['batches']} batches)"),
        (
            "step",
            f"{fed['demand']:.1f} images/s (median {fed['step_seconds'] * 1e3:.2f} ms of "
            f"{fed['steps']} steps)",
        ),
        ("loader / step", f"{supply:.2f}; goal at least {GOALS['demand']:g}"),
    ]
    what = f"{photos['files']} files to {photos['photo_size']} pixels, {photos['threads']} threads"
    rows += [
        (name, f"{photos['per_second'][key]:.2f} photographs/s ({what})")
        for key, name in (
            ("pillow", "Pillow alone"),
            ("decoding", "decoding"),
            ("preparing", "preparing, with writing"),
        )
    ]
    for name, found in photos["ratios"].items():
        # Pillow alone writes nothing, so that the goal is the decoder's.
        goal = f"; goal at least {GOALS['pillow']:g}" if name == "decoding" else ""
        rows.append(
            (
                f"{name} / Pillow",
                f"median {found['median']:.3f}, {found['least']:.3f} to {found['most']:.3f}, "
                f"95 % bootstrap {found['low']:.3f} to {found['high']:.3f} ({photos['rounds']} "
                f"rounds in turn{goal})",
            )
        )
    rows.append(
        (
            "waiting for data",
            f"{ran['data_wait_share']:.2%} of {ran['train_seconds']:.1f} s ({ran['steps']} steps "
            f"of experiments.run); goal at most {GOALS['wait']:.0%}",
        )
    )
    return laid_out(rows)


def _arguments() -> Parser:
    parser = Parser(
        prog="input_pipeline",
        description="Whether training waits for its photographs.",
        allow_abbrev=False,
    )
    looks = [name for name in PRESETS if isinstance(preset(name), LookConfig)]
    add = parser.add_argument
    add("--preset", choices=looks, default="look", help="settings of the run (default: look)")
    add("--batches", type=positive, default=300, help="timed batches (default: 300)")
    add("--steps", type=positive, default=30, help="timed steps of the compiled step (default: 30)")
    add("--run-steps", type=positive, default=100, help="steps of the real run (default: 100)")
    add("--rounds", type=positive, default=7, help="of preparing, in turn (default: 7)")
    add("--folder", type=Path, help="photographs to prepare (default: made from the bundled ones)")
    add("--photographs", type=positive, help="how many are made (default: 24)")
    add("--width", type=positive, help="of those made, in pixels (default: 4000)")
    add("--height", type=positive, help="of those made, in pixels (default: 3000)")
    add("--json", type=new_file, metavar="FILE", help="write the figures there too")
    return parser


def _subject(
    chosen: argparse.Namespace, place: Path
) -> tuple[AnyConfig, PhotoData, list[PhotoFile]]:
    """The run's settings, its data, and the photographs to prepare.

    Raises:
        ValueError: for options that exclude each other, settings that cannot be, or a folder
            without photographs.
    """
    made = {name: getattr(chosen, name) for name in ("photographs", "width", "height")}
    for name, value in made.items():
        if chosen.folder is not None and value is not None:
            raise ValueError(f"--{name} does not go with --folder, whose photographs are taken")
    config = replace(preset(chosen.preset), steps=chosen.run_steps, run_dir=str(place / "run"))
    make_placement(config.batch_size)
    if chosen.folder is not None:
        files = find_photos(chosen.folder)
    else:
        size = (made["width"] or 4000, made["height"] or 3000)
        (place / "photographs").mkdir()
        write_photographs(place / "photographs", count=made["photographs"] or 24, size=size)
        files = find_photos(place / "photographs")
    data = open_data(config.data, photo_size=config.photo_size, window=config.window)
    return config, data, files


if __name__ == "__main__":
    huge_pages.start_again_with_them()
    huge_pages.keep_what_is_large()
    main()
