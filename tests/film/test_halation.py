"""Halation: light that is added around highlights, of a known shape on the film."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.film.colour import LUMINANCE
from retrojax.film.halation import LOBE_WEIGHTS, halate
from retrojax.film.look import Halation

halate = jax.jit(halate, static_argnames="pixels_per_mm")
SHARP = Halation(strength=0.8, threshold=0.5, softness=0.005, radius_um=100.0)


def frame(height=72, width=96):
    return np.zeros((height, width, 3), np.float32)


def glow(linear, halation, pixels_per_mm=20.0):
    return np.asarray(halate(jnp.asarray(linear), halation, pixels_per_mm=pixels_per_mm)) - linear


@pytest.mark.parametrize("radius_um", [10.0, 100.0, 450.0])
def test_light_is_only_added(radius_um):
    linear = np.random.default_rng(0).uniform(0.0, 2.0, (72, 96, 3)).astype(np.float32)
    linear[linear < 1.6] = 0.0
    added = glow(linear, Halation(softness=0.01, radius_um=radius_um))
    assert added.min() >= 0.0
    assert added.max() > 0.01


def test_nothing_is_added_where_no_light_passes_the_threshold():
    linear = np.random.default_rng(0).uniform(0.0, 0.45, (72, 96, 3)).astype(np.float32)
    assert np.abs(glow(linear, SHARP)).max() < 1e-5
    linear[30, 40] = 1.0
    assert glow(linear, SHARP).max() > 1e-3


def test_a_point_of_light_glows_in_three_gaussian_lobes():
    colour = (1.0, 0.5, 0.2)
    linear = frame()
    linear[36, 48] = 1.0
    added = glow(linear, Halation(0.8, 0.5, 0.005, 100.0, colour))
    y, x = np.mgrid[:72, :96] - np.asarray([36, 48]).reshape(2, 1, 1)
    expected = np.zeros((72, 96, 3))
    for k, weight in enumerate((4 / 7, 2 / 7, 1 / 7), start=1):
        sigma = k * 0.1 * 20.0  # Pixels.
        lobe = np.exp(-(y**2 + x**2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)
        expected += weight * lobe[..., None] * np.asarray(colour) ** k
    np.testing.assert_allclose(added, 0.8 * 0.5 * expected, atol=2e-6)
    assert sum(LOBE_WEIGHTS) == pytest.approx(1.0)


def test_red_reaches_further_for_a_red_colour():
    linear = frame()
    linear[36, 48] = 4.0
    added = glow(linear, SHARP)[36, 48:70]
    red_over_blue = added[:, 0] / np.maximum(added[:, 2], 1e-12)
    assert red_over_blue[12] > 3 * red_over_blue[0]
    assert (np.diff(red_over_blue[:12]) > 0).all()
    reached = [(added[:, c] > added[0, c] / 50).sum() for c in range(3)]
    assert reached[0] > reached[1] > reached[2]


def test_a_white_colour_glows_white():
    linear = frame()
    linear[36, 48] = [3.0, 0.5, 0.5]
    added = glow(linear, Halation(colour=(1.0, 1.0, 1.0)))
    np.testing.assert_allclose(added[..., 0], added[..., 2], atol=1e-6)


def test_a_flat_frame_gains_the_same_everywhere_its_borders_too():
    light = np.asarray([0.9, 0.8, 0.7], np.float32)
    added = glow(frame() + light, SHARP)
    excess = light @ np.asarray(LUMINANCE) - 0.5
    colour = np.asarray(SHARP.colour)
    gain = sum(weight * colour**k for k, weight in enumerate(LOBE_WEIGHTS, start=1))
    np.testing.assert_allclose(added, np.broadcast_to(0.8 * excess * gain, added.shape), rtol=1e-3)


def test_the_glow_is_the_same_on_the_film_at_twice_the_resolution():
    coarse = frame(36, 48)
    coarse[14:20, 20:26] = 2.0
    fine = coarse.repeat(2, axis=0).repeat(2, axis=1)
    halation = Halation(radius_um=200.0)
    scanned = glow(fine, halation, 20.0).reshape(36, 2, 48, 2, 3).mean((1, 3))
    np.testing.assert_allclose(scanned, glow(coarse, halation, 10.0), atol=8e-3)
    assert scanned.max() > 0.3


def test_the_light_added_grows_with_the_excess_alone():
    linear = frame()
    linear[36, 48] = 1.0
    brighter = frame()
    brighter[36, 48] = 1.5
    np.testing.assert_allclose(glow(brighter, SHARP), 2 * glow(linear, SHARP), atol=2e-6)
