"""How a step's time, memory and FLOPs grow with image size, batch and width.

    python benchmarks/cost_growth.py --plot=docs/images/cost-growth.png

The product's own step of a preset is compiled and timed at several sizes; one thing grows at a
time. A power law a x^p is fitted to each figure by least squares of the logarithms: p is the
exponent in the table, 1 = in proportion. Memory is what the compiled program asks for beside its
arguments (`memory_analysis().temp_size_in_bytes`) and its arguments.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

# Started by its path, Python looks for modules in benchmarks/ and not in the checkout above it.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import numpy as np

from benchmarks.command_line import Parser, new_file, positive
from benchmarks.report import measured_report, versions
from benchmarks.table import Report, laid_out, loads
from experiments.config import LookConfig
from experiments.presets import preset
from retrojax import huge_pages
from retrojax.training.placement import make_placement

# What grows -> multiples of the preset's own.
GROWTH: Mapping[str, Sequence[float]] = MappingProxyType(
    {"image side": (0.5, 1, 2, 3), "batch": (0.25, 0.5, 1, 2), "width": (0.5, 1, 2, 3)}
)
FIGURES: Final = ("milliseconds", "megabytes", "gigaflops")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints the table and draws the plot."""
    parser = Parser(prog="cost_growth", description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--preset", choices=("look", "tiny"), default="look", help="whose step (default: look)")
    add("--steps", type=positive, default=10, help="timed steps of each (default: 10)")
    add("--plot", type=new_file, metavar="PNG", help="draw the figures there")
    add("--json", type=new_file, metavar="FILE", help="write the figures there")
    chosen = parser.parse_args(arguments)
    config = preset(chosen.preset)
    assert isinstance(config, LookConfig)
    load = os.getloadavg() if hasattr(os, "getloadavg") else None
    report: Report = {
        "preset": config.preset,
        "device": jax.local_devices()[0].device_kind,
        "versions": versions(),
        "load_average": load,
        "growth": {name: grown(config, name, chosen.steps) for name in GROWTH},
    }
    print(laid_out(list(lines(report))))
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(report, indent=2) + "\n")
    if chosen.plot is not None:
        draw(report, chosen.plot)


def grown(config: LookConfig, what: str, steps: int) -> dict[str, list[float]]:
    """Every figure at every size of one thing."""
    rows = [measured(changed(config, what, factor), steps) for factor in GROWTH[what]]
    return {
        what: [base(config, what) * factor for factor in GROWTH[what]],
        **{name: [row[name] for row in rows] for name in FIGURES},
    }


def base(config: LookConfig, what: str) -> int:
    """The preset's own value."""
    sizes = {"image side": config.crop, "batch": config.batch_size}
    return {**sizes, "width": config.discriminator_features}[what]


def changed(config: LookConfig, what: str, factor: float) -> LookConfig:
    """The preset with one thing multiplied; width is that of both networks."""
    if what == "image side":
        return replace(config, crop=round(config.crop * factor))
    if what == "batch":
        return replace(config, batch_size=round(config.batch_size * factor))
    return replace(
        config,
        generator_features=round(config.generator_features * factor),
        discriminator_features=round(config.discriminator_features * factor),
    )


def measured(config: LookConfig, steps: int) -> dict[str, float]:
    """One step's figures."""
    print(
        f"cost_growth: batch {config.batch_size}, {config.crop}x{config.crop} pixels, width "
        f"{config.discriminator_features}",
        file=sys.stderr,
    )
    report = measured_report(config, make_placement(config.batch_size), steps=steps, warmup=2)
    memory = report["memory"]["temp"] + report["memory"]["argument"]
    return {
        "milliseconds": report["step_seconds"]["median"] * 1e3,
        "megabytes": memory / 1e6,
        "gigaflops": (report["flops"] or float("nan")) / 1e9,
    }


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """Of the power law nearest to positive values, in logarithms."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def lines(report: Report) -> Iterator[tuple[str, str]]:
    """The report as `what   figure`."""
    yield "step", f"preset {report['preset']}, one thing changed at a time"
    yield "device", f"{report['device']}, {os.cpu_count()} CPUs"
    yield "versions", ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    if report["load_average"] is not None:
        yield "load average before", loads(report["load_average"])
    for what, found in report["growth"].items():
        sizes = found[what]
        yield what, ", ".join(f"{size:g}" for size in sizes)
        for name in FIGURES:
            shown = ", ".join(f"{value:.3g}" for value in found[name])
            yield f"  {name}", f"{shown}: exponent {exponent(sizes, found[name]):.2f}"


def draw(report: Report, path: Path) -> None:
    """Time and memory against each size, logarithmic on both axes, with the fitted lines."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import FormatStrFormatter, LogLocator

    growth: dict[str, Any] = report["growth"]
    figure, axes = plt.subplots(2, len(growth), figsize=(9, 5.2), sharey="row", layout="tight")
    for column, (what, found) in zip(axes.T, growth.items(), strict=True):
        for axis, name in zip(column, ("milliseconds", "megabytes"), strict=True):
            power = exponent(found[what], found[name])
            x, y = np.asarray(found[what]), np.asarray(found[name])
            fitted = np.exp(np.mean(np.log(y))) * (x / np.exp(np.mean(np.log(x)))) ** power
            axis.loglog(x, y, "o", color="#2b5d8a")
            axis.loglog(x, fitted, color="#c2703d", linewidth=1.5, label=f"exponent {power:.2f}")
            axis.set_xticks(x, [f"{size:g}" for size in x])
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.yaxis.set_major_formatter(FormatStrFormatter("%g"))
            axis.minorticks_off()
            axis.grid(True, which="major", alpha=0.3)
            axis.legend(frameon=False, loc="upper left")
        column[0].set_title(what)
    axes[0, 0].set_ylabel("milliseconds a step")
    axes[1, 0].set_ylabel("MB of the program")
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    huge_pages.start_again_with_them()
    huge_pages.keep_what_is_large()
    main()
