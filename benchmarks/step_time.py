"""How long one joint step takes, and what its compiled program says about itself.

    python benchmarks/step_time.py --preset=look --json=step.json
    python benchmarks/step_time.py --compile-only --topology=v5e:2x2
    python benchmarks/step_time.py --against=torch --model=dcgan64

The step, its placement and its compilation are the product's own; photographs are random and lie
on the devices beforehand. It needs jax, flax, optax, numpy and jaxtyping, and runs unchanged on
CPU, GPU and TPU. `--compile-only` needs the extra `tpu`, but no TPU.

`--against` plays one game in several systems, each in its own process with as many threads: first
a few steps of each from the same weights, batches and noise, whose losses must agree; then rounds
of steps in turn. `--against=torch` (also `torch-compile`, `torch-max-autotune`) needs the extra
`bench`, `--against=flax` (stock layers, a jitted step for each player) and `--against=product` (the
product beside itself, whose ratio shows what the machine's noise is) need nothing more.
"""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# Started by its path, Python looks for modules in benchmarks/ and not in the checkout above it.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
from jax.experimental import topologies

from benchmarks.command_line import Parser, new_file, not_negative, positive
from benchmarks.comparison import DisagreementError, compare
from benchmarks.comparison_table import comparison_table
from benchmarks.games import GAMES, game
from benchmarks.report import compiled_report, measured_report
from benchmarks.table import Report, table
from benchmarks.worker import available_cpus
from experiments.config import AnyConfig
from experiments.presets import PRESETS, preset
from retrojax import huge_pages
from retrojax.training.placement import Placement, make_placement

