"""Grain: the spectrum, the strength and the direction that the module's docstring promises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.film import Look, render
from retrojax.film.grain import add_grain, grain_field
from retrojax.film.look import Grain

# 48 um aperture, in square millimetres.
APERTURE = np.pi * 0.024**2
SIGMA_MM = 0.1 / 2.3548  # Of a clump 100 um wide at half its height.
GRAIN = Grain(strength=0.05, size_um=100.0, chroma=1.0)

field = jax.jit(grain_field, static_argnames=("height", "width", "pixels_per_mm"))
add = jax.jit(add_grain, static_argnames="pixels_per_mm")
film = jax.jit(render)


def density(encoded):
    """Density on the film, whose deepest black (density 3) was set to 0."""
    deepest = 10 ** (-3.0 / 2.2)
    return -2.2 * np.log10(deepest + (1 - deepest) * np.asarray(encoded, np.float64))


def spectrum(noise, pixels_per_mm):
    """Power spectral density in mm^2, and the frequency of each bin in cycles per mm."""
    height, width = noise.shape[:2]
    power = np.abs(np.fft.fft2(noise, axes=(0, 1))) ** 2 / (height * width * pixels_per_mm**2)
    f = np.hypot(
        np.fft.fftfreq(height, 1 / pixels_per_mm)[:, None],
        np.fft.fftfreq(width, 1 / pixels_per_mm)[None],
    )
    return power.mean(axis=2), f


@pytest.fixture(scope="module")
def scans():
    """Noise of density of one flat mid-grey frame, 24 x 36 mm, at 10 and at 20 pixels per mm."""
    look = Look(grain=GRAIN)
    noise = {}
    for pixels_per_mm in (10, 20):
        shape = (24 * pixels_per_mm, 36 * pixels_per_mm, 3)
        grey = jnp.asarray(np.full(shape, 0.5, np.float32))
        noise[pixels_per_mm] = density(film(jax.random.key(pixels_per_mm), grey, look))
        noise[pixels_per_mm] -= density(0.5)
    # In units of the noise at density 1.
    rms = np.sqrt((density(0.5) + 0.06) / 1.06)
    return {pixels_per_mm: values / rms for pixels_per_mm, values in noise.items()}


def test_the_spectrum_on_the_film_does_not_depend_on_the_resolution(scans):
    rings = np.arange(0.5, 5.0, 0.5)
    levels = []
    for pixels_per_mm, noise in scans.items():
        power, f = spectrum(noise, pixels_per_mm)
        levels.append([power[(f >= low) & (f < low + 0.5)].mean() for low in rings])
    np.testing.assert_allclose(levels[0], levels[1], rtol=0.1)


@pytest.mark.parametrize("pixels_per_mm", [10, 20])
def test_the_spectrum_is_the_gaussian_of_selwyns_law(scans, pixels_per_mm):
    power, f = spectrum(scans[pixels_per_mm], pixels_per_mm)
    for low in np.arange(0.5, 5.0, 0.5):
        ring = (f >= low) & (f < low + 0.5)
        law = 0.05**2 * APERTURE * np.exp(-4 * np.pi**2 * SIGMA_MM**2 * f[ring] ** 2)
        assert power[ring].mean() == pytest.approx(law.mean(), rel=0.08), low


@pytest.mark.parametrize("pixels_per_mm", [4.0, 10.0, 20.0])
def test_the_rms_is_the_spectrum_summed_up_to_the_scans_nyquist_frequency(pixels_per_mm):
    from scipy.special import erf

    noise = field(jax.random.key(1), 250, 330, GRAIN, pixels_per_mm=pixels_per_mm)
    one_axis = erf(np.pi * SIGMA_MM * pixels_per_mm) / (2 * np.sqrt(np.pi) * SIGMA_MM)
    assert np.std(noise) == pytest.approx(0.05 * np.sqrt(APERTURE) * one_axis, rel=0.03)
    assert abs(np.mean(noise)) < 0.1 * np.std(noise)


def test_strength_is_proportional():
    one, three = (
        field(jax.random.key(1), 24, 40, Grain(strength=s), pixels_per_mm=10.0)
        for s in (0.05, 0.15)
    )
    np.testing.assert_allclose(three, 3 * np.asarray(one), rtol=1e-4, atol=1e-6)


def test_the_grain_has_no_direction():
    """Autocorrelation at four lags of one length, each exp(-r^2 / 4 sigma^2)."""
    grain = Grain(size_um=300.0, chroma=1.0)
    noise = np.asarray(field(jax.random.key(2), 250, 330, grain, pixels_per_mm=20.0))
    variance = np.mean(noise**2)
    expected = np.exp(-((5 / 20) ** 2) / (4 * (3 * SIGMA_MM) ** 2))
    for dy, dx in ((5, 0), (0, 5), (3, 4), (4, 3)):
        along = np.mean(noise[dy:, dx:] * noise[: 250 - dy, : 330 - dx]) / variance
        mirrored = np.mean(noise[dy:, : 330 - dx] * noise[: 250 - dy, dx:]) / variance
        assert along == pytest.approx(expected, abs=0.05)
        assert mirrored == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("chroma", [0.0, 0.3, 1.0])
def test_chroma_sets_the_correlation_of_the_layers_and_leaves_their_power(chroma):
    grain = Grain(strength=0.05, size_um=40.0, chroma=chroma)
    noise = np.asarray(field(jax.random.key(3), 250, 330, grain, pixels_per_mm=10.0))
    correlation = np.corrcoef(noise.reshape(-1, 3).T)
    expected = (1 - chroma) ** 2 / ((1 - chroma) ** 2 + chroma**2)
    np.testing.assert_allclose(correlation[[0, 0, 1], [1, 2, 2]], expected, atol=0.03)
    grey = field(jax.random.key(3), 250, 330, Grain(0.05, 40.0, chroma=0.0), pixels_per_mm=10.0)
    np.testing.assert_allclose(noise.std((0, 1)), np.std(grey), rtol=0.03)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_the_strength_follows_the_density_under_it(power):
    grain = Grain(strength=0.02, size_um=60.0, density_power=power)
    levels = np.asarray([0.05, 0.2, 0.5, 0.8, 0.97], np.float32)
    strips = np.broadcast_to(levels.reshape(1, 5, 1, 1), (24, 5, 8, 3)).reshape(24, 40, 3)
    out = add(jax.random.key(4), jnp.asarray(strips), grain, pixels_per_mm=10.0)
    noise = np.asarray(field(jax.random.key(4), 24, 40, grain, pixels_per_mm=10.0))
    expected = ((density(strips) + 0.06) / 1.06) ** power * noise
    np.testing.assert_allclose(density(out) - density(strips), expected, atol=2e-5)


def test_in_the_picture_it_is_strongest_in_the_mid_tones_and_weaker_in_black_and_white():
    levels = np.linspace(0.0, 1.0, 21)
    flat = (jnp.asarray(np.full((24, 40, 3), v, np.float32)) for v in levels)
    rms = [np.std(add(jax.random.key(5), x, GRAIN, pixels_per_mm=10.0)) for x in flat]
    # film * sqrt(density + fog) is largest at this density.
    strongest = 10 ** -((2.2 / (2 * np.log(10)) - 0.06) / 2.2)
    deepest = 10 ** (-3.0 / 2.2)
    expected = (strongest - deepest) / (1 - deepest)
    assert levels[np.argmax(rms)] == pytest.approx(expected, abs=0.05)
    assert 0 < max(rms[0], rms[-1]) < 0.6 * max(rms)


def test_values_beyond_the_range_are_clipped_before_the_grain():
    over, full = (
        add(jax.random.key(6), jnp.full((24, 40, 3), v), GRAIN, pixels_per_mm=10.0)
        for v in (1.7, 1.0)
    )
    np.testing.assert_array_equal(over, full)


def test_one_key_is_one_pattern():
    draw = lambda seed: field(jax.random.key(seed), 24, 40, GRAIN, pixels_per_mm=10.0)  # noqa: E731
    np.testing.assert_array_equal(draw(1), draw(1))
    assert abs(np.corrcoef(np.ravel(draw(1)), np.ravel(draw(2)))[0, 1]) < 0.2
