"""Trains the default look with several losses and lays the results side by side.

`python -m experiments.loss_study --output docs/images/losses.png > docs/losses.md` runs the main
job once per row (in the main job's own folders: finished runs are taken as they are), writes a
picture of one held-out photograph and prints the figures as a Markdown table.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from experiments.compare import figures, table
from experiments.config import LookConfig, Loss
from retrojax.training.evaluation import TRAINED
from retrojax.training.samples import sample_grid, write_png

LOSSES: tuple[Loss, ...] = ("bce", "lsgan", "lsgan-pairwise", "lsgan-document")
NO_ADVERSARY = "no adversary"
PHOTOGRAPH, SIDE, ZOOM = "coffee", 120, 3


def train(config: LookConfig, *flags: str) -> Path:
    """Trains one row of the study, or takes it as it is if it is finished; returns its folder."""
    command = [sys.executable, "-m", "experiments.run", f"--look={config.look}"]
    command += [f"--loss={config.loss}", f"--run-dir={config.folder}", *flags]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return config.folder


def enlarged(folder: Path, kind: str) -> np.ndarray:
    """A square of the held-out photograph, three times as large, pixels unblended."""
    path = folder / "samples" / f"final-{PHOTOGRAPH}-{kind}.png"
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    top, left = ((side - SIDE) // 2 for side in pixels.shape[:2])
    square = pixels[top : top + SIDE, left : left + SIDE]
    return square.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)


def main() -> None:
    """Parses the command line, trains, draws and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="a .png file")
    options = parser.parse_args()
    folders = {name: train(LookConfig(loss=name)) for name in LOSSES}
    alone = LookConfig(adversarial_weight=0.0, run_dir=f"runs/no-adversary-{LookConfig().look}-0")
    folders[NO_ADVERSARY] = train(alone, "--adversarial-weight=0")

    first = folders[LookConfig().loss]
    systems = figures(first)
    rows = {name: values for name, values in systems.items() if name != TRAINED}
    rows |= {name: figures(folder)[TRAINED] for name, folder in folders.items()}
    print(table(rows))

    pictures = [enlarged(first, "source"), enlarged(first, "target")]
    pictures += [enlarged(folder, "output") for folder in folders.values()]
    labels = ["source", "target", *folders]
    write_png(options.output, sample_grid([pictures], labels=labels))


if __name__ == "__main__":
    main()
