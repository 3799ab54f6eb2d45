"""Photographs a second of `retrojax stylize` on a folder, and what bounds them.

    python benchmarks/stylize.py --json=stylize.json
    python benchmarks/stylize.py --against=torch
    python benchmarks/stylize.py --model=runs/cyclegan/model --photographs=4 --rounds=3

The folder holds JPEG files made from the bundled photographs. Beside what the command does with it:
the compiled generator alone, on the very arrays that the command hands to it, in memory; and Pillow
alone, which reads and writes the same files on as many threads. The folder should reach 0.85 of the
slower of the two. `--against=torch` (extra `bench`) adds PyTorch's generator of a look with the
same weights on the same arrays; its outputs must be equal first. All take turns, round by round;
PyTorch has a process of its own.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Final

# Started by its path, Python looks for modules in benchmarks/ and not in the checkout above it.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.command_line import Parser, new_file, positive
from benchmarks.photographs import write_photographs
from benchmarks.ratios import Spread, ratios, spread
from benchmarks.table import Report, laid_out, loads
from benchmarks.worker import Worker, available_cpus
from retrojax import huge_pages
from retrojax.inference.bundle import find_bundle, load_bundle
from retrojax.inference.geometry import geometry
from retrojax.models.look import LookGenerator

TOLERANCE: Final = 1e-3
GOAL: Final = 0.85
PARTS: Final = ("folder", "generator", "files")
TORCH: Final = "torch"
LABELS: Final = {
    "folder": "folder, files to files",
    "generator": "generator alone",
    "files": "Pillow alone",
    TORCH: "PyTorch's generator",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark and prints its table."""
    load = os.getloadavg() if hasattr(os, "getloadavg") else None
    parser = _arguments()
    chosen = parser.parse_args(arguments)
    if chosen.against and find_spec("torch") is None:
        parser.error("--against=torch needs PyTorch: pip install '.[bench]'")
    try:
        module = load_bundle(chosen.model).module
        geometry(module)  # Refuses a model that is not for photographs.
    except ValueError as error:
        parser.error(f"--model: {error}")
    if chosen.against and not isinstance(module, LookGenerator):
        parser.error("--against=torch has the generator of looks alone; leave it out for this one")
    try:
        report = measured(chosen) | {"load_average": load}
    except RuntimeError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    print(table(report))
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(report, indent=2) + "\n")


def measured(chosen: argparse.Namespace) -> Report:
    """Makes the photographs, compares outputs, and times all systems in turn.

    Raises:
        RuntimeError: if a process fails, or PyTorch's outputs are not the product's.
    """
    size, threads = (chosen.width, chosen.height), available_cpus()
    # The workers have another working directory.
    bundle = find_bundle(chosen.model).resolve()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "photographs").mkdir()
        write_photographs(folder / "photographs", count=chosen.photographs, size=size)
        places = {"photographs": str(folder / "photographs"), "output": str(folder / "stylized")}
        product = stack.enter_context(
            Worker("product-stylize", threads=threads, model=str(bundle), **places)
        )
        difference, torch = None, None
        if chosen.against:
            torch = stack.enter_context(Worker("torch-stylize", threads=threads))
            product.call("hand_over", file=str(folder / "handover.npz"))
            difference = torch.call("load", file=str(folder / "handover.npz"))
            check_equal(difference)
        facts = product.call("facts")
        seconds = {name: [] for name in (*PARTS, *([TORCH] if torch else []))}
        for number in range(chosen.rounds + 1):
            for name, times in seconds.items():
                if name == TORCH and torch is not None:
                    took = torch.call("round")
                else:
                    took = product.call("round", what=name)
                # The first round compiles and warms up.
                if number:
                    times.append(took)
        others = torch.call("facts") if torch else {"versions": {}, "device": None}
    return {
        "model": chosen.model,
        "size": size,
        "rounds": chosen.rounds,
        "cpu_count": os.cpu_count(),
        **facts,
        "versions": facts["versions"] | others["versions"],
        "torch_device": others["device"],
        "torch_difference": difference,
        "seconds": seconds,
        "ratios": {name: found._asdict() for name, found in compared(seconds).items()},
    }


def check_equal(difference: float) -> None:
    """Refuses to time another function.

    Raises:
        RuntimeError: if outputs differ by more than a thousandth, or are not numbers.
    """
    if not difference <= TOLERANCE:
        raise RuntimeError(
            f"PyTorch's outputs differ from the product's by {difference:.2g}, more than "
            f"{TOLERANCE}; no times were taken"
        )


def compared(seconds: Mapping[str, Sequence[float]]) -> dict[str, Spread]:
    """Rates over rates, round by round: the folder over its bounds, the generator over PyTorch's.

    Args:
        seconds: of every round, for the same photographs, by system.
    """
    slower = [max(pair) for pair in zip(seconds["generator"], seconds["files"], strict=True)]
    found = {
        "folder / slower of both": ratios(slower, seconds["folder"]),
        "folder / generator": ratios(seconds["generator"], seconds["folder"]),
        "folder / Pillow": ratios(seconds["files"], seconds["folder"]),
    }
    if TORCH in seconds:
        found["generator / PyTorch's"] = ratios(seconds[TORCH], seconds["generator"])
    return found


def table(report: Report) -> str:
    """Lays a report out as lines of `what   figure`."""
    width, height = report["size"]
    count, rounds = report["photographs"], report["rounds"]
    rows = [
        ("model", report["model"]),
        ("photographs", f"{count} JPEG files of {width}x{height} pixels"),
        ("device", f"{report['device']}, {report['cpu_count']} CPUs, {report['at_once']} at once"),
        ("versions", ", ".join(f"{name} {v}" for name, v in report["versions"].items())),
    ]
    if report["load_average"] is not None:
        rows.append(("load average before", f"{loads(report['load_average'])} (1, 5, 15 min)"))
    if report["torch_difference"] is not None:
        found = f"at most {report['torch_difference']:.1e} from the product's"
        rows.append(("outputs, PyTorch", f"{found} ({report['torch_device']})"))
    for name, times in report["seconds"].items():
        rate = spread([count / took for took in times])
        text = f"median {rate.median:.2f} photographs/s, {rate.least:.2f} to {rate.most:.2f}"
        rows.append((LABELS[name], text))
    for name, found in report["ratios"].items():
        goal = f"; goal at least {GOAL}" if name == "folder / slower of both" else ""
        rows.append(
            (
                name,
                f"median {found['median']:.3f}, {found['least']:.3f} to {found['most']:.3f}, "
                f"95 % bootstrap {found['low']:.3f} to {found['high']:.3f} ({rounds} rounds in "
                f"turn{goal})",
            )
        )
    return laid_out(rows)


def _arguments() -> Parser:
    parser = Parser(
        prog="stylize",
        description="Photographs a second of retrojax stylize, and what bounds them.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--model", default="faded-print", help="as of retrojax stylize (default: faded-print)")
    add("--against", choices=(TORCH,), help="another system's generator")
    add("--photographs", type=positive, default=16, help="how many (default: 16)")
    add("--width", type=positive, default=1024, help="of each in pixels (default: 1024)")
    add("--height", type=positive, default=768, help="of each in pixels (default: 768)")
    add("--rounds", type=positive, default=7, help="of each system, in turn (default: 7)")
    add("--json", type=new_file, metavar="FILE", help="write the figures there too")
    return parser


if __name__ == "__main__":
    huge_pages.start_again_with_them()
    main()
