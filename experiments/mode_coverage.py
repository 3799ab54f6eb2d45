"""Do the games find every mode? Every loss on toys whose modes are known, beside published figures.

`python -m experiments.mode_coverage --output docs/images/mode-coverage.png > docs/mode-coverage.md`
trains the product's generation task with its joint step: each loss on a ring of 8 Gaussians, on a
grid of 25 and on stacked digits (1000 modes). Nothing but the loss and its penalties changes from
row to row.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from experiments.mixtures import DrawnTask, Gaussians, StackedDigits, grid, ring
from retrojax.losses import ADVERSARIAL_LOSSES, DEFAULT_PENALTIES, Penalties
from retrojax.metrics.modes import ModeCoverage
from retrojax.models import FullyConnectedDiscriminator, MLPGenerator
from retrojax.tasks.ramp import Ramp
from retrojax.training.optimizers import make_optimizer, make_schedule
from retrojax.training.state import init_state
from retrojax.training.step import make_step

SAMPLES: Final = 2500
LEARNING_RATE: Final = 1e-3
B1, B2 = 0.5, 0.99
SLOPE: Final = 0.2
EMA_STEPS: Final = 50
CONSTANT_SHARE: Final = 0.3
# R1 and R2 fall to this share of their weight over this share of the steps, as R3GAN's do.
PENALTY_END, PENALTY_SHARE = 0.05, 0.8


class Row(NamedTuple):
    """A game of the study: a name of `ADVERSARIAL_LOSSES`, and which penalties are on."""

    loss: str
    penalties: Penalties

    @property
    def label(self) -> str:
        """Its name in tables and pictures."""
        zero_centred = ["R1 + R2"] if self.penalties.r1 and self.penalties.r2 else []
        return " + ".join([self.loss, *zero_centred, *["GP"] * (self.penalties.gradient > 0)])


ROWS: Final = (
    *(Row(name, DEFAULT_PENALTIES.get(name, Penalties())) for name in ADVERSARIAL_LOSSES),
    Row("bce", DEFAULT_PENALTIES["relativistic"]),
)
GOAL_ROW: Final = Row("relativistic", DEFAULT_PENALTIES["relativistic"])
GOAL_SHARE: Final = 0.8


@dataclass(frozen=True)
class Game:
    """One toy and what is fixed for it.

    Attributes:
        title: heading.
        about: what is drawn, in a sentence.
        make: makes what is drawn and judged.
        quality: name of the column of the share of high quality.
        widths: of the hidden layers of both players.
        latent_size: length of z, standard normal.
        batch: images of a step.
        steps: updates of each player.
        gamma: weight of R1 and R2 where they are on.
        gradient: weight of the gradient penalty where it is on.
        published: others' rows: who, modes, share of high quality, divergence.
        published_settings: how theirs differ from ours.
    """

    title: str
    about: str
    make: Callable[[], Gaussians | StackedDigits]
    quality: str
    widths: tuple[int, ...]
    latent_size: int
    batch: int
    steps: int
    gamma: float
    gradient: float
    published: tuple[tuple[str, str, str, str], ...]
    published_settings: str

    def penalties(self, row: Row) -> Penalties:
        """A row's penalties with this toy's weights."""
        on = row.penalties
        return Penalties(
            r1=self.gamma * bool(on.r1),
            r2=self.gamma * bool(on.r2),
            gradient=self.gradient * bool(on.gradient),
        )


PAC_PLANE: Final = (
    "Lin et al. 2018 (PacGAN, arXiv:1712.04086), ± standard error of 10 runs. Theirs: {toy}, "
    "100,000 points, 400 epochs of batches of 100, generator 4 x 400 with BatchNorm, "
    "discriminator 3 x maxout(200 x 5), Adam 1e-4 (b1 0.8), no average"
)

GAMES: Mapping[str, Game] = MappingProxyType(
    {
        "ring": Game(
            title="Ring of 8 Gaussians",
            about="Radius 2, deviation 0.02, divided by 1.414 (the toy of Gulrajani et al. 2017).",
            make=ring,
            quality="high quality, %",
            widths=(64, 64, 64),
            latent_size=2,
            batch=128,
            steps=8000,
            gamma=0.02,
            gradient=0.1,
            published=(
                ("GAN", "6.3 ± 0.5", "98.2", "0.45 ± 0.09"),
                ("PacGAN2", "7.9 ± 0.1", "95.6", "0.07 ± 0.03"),
            ),
            published_settings=PAC_PLANE.format(toy="radius 1, deviation 0.01"),
        ),
        "grid": Game(
            title="Grid of 25 Gaussians",
            about="{-4, -2, 0, 2, 4}², deviation 0.05, divided by 2.828 (the toy of Gulrajani et "
            "al. 2017).",
            make=grid,
            quality="high quality, %",
            widths=(64, 64, 64),
            latent_size=2,
            batch=128,
            steps=32_000,
            gamma=0.02,
            gradient=0.1,
            published=(
                ("GAN", "17.3 ± 0.8", "94.8", "0.70 ± 0.07"),
                ("PacGAN4", "24.8 ± 0.2", "93.6", "0.04 ± 0.01"),
            ),
            published_settings=PAC_PLANE.format(toy="the same grid, not divided"),
        ),
        "digits": Game(
            title="Stacked digits",
            about="Three random digits of 8x8 pixels (scikit-learn's) as the channels of one "
            "image: 1000 modes.",
            make=StackedDigits,
            quality="digit-like, %",
            widths=(256, 256),
            latent_size=64,
            batch=64,
            steps=2500,
            gamma=1.0,
            gradient=10.0,
            published=(
                ("DCGAN, as reported", "99.0", "–", "3.40"),
                ("DCGAN, re-implemented in PacGAN", "78.9 ± 6.5", "–", "4.50 ± 0.13"),
                ("PacDCGAN2", "1000", "–", "0.06"),
                ("R3GAN: relativistic + R1 + R2", "1000", "–", "0.078"),
                ("R3GAN: bce + R1 + R2", "693", "–", "0.927"),
            ),
            published_settings="Stacked MNIST, which is another data set: 28x28 pixels, "
            "convolutional players, 26,000 samples (so that 1000 modes can be reached), an MNIST "
            "classifier. Lin et al. 2018 (arXiv:1712.04086), ± standard error; Huang et al. 2024 "
            "(R3GAN, arXiv:2501.05441), whose paper says that either loss with R1 alone fails",
        ),
    }
)


def train(
    game: Game, row: Row, source: Gaussians | StackedDigits, *, seeds: int, steps: int
) -> Float[np.ndarray, "seeds n h w c"]:
    """Plays one row with seeds 0, 1, ..., one on each core at a time; returns each one's samples.

    Args:
        game: the toy's settings.
        row: the loss and its penalties.
        source: what `game.make` made.
        seeds: how many.
        steps: updates of each player.

    Returns:
        `SAMPLES` images of every seed's averaged generator.
    """
    task = DrawnTask(
        generator=MLPGenerator(source.shape, game.widths, game.latent_size),
        discriminator=FullyConnectedDiscriminator(game.widths, SLOPE),
        loss=ADVERSARIAL_LOSSES[row.loss],
        size=source.shape[0],
        penalties=game.penalties(row),
        penalty_ramp=Ramp(1.0, PENALTY_END, PENALTY_SHARE * steps * game.batch),
        draw=source.draw,
    )
    rate = make_schedule("cosine", LEARNING_RATE, steps=steps, constant_share=CONSTANT_SHARE)
    optimizers = (
        make_optimizer("adam", rate, b1=B1, b2=B2),
        make_optimizer("adam", rate, b1=B1, b2=B2),
    )
    step = make_step(task, optimizers, ema_halflife_images=float(EMA_STEPS * game.batch))
    raw: dict[str, Array | np.ndarray] = {"source": np.zeros((game.batch, 1, 1, 1), np.uint8)}

    def play(key: Key[Array, ""]) -> Array:
        init_key, first_key, run_key, sample_key = jax.random.split(key, 4)
        players = task.init(init_key, task.prepare(raw, first_key))
        state = init_state(run_key, *players, optimizers, ema=True)
        state, _ = jax.lax.scan(lambda s, _: (step(s, raw)[0], None), state, length=steps)
        latent = task.latent(sample_key, SAMPLES)
        return task.sample(state.sampling_variables, {"latent": latent})["image"]

    compiled = jax.jit(play).lower(jax.random.key(0)).compile()
    # A game this small fills one core; as one batch of games it would take twice the time.
    with ThreadPoolExecutor(_cores()) as pool:
        games = pool.map(lambda seed: np.asarray(compiled(jax.random.key(seed))), range(seeds))
        return np.stack(list(games))


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def real_samples(
    source: Gaussians | StackedDigits, *, seeds: int
) -> Float[np.ndarray, "seeds n h w c"]:
    """What a perfect generator would make."""
    keys = jax.random.split(jax.random.key(0), (seeds, SAMPLES))
    return np.asarray(jax.jit(jax.vmap(jax.vmap(source.draw)))(keys))


def cells(found: Sequence[ModeCoverage]) -> list[str]:
    """A row's figures over its seeds: mean and sample deviation, and the worst seed."""
    modes, quality, divergence = np.asarray(found, np.float64).T

    def spread(values: np.ndarray, digits: int) -> str:
        return f"{values.mean():.{digits}f} ± {values.std(ddof=1):.{digits}f}"

    return [
        spread(modes, 1),
        f"{modes.min():.0f}",
        spread(100 * quality, 1),
        f"{100 * quality.min():.1f}",
        spread(divergence, 3),
    ]


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; every row is as long as its head."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def verdict(source: Gaussians | StackedDigits, found: Sequence[ModeCoverage]) -> str:
    """Whether the goal of the points in the plane is reached, in a sentence."""
    reached = sum(f.modes == source.modes and f.high_quality >= GOAL_SHARE for f in found)
    return (
        f"The goal, {source.modes} of {source.modes} modes and a share of high quality of at least "
        f"{GOAL_SHARE:.0%} in every seed, is {'reached' if reached == len(found) else 'missed'} by "
        f"{GOAL_ROW.label}: {reached} of {len(found)} seeds."
    )


