"""Recognises digits with 10 labels each, on what a discriminator learned without labels.

`python -m experiments.recognition > docs/recognition.md` trains GANs on unlabelled digits and puts
a linear classifier on the features of their discriminators (`discriminator_features.py`). Beside it
stand classifiers that are given the same labels. Every seed has its own labels, and all classifiers
of a seed share them: gains are paired.

The test images are held out before anything is trained. Settings are chosen on the training images
alone, as `--validate` tests them: on a quarter, here four different quarters in turn, six draws of
labels each, the GAN trained on all training images without labels. In points over raw pixels:

- Whitening lifts the features only together with the moves: before training, +3.4 with both, -0.4
  whitened alone, -0.1 averaged alone (the last on one quarter).
- Trained for 400 steps they lie at +2.9 (R1 of 1) and +3.2 (R1 of 10); with moves by whole pixels
  only, 9 places for 25, about 0.3 lower. R1 of 0.1, LSGAN, 200 or 800 steps and translation of what
  the discriminator is shown differ by less than the intervals, 0.6 to 1.0 either way.
- Ridges of 3 and 10 mean variances tie, 1 is about 0.8 lower. Unit variances untrained: +0.9.
- No game tried is better than the network before training by more than chance.
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, UInt8
from rich.console import Console
from rich.progress import track
from scipy import stats
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split
from sklearn.svm import SVC

from experiments.discriminator_features import (
    BATCH,
    LOSS,
    R1,
    SIZE,
    Images,
    Vectors,
    discriminators,
    features,
    pixel_features,
    scaled,
    task,
)
from retrojax.data.embedded import digits
from retrojax.data.whole import square
from retrojax.training.optimizers import make_optimizer
from retrojax.training.state import TrainState, init_player
from retrojax.training.step import apply_gradients

SEEDS: Final = 20
STEPS: Final = 400
GANS: Final = 4
PER_DIGIT: Final = 10
DIGITS: Final = 10
TEST_SHARE: Final = 0.2
VALIDATION_SHARE: Final = 0.25
SUPERVISED_SEEDS: Final = 5
SUPERVISED_STEPS: Final = 150
SUPERVISED_RATE: Final = 1e-3
FOLDS: Final = 5
GOAL: Final = 2.5

RAW = "linear, raw pixels"
RAW_WHITENED = "linear, raw pixels, averaged and whitened alike"
FEATURES = "linear, features of the discriminator"
UNTRAINED = "linear, features of the same discriminator before training"
RBF = "RBF SVM, raw pixels"
SUPERVISED = "convolutional network of the same size, supervised"
ALL_LABELS = "linear, raw pixels, all labels"

Labels = UInt8[np.ndarray, "n"]
Indices = Int[np.ndarray, "n"]


class Interval(NamedTuple):
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float


class Examples(NamedTuple):
    """Digits to train on, some of whose labels are drawn, and digits to test on.

    Networks are given enlarged images, the others the 64 pixels as they are, in [0, 1].
    """

    train: Images
    train_pixels: Vectors
    train_labels: Labels
    test: Images
    test_pixels: Vectors
    test_labels: Labels


def split(labels: Labels, share: float = TEST_SHARE, seed: int = 0) -> tuple[Indices, Indices]:
    """Indices to train on and to test on; each digit has the same share in both."""
    train, test = train_test_split(
        np.arange(len(labels)), test_size=share, stratify=labels, random_state=seed
    )
    return np.sort(train), np.sort(test)


def draw_labelled(labels: Labels, seed: int) -> Indices:
    """Indices of `PER_DIGIT` examples of every digit."""
    rng = np.random.default_rng(seed)
    return np.concatenate(
        [
            rng.choice(np.flatnonzero(labels == digit), PER_DIGIT, replace=False)
            for digit in range(DIGITS)
        ]
    )


def interval(values: Sequence[float]) -> Interval:
    """The mean and Student's 95 % interval of independent values, at least 2."""
    mean = float(np.mean(values))
    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return Interval(mean, mean - half, mean + half)


