"""Trains one look with several losses and lays the results side by side.

`python -m experiments.loss_study --output docs/images/losses.png > docs/losses.md` runs the main
job once per row (finished runs in runs/ are taken as they are), writes a picture of one held-out
photograph and prints the figures as a Markdown table.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from experiments.config import Config
from retrojax.training.log_file import read_lines
from retrojax.training.samples import sample_grid, write_png

STUDIES: dict[str, tuple[str, ...]] = {
    "bce": ("--loss=bce",),
    "lsgan": ("--loss=lsgan",),
    "lsgan-pairwise": ("--loss=lsgan-pairwise",),
    "lsgan-document": ("--loss=lsgan-document",),
    "no adversary": ("--adversarial-weight=0",),
}
FIGURES = {
    "colour error / input's": "colour_ratio_to_input",
    "colour error / LUT's": "colour_ratio_to_lut",
    "grain strength / target's": "grain_deviation_ratio",
    "worst of 1/8-1/2 c/px, dB": "grain_worst_octave_db",
    "over directions, dB": "grain_isotropy_db",
    "structure SSIM": "structure_ssim",
}
PHOTOGRAPH, SIDE, ZOOM = "coffee", 120, 3


def run(name: str, look: str, steps: int | None) -> Path:
    """Trains one row of the study, or takes it as it is if it is finished; returns its folder."""
    folder = Path("runs") / f"study-{look}-{name.replace(' ', '-')}"
    command = [sys.executable, "-m", "experiments.run", f"--look={look}", f"--run-dir={folder}"]
    command += STUDIES[name] if steps is None else (*STUDIES[name], f"--steps={steps}")
    subprocess.run(command, check=True, stdout=sys.stderr)
    return folder


def figures(folder: Path, system: str) -> dict[str, float]:
    """The last figures of a run for one of its systems."""
    events = [e for e in read_lines(folder / "metrics.jsonl") if e.get("event") == "figures"]
    return events[-1]["figures"][system]


def enlarged(folder: Path, kind: str) -> np.ndarray:
    """A square of the held-out photograph, three times as large, pixels unblended."""
    path = folder / "samples" / f"final-{PHOTOGRAPH}-{kind}.png"
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    top, left = ((side - SIDE) // 2 for side in pixels.shape[:2])
    square = pixels[top : top + SIDE, left : left + SIDE]
    return square.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)


def row(name: str, values: dict[str, float]) -> str:
    """One line of the table; a figure that a system does not have is a dash."""
    cells = [
        f"{values[key]:.2f}" if values.get(key) is not None else "-" for key in FIGURES.values()
    ]
    return f"| {name} | " + " | ".join(cells) + " |"


def main() -> None:
    """Parses the command line, trains, draws and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="a .png file")
    parser.add_argument("--look", default=Config().look)
    parser.add_argument("--steps", type=int, help="other length than the main job's")
    options = parser.parse_args()
    folders = {name: run(name, options.look, options.steps) for name in STUDIES}

    first = next(iter(folders.values()))
    print("| | " + " | ".join(FIGURES) + " |")
    print("|---|" + "---|" * len(FIGURES))
    for system in ("untouched input", "LUT + noise"):
        print(row(system, figures(first, system)))
    for name, folder in folders.items():
        print(row(name, figures(folder, "trained")))

    pictures = [enlarged(first, "source"), enlarged(first, "target")]
    pictures += [enlarged(folder, "output") for folder in folders.values()]
    labels = ["source", "target", *folders]
    write_png(options.output, sample_grid([pictures], labels=labels))


if __name__ == "__main__":
    main()
