"""How the joint step scales over the devices of this machine, strongly and weakly.

    python benchmarks/scaling.py --preset=look --devices=8 --parallel=pmap --json=scaling.json

The step, its placement and its compilation are the product's own; photographs are random and lie
on the devices beforehand. Strong: the preset's batch on 1, 2, 4 ... devices, as far as they divide
it; efficiency is t(1) / (n t(n)). Weak: n shares of the largest machine's; efficiency is
t(1) / t(n). On virtual CPU devices, which share the same cores, efficiency says nothing but that
the program runs.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

# Started by its path, Python looks for modules in benchmarks/ and not in the checkout above it.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax

from benchmarks.command_line import Parser, new_file, positive
from benchmarks.compiled import compiled_facts
from benchmarks.product import product, random_batches, start
from benchmarks.timing import time_steps
from experiments.config import AnyConfig
from experiments.presets import PRESETS, preset
from retrojax import huge_pages
from retrojax.training.placement import make_placement

CONTENTS, WARMUP = 2, 3


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark and prints its table."""
    parser = _arguments()
    chosen = parser.parse_args(arguments)
    most = _devices(parser, chosen.devices)
    config = replace(
        preset(chosen.preset),
        parallel=chosen.parallel,
        **({} if chosen.batch_size is None else {"batch_size": chosen.batch_size}),
    )
    try:
        make_placement(config.batch_size, jax.local_devices()[:most])
    except ValueError as error:
        parser.error(str(error))
    counts = _counts(most, config.batch_size)
    share = config.batch_size // most
    strong = [_measured(config, count, chosen.steps) for count in counts]
    weak = [
        last
        if (last := strong[-1])["devices"] == count
        else _measured(replace(config, batch_size=share * count), count, chosen.steps)
        for count in counts
    ]
    device = jax.local_devices()[0]
    print(f"preset {config.preset}, --parallel={config.parallel}, {device.device_kind}")
    print(table(strong, weak))
    if chosen.json is not None:
        report = {"preset": config.preset, "parallel": config.parallel, "strong": strong}
        chosen.json.write_text(json.dumps(report | {"weak": weak}, indent=2) + "\n")


def table(strong: list[dict[str, Any]], weak: list[dict[str, Any]]) -> str:
    """Both series, side by side, with their efficiencies.

    Args:
        strong: {"devices", "batch_size", "seconds", ...} by number of devices, from 1.
        weak: the same, with a batch that grows with the devices.
    """
    lines = [
        "         strong                                    weak",
        "devices  batch   ms/step  images/s  efficiency     batch   ms/step  images/s  efficiency",
    ]
    for fixed, grown in zip(strong, weak, strict=True):
        count = fixed["devices"]
        shares = (
            strong[0]["seconds"] / (count * fixed["seconds"]),
            weak[0]["seconds"] / grown["seconds"],
        )
        cells = [
            f"{row['batch_size']:>5}  {1e3 * row['seconds']:>8.1f}  "
            f"{row['batch_size'] / row['seconds']:>8.1f}  {share:>10.1%}"
            for row, share in zip((fixed, grown), shares, strict=True)
        ]
        lines.append(f"{count:>7}  {cells[0]}     {cells[1]}")
    return "\n".join(lines)


def _measured(config: AnyConfig, count: int, steps: int) -> dict[str, Any]:
    """Seconds of a pipelined step on `count` devices, and what its program communicates."""
    placement = make_placement(
        config.batch_size, jax.local_devices()[:count], parallel=config.parallel
    )
    subject = product(config)
    compiled = subject.compile(placement)
    state = start(config, subject, placement)
    batches = random_batches(config, placement, count=CONTENTS)
    times = time_steps(compiled, state, batches, steps=steps, warmup=WARMUP)
    return {
        "devices": count,
        "batch_size": config.batch_size,
        "seconds": times.pipelined,
        "all_reduce_bytes": compiled_facts(compiled).all_reduce_bytes,
        "gradient_bytes": subject.gradient_bytes,
    }


def _counts(most: int, batch_size: int) -> list[int]:
    """1, 2, 4 ... and the number itself: those that divide the batch."""
    doubling = sorted({*(2**i for i in range(most.bit_length())), most})
    return [count for count in doubling if batch_size % count == 0]


def _devices(parser: Parser, count: int | None) -> int:
    if count is not None and os.environ.get("JAX_PLATFORMS") == "cpu":
        jax.config.update("jax_num_cpu_devices", count)
    there = len(jax.local_devices())
    if count is not None and count > there:
        kind = jax.local_devices()[0].device_kind
        parser.error(
            f"--devices={count}, but there are {there}: {kind}; for virtual ones set "
            "JAX_PLATFORMS=cpu"
        )
    return count or there


def _arguments() -> Parser:
    parser = Parser(
        prog="scaling",
        description="Strong and weak scaling of the joint step over the devices of this machine.",
        allow_abbrev=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--preset", choices=tuple(PRESETS), default="look", help="whose step")
    add("--batch-size", type=positive, help="images per step over all devices; the preset's")
    add("--devices", type=positive, help="the most devices; all there are")
    add("--parallel", choices=("jit", "pmap"), default="jit", help="how devices share a step")
    add("--steps", type=positive, default=20, help="timed steps of each series")
    add("--json", type=new_file, help="file for the figures")
    return parser


if __name__ == "__main__":
    huge_pages.start_again_with_them()
    huge_pages.keep_what_is_large()
    main()