def examples(*, validate: bool = False) -> Examples:
    """The digits in two parts; to validate, the parts are parts of the training digits."""
    images, labels = digits()
    large = np.stack([square(np.repeat(x[..., None], 3, -1), SIZE)[..., :1] for x in images])
    pixels = images.reshape(len(images), -1) / 255.0
    train, test = split(labels)
    if validate:
        known, asked = split(labels[train], VALIDATION_SHARE)
        train, test = train[known], train[asked]
    return Examples(
        large[train], pixels[train], labels[train], large[test], pixels[test], labels[test]
    )


def linear() -> GridSearchCV:
    """Linear SVM; its C is that which recognises most of what it was not fitted to."""
    return _searched(SVC(kernel="linear"), {"C": 10.0 ** np.arange(-4, 4)})


def rbf() -> GridSearchCV:
    """SVM with a Gaussian kernel, its C and gamma chosen in the same way."""
    return _searched(
        SVC(), {"C": 10.0 ** np.arange(-1, 3), "gamma": 10.0 ** np.arange(-3, 0.5, 0.5)}
    )


def _searched(classifier: Any, grid: dict[str, Any]) -> GridSearchCV:
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    return GridSearchCV(classifier, grid, cv=folds)


def accuracy(
    classifier: GridSearchCV, train: Vectors, labels: Labels, test: Vectors, test_labels: Labels
) -> float:
    """Share of the test examples that a classifier recognises, in percent."""
    if train.shape[1] > len(train):
        # Weights that are kept small lie in the span of the examples: the same classifier, faster.
        basis = np.linalg.svd(train, full_matrices=False)[2].T
        train, test = train @ basis, test @ basis
    return 100 * float(classifier.fit(train, labels).score(test, test_labels))


def supervised_accuracy(
    train: Images, labels: Labels, test: Images, test_labels: Labels, *, seed: int, steps: int
) -> float:
    """The same for the discriminator's network with 10 outputs, trained on labels alone."""
    logits, variables = _classifier(jax.random.key(seed))
    optimizer = make_optimizer("adam", SUPERVISED_RATE, b1=0.9)

    def loss(params: Any, key: Array) -> Array:
        wrong = -jax.nn.log_softmax(logits(params, scaled(train), key))
        return jnp.take_along_axis(wrong, jnp.asarray(labels, jnp.int32)[:, None], 1).mean()

    # A loop of Python: XLA runs convolutions slowly inside its own loops on a CPU.
    @jax.jit
    def step(player: TrainState, index: Array) -> TrainState:
        key = jax.random.fold_in(jax.random.key(seed), index)
        return apply_gradients(player, jax.grad(loss)(player.params, key), optimizer)

    player = init_player({"params": variables}, optimizer)
    for index in range(steps):
        player = step(player, jnp.asarray(index))
    said = jnp.argmax(logits(player.params, scaled(test), None), axis=1)
    return 100 * float(np.mean(np.asarray(said) == test_labels))


def _classifier(key: Key[Array, ""]) -> tuple[Callable[[Any, Array, Array | None], Array], Any]:
    network = task().discriminator
    network_key, head_key = jax.random.split(key)
    body: Any = network.init(network_key, jnp.zeros((1, SIZE, SIZE, 1)))["params"]
    fan_in = body["logits"]["kernel"].shape[0]
    kernel = jax.nn.initializers.glorot_uniform()(head_key, (fan_in, DIGITS))

    def logits(params: Any, images: Array, key: Array | None) -> Array:
        found = network.apply(
            {"params": params["body"]},
            images,
            train=key is not None,
            rngs={} if key is None else {"dropout": key},
            method="features",
        )
        return found @ params["kernel"] + params["bias"][None]

    return logits, {"body": body, "kernel": kernel, "bias": jnp.zeros(DIGITS)}


