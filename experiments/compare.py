"""Prints the figures of finished runs as a Markdown table: `python -m experiments.compare RUN...`.

One row for each trained generator, and with it the two systems that need no network: the untouched
photograph, and a fitted 3-D LUT with matched noise. Goals stand in the second line.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from retrojax.metrics import FIGURES
from retrojax.training.log_file import read_lines

SHOWN = (
    "colour_error",
    "colour_ratio_to_input",
    "colour_ratio_to_lut",
    "grain_deviation_ratio",
    "grain_octave_db/1/4-1/2",
    "grain_octave_db/1/8-1/4",
    "grain_octave_db/1/16-1/8",
    "grain_octave_db/1/32-1/16",
    "grain_isotropy_db",
    "structure_ssim",
)


def figures(run: Path) -> dict[str, dict[str, float]]:
    """The last figures of a run, by system.

    Raises:
        ValueError: if the folder holds no figures.
    """
    events = [e for e in read_lines(run / "metrics.jsonl") if e.get("event") == "figures"]
    if not events:
        raise ValueError(f"{run} has no figures: give the folder of a finished run")
    return events[-1]["figures"]


def table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """A Markdown table: a row for each system, a column for each figure, goals on top."""
    labels = [FIGURES[key].label for key in SHOWN]
    goals = [FIGURES[key].goal for key in SHOWN]
    lines = [["", *labels], ["---"] * (len(SHOWN) + 1), ["*goal*", *goals]]
    for name, values in rows.items():
        lines.append([name, *(FIGURES[key].text(values.get(key, float("nan"))) for key in SHOWN)])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def main() -> None:
    """Parses the command line and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a finished run's folder")
    rows = {}
    for run in parser.parse_args().runs:
        try:
            systems, config = figures(run), json.loads((run / "config.json").read_text())
        except (ValueError, OSError) as error:
            parser.error(str(error))
        rows |= {f"{config['look']}, {name}": values for name, values in systems.items()}
    print(table(rows))


if __name__ == "__main__":
    main()