def section(
    game: Game, *, seeds: int, steps: int | None
) -> tuple[str, dict[str, tuple[np.ndarray, ModeCoverage]]]:
    """Trains every row on one toy.

    Args:
        game: the toy.
        seeds: how many games of each row.
        steps: instead of the toy's own number; None = its own.

    Returns:
        Its part of the document, and of every row the first seed's samples with their figures.
    """
    steps = steps or game.steps
    source, start, pictures = game.make(), time.perf_counter(), {}
    judged = [source.judge(images) for images in real_samples(source, seeds=seeds)]
    rows, goal = [["*real ones*", *cells(judged)]], ""
    for row in ROWS:
        samples = train(game, row, source, seeds=seeds, steps=steps)
        judged = [source.judge(images) for images in samples]
        pictures[row.label] = samples[0], judged[0]
        rows.append([row.label, *cells(judged)])
        print(f"{time.perf_counter() - start:6.0f} s", *rows[-1], sep="  ", file=sys.stderr)
        if row == GOAL_ROW and isinstance(source, Gaussians):
            goal = verdict(source, judged)
    minutes = (time.perf_counter() - start) / 60
    layers = " x ".join(map(str, game.widths))
    settings = (
        f"{game.about} Both players {layers}, z of {game.latent_size}, {steps} steps of "
        f"{game.batch} images, R1 and R2 with gamma {game.gamma:g}, gradient penalty with weight "
        f"{game.gradient:g}. All rows together took {minutes:.1f} min on "
        f"{_cores()} CPU cores."
    )
    if isinstance(source, StackedDigits):
        settings += (
            f" The channels are read by a support vector machine, which reads "
            f"{source.accuracy():.1%} of the held-out digits right; it takes anything for a digit, "
            "so a digit is called digit-like if it is as near to a real one as 95 % of the "
            "held-out digits are."
        )
    head = ["", f"modes of {source.modes}", "fewest", game.quality, "lowest", "KL to uniform"]
    theirs = markdown(["published", "modes", game.quality, "KL to uniform"], game.published)
    parts = [f"## {game.title}", settings, markdown(head, rows), goal]
    parts += [theirs, f"{game.published_settings}."]
    return "\n\n".join(part for part in parts if part), pictures