def study(
    data: Examples, *, seeds: int, steps: int, gans: int, supervised_steps: int
) -> dict[str, list[float]]:
    """Accuracy of every classifier in percent, seed by seed.

    The convolutional network has the first few seeds; with all labels there is a single fit.
    """
    watched = partial(track, console=Console(stderr=True))
    found: dict[str, list[float]] = {
        name: [] for name in (RAW, FEATURES, UNTRAINED, RAW_WHITENED, RBF, SUPERVISED)
    }
    pixels, test_pixels = data.train_pixels, data.test_pixels
    found[ALL_LABELS] = [
        accuracy(linear(), pixels, data.train_labels, test_pixels, data.test_labels)
    ]
    kinds: list[list[tuple[Vectors, Vectors]]] = []
    for seed in watched(range(gans), description=f"{gans} GANs, {steps} steps each"):
        pair = discriminators(data.train, seed=seed, steps=steps)
        kinds.append([features(d, data.train, data.test) for d in pair])
    whitened_pixels = pixel_features(pixels, test_pixels)
    for seed in watched(range(seeds), description=f"classifiers, {seeds} seeds"):
        chosen = draw_labelled(data.train_labels, seed)
        labels = data.train_labels[chosen]

        untrained, trained = kinds[seed % gans]
        for name, classifier, (known, asked) in (
            (RAW, linear(), (pixels, test_pixels)),
            (FEATURES, linear(), trained),
            (UNTRAINED, linear(), untrained),
            (RAW_WHITENED, linear(), whitened_pixels),
            (RBF, rbf(), (pixels, test_pixels)),
        ):
            fitted = known[chosen], labels, asked, data.test_labels
            found[name].append(accuracy(classifier, *fitted))
        if seed < SUPERVISED_SEEDS:
            known = data.train[chosen], labels, data.test, data.test_labels
            found[SUPERVISED].append(supervised_accuracy(*known, seed=seed, steps=supervised_steps))
    return found


def table(found: dict[str, list[float]]) -> str:
    """Accuracies and paired gains over the linear classifier on raw pixels, as Markdown."""
    lines = [
        ["", "seeds", "accuracy, %", "95 % interval", "gain, points", "95 % interval"],
        ["---"] * 6,
        ["*goal, for the discriminator's features*", "≥ 10", "", "", f"≥ {GOAL}", "above 0"],
    ]
    for name, values in found.items():
        if len(values) == 1:
            cells = ["one fit", f"{values[0]:.1f}", "–"]
        else:
            cells = [str(len(values)), *_cells(interval(values), "")]
        if name == RAW or len(values) == 1:
            cells += ["–", "–"]
        else:
            pairs = zip(values, found[RAW][: len(values)], strict=True)
            cells += _cells(interval([value - raw for value, raw in pairs]), "+")
        lines.append([name, *cells])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _cells(found: Interval, sign: str) -> list[str]:
    return [f"{found.mean:{sign}.1f}", f"{found.low:{sign}.1f} to {found.high:{sign}.1f}"]


def _notes(data: Examples, options: argparse.Namespace, seconds: float) -> str:
    game = f"{LOSS} with R1 {R1:g}, {options.steps} steps of {BATCH}"
    tested = "held-out quarter of the training images" if options.validate else "test images"
    return (
        f"{PER_DIGIT} labels of every digit, drawn anew for each seed; accuracy on "
        f"{len(data.test)} {tested}. Discriminators: {options.gans} GANs ({game}) on "
        f"{len(data.train)} images without labels; seed s takes GAN s modulo {options.gans}. "
        "Gains are over the linear classifier on raw pixels with the same labels; intervals are "
        "Student's over the seeds, as if independent, though all share the images and some share "
        f"a GAN. C (and gamma) by {FOLDS}-fold cross-validation on the given labels, for every "
        f"classifier alike. {seconds:.0f} s on {os.cpu_count()} CPU cores."
    )


def main() -> None:
    """Parses the command line, trains, tests and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=SEEDS, help="draws of labels, at least 2")
    parser.add_argument("--steps", type=int, default=STEPS, help="updates of each GAN")
    parser.add_argument("--gans", type=int, default=GANS, help="GANs, which the seeds share")
    parser.add_argument("--validate", action="store_true", help="leave the test images alone")
    options = parser.parse_args()
    for name, least in (("seeds", 2), ("steps", 1), ("gans", 1)):
        value = getattr(options, name)
        if value < least:
            parser.error(f"--{name} must be at least {least}, not {value}")
    started = time.perf_counter()
    data = examples(validate=options.validate)
    found = study(
        data,
        seeds=options.seeds,
        steps=options.steps,
        gans=options.gans,
        supervised_steps=min(SUPERVISED_STEPS, options.steps),
    )
    print(table(found), _notes(data, options, time.perf_counter() - started), sep="\n\n")


if __name__ == "__main__":
    main()