AGAINST = ("torch", "torch-compile", "torch-max-autotune", "flax", "product")
COMPARISON = ("model", "size", "features", "blocks", "rounds", "round_seconds", "threads")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark and prints its table."""
    load = os.getloadavg() if hasattr(os, "getloadavg") else None
    parser = _arguments()
    chosen = parser.parse_args(arguments)
    if chosen.against:
        _compare(parser, chosen)
        return
    precision = chosen.matmul_precision
    with jax.default_matmul_precision(precision) if precision else contextlib.nullcontext():
        try:
            config = _config(chosen)
            if chosen.compile_only:
                placement = _topology(config, chosen.topology)
            else:
                placement = _placement(config, _devices(chosen.devices))
        except ValueError as error:
            parser.error(str(error))
        if chosen.compile_only:
            report = compiled_report(config, placement) | {"topology": chosen.topology}
        else:
            report = measured_report(config, placement, steps=chosen.steps, warmup=chosen.warmup)
    report |= {"matmul_precision": precision or "default", "load_average": load}
    print(table(report))
    _write(chosen.json, report)


def _compare(parser: Parser, chosen: argparse.Namespace) -> None:
    """Runs a comparison and prints its table; losses that differ end it with exit code 1."""
    try:
        played = _game(chosen)
    except ValueError as error:
        parser.error(str(error))
    try:
        report = compare(
            played,
            chosen.against,
            rounds=chosen.rounds or 7,
            steps=chosen.steps,
            warmup=chosen.warmup,
            round_seconds=chosen.round_seconds or 20,
            threads=chosen.threads or available_cpus(),
        )
    except (DisagreementError, RuntimeError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    print(comparison_table(report))
    _write(chosen.json, report)


def _write(file: Path | None, report: Report) -> None:
    if file is not None:
        file.write_text(json.dumps(report, indent=2) + "\n")


def _arguments() -> Parser:
    parser = Parser(
        prog="step_time",
        description="Times the joint step, or compiles it for a TPU.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--preset", choices=tuple(PRESETS), help="settings of the run (default: look)")
    add("--batch-size", type=int, help="images per step over all devices")
    add("--dtype", choices=("float32", "bfloat16"), help="computation type of the networks")
    add("--accumulate", type=positive, metavar="K", help="micro-batches of an update (default: 1)")
    add("--remat", action="store_true", help="compute activations again for gradients")
    add("--devices", type=positive, help="how many; virtual ones on a CPU (default: all)")
    add("--steps", type=positive, default=50, help="timed steps, twice (default: 50)")
    add("--warmup", type=not_negative, default=10, help="untimed steps before (default: 10)")
    add(
        "--matmul-precision",
        choices=("default", "high", "highest"),
        help="of float32 products and convolutions (default: the backend's own)",
    )
    add("--json", type=new_file, metavar="FILE", help="write the figures there too")
    add("--compile-only", action="store_true", help="compile for a TPU; runs nothing")
    add("--topology", metavar="NAME", help="the TPU slice of --compile-only (default: v5e:2x2)")
    compared = parser.add_argument_group("beside another system")
    add = compared.add_argument
    add("--against", action="append", choices=AGAINST, help="which; may be given several times")
    add("--model", choices=tuple(GAMES), help="the game that is played (default: document)")
    add("--size", type=positive, help="side of the images in pixels")
    add("--features", type=positive, help="width of both networks (not of the document's)")
    add("--blocks", type=positive, help="residual blocks of cyclegan (default: 9)")
    add("--rounds", type=positive, help="of each system, in turn (default: 7)")
    add(
        "--round-seconds",
        type=positive,
        help="a round has --steps steps, or as many as take the slowest so long (default: 20)",
    )
    add("--threads", type=positive, help="CPUs of each system (default: all)")
    return parser


def _config(chosen: argparse.Namespace) -> AnyConfig:
    """The preset with the changes asked for.

    Raises:
        ValueError: for a setting that cannot be, or options that exclude each other.
    """
    for name in COMPARISON:
        if getattr(chosen, name) is not None:
            raise ValueError(f"--{name.replace('_', '-')} goes with --against")
    if chosen.topology and not chosen.compile_only:
        raise ValueError("--topology goes with --compile-only")
    if chosen.compile_only and chosen.devices:
        raise ValueError("--devices does not go with --compile-only; --topology says how many")
    chosen.topology = chosen.topology or "v5e:2x2"
    names = ("batch_size", "dtype", "remat", "accumulate")
    changes = {name: getattr(chosen, name) for name in names}
    return replace(
        preset(chosen.preset or "look"), **{name: v for name, v in changes.items() if v is not None}
    )


def _game(chosen: argparse.Namespace) -> dict[str, Any]:
    """What `games.game` takes.

    Raises:
        ValueError: for a game that cannot be played, options that exclude each other, or a system
            that is not installed.
    """
    alone = ("preset", "devices", "compile_only", "topology", "matmul_precision")
    for name in (*alone, "remat", "accumulate"):
        if getattr(chosen, name):
            raise ValueError(f"--{name.replace('_', '-')} does not go with --against")
    if chosen.threads and chosen.threads > available_cpus():
        raise ValueError(f"--threads={chosen.threads}, but there are {available_cpus()} CPUs")
    for name in chosen.against:
        if name.startswith("torch") and find_spec("torch") is None:
            raise ValueError(f"--against={name} needs PyTorch: pip install '.[bench]'")
    names = ("size", "batch_size", "features", "blocks", "dtype")
    given = {name: getattr(chosen, name) for name in names}
    played: dict[str, Any] = {"model": chosen.model or "document"}
    played |= {name: value for name, value in given.items() if value is not None}
    game(**played)
    return played


def _devices(count: int | None) -> list[Any]:
    """The first `count` local devices, or all.

    Raises:
        ValueError: if there are fewer.
    """
    if count is not None and count > 1:
        # Refused when devices are in use already; then those there are count.
        with contextlib.suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", count)
    devices = jax.local_devices()
    if count is not None and count > len(devices):
        raise ValueError(
            f"--devices={count}, but there are {len(devices)}: {devices[0].device_kind}"
        )
    return devices[:count]


def _topology(config: AnyConfig, name: str) -> Placement:
    """A placement on the devices of a TPU slice that need not be there.

    Raises:
        ValueError: without the TPU's compiler, or if it does not know the slice, or if the slice
            does not divide the batch.
    """
    if find_spec("libtpu") is None and "TPU_LIBRARY_PATH" not in os.environ:
        raise ValueError("--compile-only needs the TPU compiler: pip install '.[tpu]'")
    # The arrays there are belong to the CPU, and nobody is asked which TPU this machine has.
    jax.config.update("jax_platforms", "cpu")
    os.environ.update(JAX_PLATFORMS="cpu", TPU_SKIP_MDS_QUERY="1")
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    try:
        topology = topologies.get_topology_desc(platform="tpu", topology_name=name)
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"--topology={name}: {reason}") from error
    return _placement(config, topology.devices)


def _placement(config: AnyConfig, devices: Sequence[Any] | None) -> Placement:
    return make_placement(config.batch_size, devices, accumulate=config.accumulate)


if __name__ == "__main__":
    huge_pages.start_again_with_them()
    huge_pages.keep_what_is_large()
    main()
