"""PyTorch's pairs are the product's: the same look, draw for draw."""

import inspect
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.film import LOOKS, render
from retrojax.film.look import Halation
from retrojax.keys import fold_each
from retrojax.noise import normal
from retrojax.tasks.augmentation import vary_colours

torch = pytest.importorskip("torch")
from benchmarks import torch_film  # noqa: E402
from benchmarks.torch_film import Film, grain_field, rendered, varied  # noqa: E402

ROOT = Path(__file__).parents[2]
LOOK = LOOKS["faded-print"]
SIDE, PIXELS_PER_MM = 24, 14.2


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(0, 1, (3, SIDE, SIDE, 3)).astype(np.float32)


def test_the_look_is_the_products(images):
    keys = jax.random.split(jax.random.key(1), len(images))
    draw = jax.vmap(lambda k, x: render(k, x, LOOK, pixels_per_mm=PIXELS_PER_MM))
    # The renderer's second key of four is the grain's.
    white = jnp.stack([normal(jax.random.split(k, 4)[1], (4, SIDE, SIDE)) for k in keys])
    noise = grain_field(torch.from_numpy(np.array(white)), LOOK.grain, pixels_per_mm=PIXELS_PER_MM)
    found = rendered(torch.from_numpy(images), LOOK, noise)
    np.testing.assert_allclose(found, draw(keys, images), atol=2e-5)


def test_colours_are_varied_as_the_products(images):
    key = jax.random.key(2)
    stops, saturation = [], []
    for own in fold_each(key, len(images)):
        exposure_key, balance_key, saturation_key = jax.random.split(own, 3)
        balance = 0.15 * jax.random.normal(balance_key, (1, 1, 3))
        stops.append(0.6 * jax.random.normal(exposure_key) + balance)
        saturation.append(jnp.exp(0.3 * jax.random.normal(saturation_key, (1, 1, 1))))
    given = [torch.from_numpy(np.array(jnp.stack(drawn))) for drawn in (stops, saturation)]
    found = varied(torch.from_numpy(images), *given)
    np.testing.assert_allclose(found, vary_colours(key, jnp.asarray(images)), atol=2e-5)


@pytest.mark.parametrize("name", ["exposure", "white_balance", "saturation"])
def test_colours_are_varied_as_far_as_the_products(name):
    wanted = inspect.signature(vary_colours).parameters[name].default
    assert getattr(torch_film, name.upper()) == wanted


def test_pairs_are_cropped_to_the_middle():
    torch.manual_seed(0)
    raw = np.full((2, SIDE, SIDE, 3), 128, np.uint8)
    raw[:, :4] = raw[:, -4:] = raw[:, :, :4] = raw[:, :, -4:] = 0
    pairs = Film(LOOK, crop=16, pixels_per_mm=PIXELS_PER_MM).pairs({"source": raw})
    assert {x.shape for x in pairs.values()} == {(2, 3, 16, 16)}
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in pairs.values())
    # One grey, however it was varied: nothing of the black border is left.
    flat = pairs["source"].flatten(2)
    assert float((flat.amax(2) - flat.amin(2)).max()) < 1e-6
    assert float(pairs["target"].std(dim=(2, 3)).min()) > 0.01


@pytest.mark.parametrize("look", [LOOK.without("grain"), replace(LOOK, halation=Halation())])
def test_a_look_of_other_stages_is_refused(look):
    with pytest.raises(ValueError, match="a look of the stages exposure"):
        Film(look, crop=16, pixels_per_mm=PIXELS_PER_MM)


def test_pytorchs_other_clocks_load_no_jax():
    code = "import sys, benchmarks.torch_reference; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
