"""The report of one step: what was compiled and where, what the program says, how long it takes."""

import os
import sys
from importlib import metadata
from importlib.util import find_spec
from time import perf_counter

import jax
import numpy as np

from benchmarks.ceilings import matmul_side
from benchmarks.compiled import compiled_facts, step_flops
from benchmarks.product import Product, product, random_batches, start
from benchmarks.table import Report
from benchmarks.timing import matmul_flops, time_steps
from experiments.config import AnyConfig
from retrojax.training.placement import Placement

CONTENTS = 4
LIBRARIES = ("jax", "jaxlib", "flax", "optax", "numpy", "jaxtyping")


def compiled_report(config: AnyConfig, placement: Placement) -> Report:
    """Compiles the step and runs nothing, so the devices need not be there."""
    _, report = _compile(config, product(config), placement)
    return report | {"ran": False}


def measured_report(
    config: AnyConfig, placement: Placement, *, steps: int, warmup: int, contents: int = CONTENTS
) -> Report:
    """Compiles, runs and times the step.

    Args:
        config: whose step.
        placement: the devices.
        steps: number of steps waited for one by one, and again of pipelined ones.
        warmup: untimed steps after the first.
        contents: number of different batches that are taken in turn.
    """
    subject = product(config)
    compiled, report = _compile(config, subject, placement)
    state = start(config, subject, placement)
    batches = random_batches(config, placement, count=contents)
    times = time_steps(compiled, state, batches, steps=steps, warmup=warmup)
    median, p10, p90 = (float(np.percentile(times.blocked, q)) for q in (50, 10, 90))

    device = placement.mesh.devices.flat[0]
    peak = (device.memory_stats() or {}).get("peak_bytes_in_use")
    size = matmul_side(device.platform)
    ceiling = matmul_flops(placement, size=size, dtype=config.dtype)
    flops = report["flops"]
    speed = None if flops is None else flops / median
    return report | {
        "ran": True,
        "steps": steps,
        "warmup": warmup,
        "first_call_seconds": times.first_call,
        "step_seconds": {"median": median, "p10": p10, "p90": p90},
        "pipelined_seconds": times.pipelined,
        "images_per_second": config.batch_size / times.pipelined,
        "matmul": {"size": size, "dtype": config.dtype, "flops_per_second": ceiling},
        "flops_per_second": speed,
        "share_of_matmul": None if speed is None else speed / ceiling,
        "peak_device_bytes": peak,
        "finite": times.finite,
    }


def versions() -> dict[str, str]:
    """Of Python and of the libraries that a step is made of."""
    libraries = (*LIBRARIES, "libtpu") if find_spec("libtpu") else LIBRARIES
    return {
        "python": sys.version.split()[0],
        **{name: metadata.version(name) for name in libraries},
    }


def _compile(
    config: AnyConfig, subject: Product, placement: Placement
) -> tuple["jax.stages.Compiled", Report]:
    """The compiled step, and what was compiled for what."""
    begin = perf_counter()
    compiled = subject.compile(placement)
    seconds = perf_counter() - begin
    device = placement.mesh.devices.flat[0]
    report = {
        "preset": config.preset,
        "loss": config.loss,
        "batch_size": config.batch_size,
        "window": config.window,
        "dtype": config.dtype,
        "remat": config.remat,
        "device": {
            "platform": device.platform,
            "kind": device.device_kind,
            "count": placement.mesh.size,
        },
        "cpu_count": os.cpu_count(),
        "versions": versions(),
        "compile_seconds": seconds,
        "flops": step_flops(subject.step, subject.state, subject.raw),
        "state_bytes": subject.state_bytes,
        "gradient_bytes": subject.gradient_bytes,
    }
    return compiled, report | compiled_facts(compiled)._asdict()
