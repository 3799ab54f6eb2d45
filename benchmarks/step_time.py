"""How long one joint step takes, and what its compiled program says about itself.

    python benchmarks/step_time.py --preset=look --json=step.json
    python benchmarks/step_time.py --compile-only --topology=v5e:2x2

The step, its placement and its compilation are the product's own; photographs are random and lie
on the devices beforehand. It needs jax, flax, optax, numpy and jaxtyping, and runs unchanged on
CPU, GPU and TPU. `--compile-only` needs the extra `tpu`, but no TPU.
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
from typing import Any, NoReturn

# Started by its path, Python looks for modules in benchmarks/ and not in the checkout above it.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
from jax.experimental import topologies

from benchmarks.report import compiled_report, measured_report
from benchmarks.table import table
from experiments.config import AnyConfig
from experiments.presets import PRESETS, preset
from retrojax.training.placement import Placement, make_placement


class _Parser(argparse.ArgumentParser):
    """Wrong input is one line and exit code 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark and prints its table."""
    load = os.getloadavg() if hasattr(os, "getloadavg") else None
    parser = _arguments()
    chosen = parser.parse_args(arguments)
    precision = chosen.matmul_precision
    with jax.default_matmul_precision(precision) if precision else contextlib.nullcontext():
        try:
            config = _config(chosen)
            if chosen.compile_only:
                placement = _topology(config, chosen.topology)
            else:
                placement = make_placement(config.batch_size, _devices(chosen.devices))
        except ValueError as error:
            parser.error(str(error))
        if chosen.compile_only:
            report = compiled_report(config, placement) | {"topology": chosen.topology}
        else:
            report = measured_report(config, placement, steps=chosen.steps, warmup=chosen.warmup)
    report |= {"matmul_precision": precision or "default", "load_average": load}
    print(table(report))
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(report, indent=2) + "\n")


def _arguments() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="step_time",
        description="Times the joint step, or compiles it for a TPU.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--preset", choices=tuple(PRESETS), default="look", help="settings of the run")
    add("--batch-size", type=int, help="images per step over all devices")
    add("--dtype", choices=("float32", "bfloat16"), help="computation type of the networks")
    add("--devices", type=_positive, help="how many; virtual ones on a CPU (default: all)")
    add("--steps", type=_positive, default=50, help="timed steps, twice (default: 50)")
    add("--warmup", type=_not_negative, default=10, help="untimed steps before (default: 10)")
    add(
        "--matmul-precision",
        choices=("default", "high", "highest"),
        help="of float32 products and convolutions (default: the backend's own)",
    )
    add("--json", type=_new_file, metavar="FILE", help="write the figures there too")
    add("--compile-only", action="store_true", help="compile for a TPU; runs nothing")
    add("--topology", metavar="NAME", help="the TPU slice of --compile-only (default: v5e:2x2)")
    return parser


def _positive(text: str) -> int:
    return _at_least(text, 1)


def _not_negative(text: str) -> int:
    return _at_least(text, 0)


def _at_least(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(
            f"must be a whole number of at least {least}, not {text!r}"
        )
    return int(text)


def _new_file(text: str) -> Path:
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is not a file's name in an existing folder")
    return path


def _config(chosen: argparse.Namespace) -> AnyConfig:
    """The preset with the changes asked for.

    Raises:
        ValueError: for a setting that cannot be, or options that exclude each other.
    """
    if chosen.topology and not chosen.compile_only:
        raise ValueError("--topology goes with --compile-only")
    if chosen.compile_only and chosen.devices:
        raise ValueError("--devices does not go with --compile-only; --topology says how many")
    chosen.topology = chosen.topology or "v5e:2x2"
    changes = {"batch_size": chosen.batch_size, "dtype": chosen.dtype}
    return replace(
        preset(chosen.preset), **{name: v for name, v in changes.items() if v is not None}
    )


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
    return make_placement(config.batch_size, topology.devices)


if __name__ == "__main__":
    main()
