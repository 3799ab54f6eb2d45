"""Distributions whose modes are known: Gaussians in the plane, and three digits stacked.

Each draws one image from one key, on the device, and judges a set of samples. Points in the plane
travel as images of one pixel with two channels. The centres, like those of the toys of Gulrajani
et al. (igul222/improved_wgan_training), are divided so that a coordinate has a variance of about 1.
"""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt8

from retrojax.data.embedded import digits, held_out_fifth
from retrojax.keys import fold_each
from retrojax.metrics.distribution import nearest
from retrojax.metrics.modes import ModeCoverage, label_coverage, point_coverage
from retrojax.tasks.generation import Batch, GenerationTask

Draw = Callable[[Key[Array, ""]], Float[Array, "h w c"]]


@dataclass(frozen=True)
class DrawnTask(GenerationTask):
    """The generation task on images that are drawn, not read: a raw batch is only a length.

    Attributes:
        draw: one real image from one key.
    """

    _: KW_ONLY
    draw: Draw

    def prepare(
        self,
        raw: dict[str, UInt8[Array | np.ndarray, "b ..."]],
        key: Any,
        step: Array | int = 0,
    ) -> Batch:
        """As many images as `raw["source"]` is long; each comes from `fold_in(key, index)`."""
        count = len(raw["source"])
        real = jax.vmap(self.draw)(fold_each(key, count))
        return {"real": real, **self.ramped(jnp.asarray(step, jnp.float32) * count)}


@dataclass(frozen=True)
class Gaussians:
    """Round Gaussians of equal weight in the plane.

    Attributes:
        centres: one row for each mode, [m, 2].
        deviation: along each axis.
    """

    centres: Float[np.ndarray, "m 2"]
    deviation: float

    shape = (1, 1, 2)

    @property
    def modes(self) -> int:
        """How many there are."""
        return len(self.centres)

    def draw(self, key: Key[Array, ""]) -> Float[Array, "1 1 2"]:
        """One point."""
        mode_key, noise_key = jax.random.split(key)
        mode = jax.random.randint(mode_key, (), 0, self.modes)
        noise = self.deviation * jax.random.normal(noise_key, (2,))
        return (jnp.asarray(self.centres, jnp.float32)[mode] + noise).reshape(self.shape)

    def judge(self, images: Float[np.ndarray, "n 1 1 2"]) -> ModeCoverage:
        """Coverage; a sample is of high quality within 3 deviations of its nearest centre."""
        return point_coverage(images.reshape(-1, 2), self.centres, deviation=self.deviation)


def ring() -> Gaussians:
    """8 modes on a circle of radius 2 with deviation 0.02, divided by 1.414."""
    # The end point would be the first mode once more: a ring of 7, one of them doubled.
    angles = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    return Gaussians(2 * np.stack([np.cos(angles), np.sin(angles)], axis=1) / 1.414, 0.02 / 1.414)


def grid() -> Gaussians:
    """25 modes at {-4, -2, 0, 2, 4}^2 with deviation 0.05, divided by 2.828."""
    axis = np.arange(-4.0, 5.0, 2.0)
    centres = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    return Gaussians(centres / 2.828, 0.05 / 2.828)


class StackedDigits:
    """Three random digits of 8x8 pixels as the channels of one image: 1000 modes.

    The digits are scikit-learn's. A support vector machine, fitted on the same four fifths that are
    drawn from, reads each channel.
    """

    shape = (8, 8, 3)
    modes = 1000

    def __init__(self) -> None:
        images, labels = digits()
        held = held_out_fifth(len(images))
        scaled = images.astype(np.float32) / 127.5 - 1
        self.images, self.labels = scaled[~held], labels[~held]
        self.held_images, self.held_labels = scaled[held], labels[held]

    def draw(self, key: Key[Array, ""]) -> Float[Array, "8 8 3"]:
        """One stack of three digits, in [-1, 1]."""
        index = jax.random.randint(key, (3,), 0, len(self.images))
        return jnp.moveaxis(jnp.asarray(self.images)[index], 0, -1)

    @cached_property
    def _classifier(self) -> Any:
        from sklearn.svm import SVC

        return SVC().fit(self.images.reshape(-1, 64), self.labels)

    @cached_property
    def _reach(self) -> float:
        """How far 95 % of the held-out digits are at most from the nearest digit drawn from."""
        return float(np.quantile(nearest(self.held_images, self.images)[1], 0.95))

    def read(self, digits: Float[np.ndarray, "n 8 8"]) -> Int[np.ndarray, "n"]:
        """Which digit each picture is taken for."""
        return self._classifier.predict(digits.reshape(-1, 64)).astype(np.int64)

    def accuracy(self) -> float:
        """Share of the held-out digits that are read right."""
        return float((self.read(self.held_images) == self.held_labels).mean())

    def judge(self, images: Float[np.ndarray, "n 8 8 3"]) -> ModeCoverage:
        """Coverage by what the channels are read as; every sample counts for its mode.

        A reader takes anything for a digit. So the share of high quality is that of single digits
        as near to a real one as 95 % of the held-out digits are; it does not decide about modes.
        """
        finite = np.asarray(np.isfinite(images).all(axis=(1, 2, 3)))
        clipped = np.clip(np.where(finite[:, None, None, None], images, 0.0), -1, 1)
        single = np.moveaxis(clipped, -1, 1).reshape(-1, 8, 8)
        labels = self.read(single).reshape(-1, 3) @ np.array([100, 10, 1])
        near = (nearest(single, self.images)[1] <= self._reach).reshape(-1, 3)
        found = label_coverage(np.where(finite, labels, -1), modes=self.modes)
        return found._replace(high_quality=float((near & finite[:, None]).mean()))
