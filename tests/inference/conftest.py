"""Small networks that stand for trained ones: what is tested here is everything around them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.inference.bundle import Bundle, load_bundle, save_bundle
from retrojax.models import LookGenerator, ResNetGenerator, UNetGenerator

LOOK_OPTIONS = {
    "lut_size": 4,
    "lut_gain": 1.0,
    "glow_features": 4,
    "glow_reach": 3,
    "texture_features": 3,
    "texture_size": 3,
    "noise_channels": 2,
}


def drawn(module, seed=0):
    """Variables with all parts alive: none starts at zero."""
    source = jnp.zeros((1, 32, 32, 3))
    noise = jnp.zeros((1, 32, 32, module.noise_channels)) if module.noise_channels else None
    shapes = jax.eval_shape(module.init, jax.random.key(0), source, noise)
    draw = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jnp.asarray(draw.normal(0, 0.3, leaf.shape), jnp.float32), shapes
    )


@pytest.fixture
def random_variables():
    """The function from a module to variables with all parts alive."""
    return drawn


@pytest.fixture
def look_folder(tmp_path):
    """A bundle of a `LookGenerator` for photographs of 72 pixels (2 per mm)."""
    return save_bundle(
        tmp_path / "look-model",
        variables=drawn(LookGenerator(**LOOK_OPTIONS)),
        generator_name="look",
        generator_options=LOOK_OPTIONS,
        about={"look": "test", "pixels_per_mm": 2.0},
    )


@pytest.fixture
def look(look_folder) -> Bundle:
    return load_bundle(look_folder)


@pytest.fixture
def resnet() -> Bundle:
    """Without a norm, so that its reach is finite."""
    module = ResNetGenerator(features=2, blocks=1, norm="none", noise_channels=1)
    return Bundle(module, drawn(module), {})


@pytest.fixture
def unet() -> Bundle:
    module = UNetGenerator(features=2, levels=2, norm="none", noise_channels=1)
    return Bundle(module, drawn(module), {})


@pytest.fixture
def photo():
    """A function from (height, width) to a picture with edges, gradients and detail."""

    def make(height, width, seed=0):
        y, x = np.mgrid[:height, :width]
        waves = [127 + 80 * np.sin(x / (5 + 3 * c) + y / (9 - 2 * c)) for c in range(3)]
        detail = np.random.default_rng(seed).normal(0, 20, (height, width, 3))
        return np.clip(np.stack(waves, -1) + detail, 0, 255).astype(np.uint8)

    return make