def draw(
    path: Path, toys: Mapping[str, tuple[Gaussians, dict[str, tuple[np.ndarray, ModeCoverage]]]]
) -> None:
    """Writes the first seed's samples of every row, on every toy in the plane, as a PNG file."""
    from matplotlib.figure import Figure

    across = 4
    down = -(-len(ROWS) // across)
    figure = Figure((2.6 * across, 2.85 * down * len(toys)), layout="constrained", dpi=110)
    grids = figure.subplots(down * len(toys), across, squeeze=False)
    for axes in grids.flat:
        axes.axis("off")
    for toy, (source, pictures) in enumerate(toys.values()):
        limit = 1.25 * np.abs(source.centres).max()
        for i, (label, (samples, found)) in enumerate(pictures.items()):
            axes = grids[toy * down + i // across, i % across]
            axes.axis("on")
            axes.set(xlim=(-limit, limit), ylim=(-limit, limit), xticks=[], yticks=[])
            axes.set_aspect("equal")
            axes.scatter(*source.centres.T, s=90, facecolors="none", edgecolors="#d08770", lw=0.8)
            points = samples.reshape(-1, 2)
            axes.scatter(*points.T, s=2, color="#2e5a88", alpha=0.35, lw=0)
            share = f"{100 * found.high_quality:.0f} %"
            axes.set_title(f"{label}\n{found.modes} of {source.modes}, {share}", fontsize=9)
    figure.savefig(path)


def introduction(seeds: int) -> str:
    """The document's head: what is fixed, and how to read the tables."""
    return f"""# Mode coverage

Written by `python -m experiments.mode_coverage`; not edited. The product's generation task and its
joint step, with nothing but the loss and its penalties changed from row to row: fully connected
players (generator ReLU, discriminator LeakyReLU {SLOPE:g}), no norms, as many steps of D as of G,
Adam {LEARNING_RATE:g} ({B1:g}, {B2:g}) for both, constant for {CONSTANT_SHARE:.0%} of the steps and
then a cosine to 0, an average of the generator with a half-life of {EMA_STEPS} steps. R1 + R2
are the penalties of R3GAN, falling to {PENALTY_END:.0%} of their weight over the first
{PENALTY_SHARE:.0%} of the steps, GP is that of WGAN-GP; the other rows have none. What was tuned
was tuned for relativistic + R1 + R2.

{SAMPLES:,} samples of each of {seeds} seeds; mean ± sample deviation over the seeds, then the worst
seed. A sample is of high quality within 3 deviations of its nearest mode; a mode is covered by one
such sample. KL(samples || uniform) over the modes, in nats, counts every sample for its nearest
mode. *Real ones* are as many samples of the data: what a perfect generator scores."""


def main() -> None:
    """Parses the command line, trains, prints and draws."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="a .png file")
    parser.add_argument("--tasks", nargs="+", choices=GAMES, default=list(GAMES))
    parser.add_argument("--steps", type=int, help="instead of each task's own")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error(f"--seeds must be at least 2, for a deviation, not {options.seeds}")
    if options.steps is not None and options.steps < 1:
        parser.error(f"--steps must be at least 1, not {options.steps}")
    print(introduction(options.seeds))
    toys = {}
    for name in options.tasks:
        text, pictures = section(GAMES[name], seeds=options.seeds, steps=options.steps)
        print(f"\n{text}", flush=True)
        source = GAMES[name].make()
        if isinstance(source, Gaussians):
            toys[name] = source, pictures
    if toys:
        draw(options.output, toys)


if __name__ == "__main__":
    main()
