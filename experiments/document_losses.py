"""What the document's formulas do: its preset with four losses from the same seed, side by side.

`python -m experiments.document_losses --output docs/images/document-losses.png >
docs/document-losses.md` trains one run per loss (in the preset's own folders: finished runs are
taken as they are), draws samples and the discriminator's probabilities, and prints a table.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float
from PIL import Image

from experiments.config import GenerationConfig, Loss
from experiments.presets import preset
from experiments.run_parts import event
from retrojax.losses import ADVERSARIAL_LOSSES
from retrojax.training.log_file import read_lines

LOSSES: tuple[Loss, ...] = ("bce", "lsgan", "lsgan-pairwise", "lsgan-document")
# Lines of the log at the end over which a mean is taken.
LAST: Final = 10

EXPLANATION: Final = """
r = D's logit of a real image, f = of a generated one; D(x) = sigmoid(r), D(G(z)) = sigmoid(f).
"coverage" is that of Naeem et al. 2020 on raw pixels, where held-out images reach {held_out:.2f}.

Why `lsgan-document` cannot work, in two lines of algebra:

1. L_D = E[(D(x) - D(G(z)))^2] is never negative and is 0 for **every constant D**: a discriminator
   that looks at nothing is optimal. Minimising it drives D(x) and D(G(z)) together, and with them
   D's gradient with respect to its input, which is all that G could learn from.
2. L_G = E[D(G(z))] is minimised by images to which D gives a **low** probability of being real: G
   is paid for being caught.

`lsgan` replaces the difference by two targets, D(x) -> 1 and D(G(z)) -> 0, and has G raise D(G(z)).
`lsgan-pairwise` keeps the difference and asks it to be a margin of 1 for D, and of -1 for G.
"""


def train(config: GenerationConfig) -> Path:
    """Trains one row of the study, or takes it as it is if it is finished; returns its folder."""
    command = [sys.executable, "-m", "experiments.run", f"--preset={config.preset}"]
    subprocess.run([*command, f"--loss={config.loss}"], check=True, stdout=sys.stderr)
    return config.folder


def probabilities(folder: Path) -> tuple[list[int], dict[str, Float[np.ndarray, "lines"]]]:
    """Steps, and the sigmoid of the mean logits of real and generated images at each."""
    lines = [line for line in read_lines(folder / "metrics.jsonl") if "event" not in line]
    curves = {
        name: 1 / (1 + np.exp(-np.array([line[f"d/{key}_logits"] for line in lines])))
        for name, key in (("D(x)", "real"), ("D(G(z))", "fake"))
    }
    return [line["step"] for line in lines], curves


def row(folder: Path) -> list[str]:
    """One loss's figures as cells."""
    lines = [line for line in read_lines(folder / "metrics.jsonl") if "event" not in line]
    _, curves = probabilities(folder)
    figures = event(folder, "figures")
    assert figures is not None
    end = [f"{curve[-LAST:].mean():.3f}" for curve in curves.values()]
    loss = np.mean([line["d/adversarial"] for line in lines[-LAST:]])
    gradient = np.mean([line["g/gradient_norm"] for line in lines[-LAST:]])
    own = figures["figures"]["generated"]
    return [*end, f"{loss:.2g}", f"{gradient:.2g}", f"{own['coverage']:.2f}"]


def draw(folders: dict[str, Path], output: Path) -> None:
    """Samples of each loss above D's probabilities over time."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, len(folders), figsize=(4 * len(folders), 7.2), squeeze=False)
    for (name, folder), (top, bottom) in zip(folders.items(), axes.T, strict=True):
        with Image.open(folder / "samples" / "final-samples-output.png") as picture:
            side = min(picture.size) // 2
            top.imshow(np.asarray(picture)[:side, :side], interpolation="nearest")
        top.set_title(name)
        top.axis("off")
        steps, curves = probabilities(folder)
        for label, curve in curves.items():
            bottom.plot(steps, curve, label=label)
        bottom.set(ylim=(-0.02, 1.02), xlabel="step")
        bottom.grid(alpha=0.3)
    axes[1, 0].set_ylabel("probability")
    axes[1, 0].legend()
    figure.tight_layout()
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=80)
    pyplot.close(figure)


def main(arguments: list[str] | None = None) -> None:
    """Parses the command line, trains, draws and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="a .png file")
    parser.add_argument("--preset", default="document", choices=("document", "document-tiny"))
    options = parser.parse_args(arguments)
    base = preset(options.preset)
    assert isinstance(base, GenerationConfig)
    folders = {}
    for name in LOSSES:
        folders[name] = train(replace(base, loss=name))
    print("# The document's two formulas beside others\n")
    print("Written by `python -m experiments.document_losses`; not edited. The preset")
    print(f"`{options.preset}` with nothing but the loss changed: same weights, data and order.\n")
    columns = ["D(x)", "D(G(z))", "L_D", "G's gradient norm", "coverage"]
    print(f"| loss | D minimises | G minimises | {' | '.join(columns)} |")
    print("|" + " --- |" * (len(columns) + 3))
    for name, folder in folders.items():
        d, g = ADVERSARIAL_LOSSES[name].formula.split("    ")
        cells = [f"`{name}`", d.removeprefix("D: "), g.removeprefix("G: "), *row(folder)]
        print(f"| {' | '.join(cells)} |")
    said = event(folders[LOSSES[0]], "figures")
    assert said is not None
    held_out = said["figures"]["held-out images"]["coverage_as_many"]
    config = json.loads((folders[LOSSES[0]] / "config.json").read_text())
    print(f"\n{config['steps']} steps of {config['batch_size']} images, seed {config['seed']};")
    print(f"means over the last {LAST} lines of each log.")
    print(EXPLANATION.format(held_out=held_out))
    draw(folders, options.output)


if __name__ == "__main__":
    main()
