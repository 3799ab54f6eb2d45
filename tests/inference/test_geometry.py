"""How far a generator looks is measured and compared with what is said of it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.inference.geometry import geometry
from retrojax.models import (
    GENERATORS,
    DCGANDiscriminator,
    DCGANGenerator,
    PatchDiscriminator,
    PixelDiscriminator,
    ResNetGenerator,
    SinCUTGenerator,
)

SMALL = {"features": 2, "blocks": 1}
MODULES = {
    "resnet": ResNetGenerator(**SMALL, norm="none"),
    "down": ResNetGenerator(**SMALL, norm="none", antialias_down=True),
    "up": ResNetGenerator(**SMALL, norm="none", antialias_up=True),
    "both": ResNetGenerator(
        features=2, blocks=3, norm="none", antialias_down=True, antialias_up=True
    ),
    "sincut": SinCUTGenerator(**SMALL, noise_channels=0),
}


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)
def test_nothing_beyond_the_reach_has_influence(module, random_variables):
    multiple, reach, _ = geometry(module)
    side = 128
    source = np.random.default_rng(0).uniform(-1, 1, (1, side, side, 3)).astype(np.float32)
    image = jax.jit(partial(module.apply, random_variables(module)))
    before = image(jnp.asarray(source))
    farthest = 0
    for place in range(60, 60 + multiple):
        after = image(jnp.asarray(source).at[0, place, place].add(1.0))
        rows = np.flatnonzero((np.asarray(after) != np.asarray(before))[0].any((1, 2)))
        farthest = max(farthest, place - rows[0], rows[-1] - place)
    assert reach / 2 < farthest <= reach


def test_every_generator_for_photographs_has_a_geometry():
    for generator in GENERATORS.values():
        assert geometry(generator()).multiple >= 1


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (PatchDiscriminator(), "a PatchDiscriminator judges photographs and changes none; give"),
        (PixelDiscriminator(), "a PixelDiscriminator judges"),
        (DCGANGenerator(), "makes images from noise.*use retrojax generate"),
        (DCGANDiscriminator(), "DCGANDiscriminator is no generator of retrojax"),
    ],
)
def test_what_changes_no_photograph_says_so(module, message):
    with pytest.raises(ValueError, match=message):
        geometry(module)
