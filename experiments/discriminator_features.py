"""What a discriminator learned without labels, as features for a linear classifier.

Radford et al. 2016 (arXiv:1511.06434, section 5.1) pool the maps of all convolutions. Here the
pooled maps are also averaged over small moves of the image and whitened; neither needs labels.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from retrojax.losses import Penalties, adversarial_loss
from retrojax.models import DocumentDiscriminator, MLPGenerator
from retrojax.tasks.generation import GenerationTask
from retrojax.tasks.task import Variables
from retrojax.training.first_state import initial_state
from retrojax.training.optimizers import make_optimizer
from retrojax.training.step import make_step

SIDE: Final = 8
SIZE: Final = 16
BATCH: Final = 32
LOSS: Final = "bce"
R1: Final = 10.0
RATE: Final = 1e-3
GRID: Final = 4
RIDGE: Final = 3.0

Images = UInt8[np.ndarray, "n h w 1"]
Vectors = Float[np.ndarray, "n d"]


def task() -> GenerationTask:
    """The game whose discriminator is made use of."""
    return GenerationTask(
        generator=MLPGenerator((SIZE, SIZE, 1), widths=(256, 512), latent_size=64),
        discriminator=DocumentDiscriminator(dropout=0.0),
        loss=adversarial_loss(LOSS),
        size=SIZE,
        flip=False,
        penalties=Penalties(r1=R1),
    )


@cache
def _game() -> tuple[GenerationTask, Any, Any]:
    game = task()
    optimizers = (make_optimizer("adam", RATE), make_optimizer("adam", RATE))
    return game, optimizers, jax.jit(make_step(game, optimizers), donate_argnums=0)


def discriminators(images: Images, *, seed: int, steps: int) -> tuple[Variables, Variables]:
    """A discriminator before and after `steps` updates on images without labels."""
    game, optimizers, step = _game()
    rng = np.random.default_rng(seed)
    state = initial_state(game, {"source": images[:BATCH]}, optimizers, seed=seed, ema=False)
    untrained = jax.device_get(state.discriminator.variables)
    for _ in range(steps):
        batch = images[rng.choice(len(images), BATCH, replace=False)]
        state, _ = step(state, {"source": batch})
    return untrained, jax.device_get(state.discriminator.variables)


def features(discriminator: Variables, train: Images, test: Images) -> tuple[Vectors, Vectors]:
    """What a linear classifier is given in place of images to train on and images to test on.

    The maxima of all maps on a grid of 4x4 are averaged over moves of the image by up to a pixel
    of the original, so that a digit that lies a pixel away looks alike. Each layer is whitened,
    and the layers are laid side by side.
    """
    layers = [averaged(partial(maxima, discriminator), x, SIZE // SIDE) for x in (train, test)]
    pairs = [whitened(*layer) for layer in zip(*layers, strict=True)]
    known, asked = (np.concatenate(part, axis=1) for part in zip(*pairs, strict=True))
    return known, asked


def pixel_features(train: Vectors, test: Vectors) -> tuple[Vectors, Vectors]:
    """Raw pixels, averaged and whitened as the discriminator's maps are."""

    def flat(images: np.ndarray) -> list[np.ndarray]:
        return [images.reshape(len(images), -1)]

    known, asked = (
        averaged(flat, pixels.reshape(-1, SIDE, SIDE, 1), 1)[0] for pixels in (train, test)
    )
    return whitened(known, asked)


@jax.jit
def maxima(discriminator: Variables, images: UInt8[Array | np.ndarray, "n h w 1"]) -> list[Array]:
    """The maps of each convolution, first to last: their maxima on a grid of 4x4, flattened."""
    # Dropout, which is off, is what each map passes last.
    _, kept = task().discriminator.apply(
        discriminator,
        scaled(images),
        method="features",
        capture_intermediates=lambda module, _: (module.name or "").startswith("dropout"),
        mutable=["intermediates"],
    )
    return [_pooled(layer) for layer in jax.tree.leaves(kept)]


def averaged(
    describe: Callable[[np.ndarray], Sequence[Any]], images: np.ndarray, reach: int
) -> list[Vectors]:
    """Layers of features, averaged over all moves by up to `reach` pixels, black moving in."""
    height, width = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    moves = range(2 * reach + 1)
    places = [describe(padded[:, i : i + height, j : j + width]) for i in moves for j in moves]
    layers = zip(*places, strict=True)
    return [np.asarray(sum(layer), np.float64) / len(layer) for layer in layers]


def whitened(train: Vectors, test: Vectors) -> tuple[Vectors, Vectors]:
    """Divides principal components by sqrt(variance + ridge), so that none outweighs the rest.

    Mean, directions and variances are those of the images to train on, which need no labels (Coates
    and Ng 2012, "Learning feature representations with k-means"). The ridge is `RIDGE` mean
    variances.
    """
    mean = train.mean(0)
    _, scale, directions = np.linalg.svd(train - mean, full_matrices=False)
    variance = scale**2 / len(train)
    weights = directions.T / np.sqrt(variance + RIDGE * variance.mean())
    return (train - mean) @ weights, (test - mean) @ weights


def scaled(images: UInt8[Array | np.ndarray, "n h w 1"]) -> Float[Array, "n h w 1"]:
    """Raw images as the networks are given them, in [-1, 1]."""
    return jnp.asarray(images, jnp.float32) / 127.5 - 1.0


def _pooled(maps: Float[Array, "n h w c"]) -> Float[Array, "n d"]:
    n, h, w, c = maps.shape
    blocks = maps.reshape(n, GRID, h // GRID, GRID, w // GRID, c)
    return blocks.max((2, 4)).reshape(n, -1)
