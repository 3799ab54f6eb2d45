"""A game small enough to step in a test: per-pixel generator, one-layer critic, noise on."""

from collections.abc import Callable
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from retrojax.data.photos import Photo, PhotoData, Photos
from retrojax.film import Look, look
from retrojax.losses import adversarial_loss
from retrojax.models import PatchDiscriminator
from retrojax.tasks.paired import PairedTask


class PixelGenerator(nn.Module):
    """1x1 convolutions of [source, noise] with one batch norm and one tanh."""

    noise_channels: int = 1

    @nn.compact
    def __call__(self, source, noise=None, *, train=False):
        x = source if noise is None else jnp.concatenate([source, noise], -1)
        x = nn.Conv(4, (1, 1))(x)
        x = nn.relu(nn.BatchNorm(use_running_average=not train)(x))
        return nn.tanh(nn.Conv(3, (1, 1))(x))


@pytest.fixture(scope="session")
def make_task() -> Callable[..., PairedTask]:
    """Builds the tiny task; keywords change its fields."""

    def make(**changes) -> PairedTask:
        task = PairedTask(
            generator=PixelGenerator(),
            discriminator=PatchDiscriminator(features=4, layers=1, norm="batch"),
            loss=adversarial_loss("lsgan"),
            crop=8,
            look=Look(tone=look("sepia").tone, grain=look("sepia").grain),
            pixels_per_mm=14.0,
            blurred_l1_weight=0.0,
            l1_weight=2.0,
        )
        return replace(task, **changes)

    return make


@pytest.fixture(scope="session")
def raw() -> dict[str, np.ndarray]:
    """One raw batch of eight."""
    values = np.random.default_rng(0).integers(0, 256, (8, 10, 10, 3), dtype=np.uint8)
    return {"source": values}


@pytest.fixture(scope="session")
def photos() -> PhotoData:
    """Five photographs that differ, and one held out."""

    def read(index: int) -> Photo:
        rng = np.random.default_rng(index)
        return Photo(f"{index}.png", rng.integers(0, 256, (14, 17, 3), dtype=np.uint8), None)

    return PhotoData(Photos(5, read), (read(5),), "five tiny photographs", (), "tiny")
