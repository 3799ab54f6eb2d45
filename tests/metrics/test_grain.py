import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from retrojax.metrics.grain import OCTAVES, deviation, octave_spectrum, sector_spectrum


def white(shape=(256, 256, 3), sigma=1.0, seed=0):
    return np.random.default_rng(seed).normal(0.0, sigma, shape)


def test_deviation_is_that_of_one_rendering():
    first, second = white(sigma=0.04, seed=1), white(sigma=0.04, seed=2)
    assert deviation(first - second) == pytest.approx(0.04, rel=0.01)
    assert deviation(first - second + np.array([0.1, -0.2, 0.3])) == pytest.approx(0.04, rel=0.01)
    assert deviation(np.zeros((32, 32, 3))) == 0.0


@pytest.mark.parametrize("shape", [(256, 256, 3), (192, 320, 3)])
def test_white_noise_is_flat_at_its_variance(shape):
    spectrum = octave_spectrum(white(shape, sigma=0.1))
    expected = 10 * np.log10(0.1**2)
    # The lowest band holds the fewest frequencies; the average of nine noises settles it.
    repeated = [octave_spectrum(white(shape, sigma=0.1, seed=seed)) for seed in range(9)]
    assert list(spectrum) == list(OCTAVES)[: len(spectrum)]
    for name in spectrum:
        mean = np.mean([one[name] for one in repeated])
        assert mean == pytest.approx(expected, abs=0.3), name


@pytest.mark.parametrize("shape", [(256, 256, 3), (192, 320, 3)])
def test_white_noise_is_isotropic(shape):
    levels = sector_spectrum(white(shape, sigma=0.1)).values()
    assert max(levels) - min(levels) < 0.3
    assert np.mean(list(levels)) == pytest.approx(-20.0, abs=0.3)


def test_octaves_follow_the_transfer_function_of_a_blur():
    noise = white()
    blurred = gaussian_filter(noise, (1.0, 1.0, 0), mode="wrap")
    before, after = octave_spectrum(noise), octave_spectrum(blurred)
    # |H|^2 = exp(-4 pi^2 f^2 sigma^2), averaged over the ring with the ring's area as weight.
    for name, (low, high) in OCTAVES.items():
        if low < 1 / 16:
            continue
        radius = np.linspace(low, high, 1001)
        gain = np.average(np.exp(-((2 * np.pi * radius) ** 2)), weights=radius)
        assert after[name] - before[name] == pytest.approx(10 * np.log10(gain), abs=0.4), name


def test_a_slow_gradient_does_not_leak_into_the_fine_octaves():
    ramp = np.broadcast_to(np.linspace(-0.5, 0.5, 256)[None, :, None], (256, 256, 3))
    noise = white(sigma=0.01)
    plain, tilted = octave_spectrum(noise), octave_spectrum(noise + ramp)
    for name in ("1/4-1/2", "1/8-1/4", "1/16-1/8"):
        assert tilted[name] == pytest.approx(plain[name], abs=0.1)


@pytest.mark.parametrize(
    ("direction", "sector"),
    [
        ((0, 1), "horizontal"),
        ((1, 0), "vertical"),
        ((1, 1), "diagonal-down"),
        ((1, -1), "diagonal-up"),
    ],
)
def test_a_wave_is_found_in_the_direction_it_varies_along(direction, sector):
    rows, columns = np.mgrid[:128, :128]
    phase = 0.15 * (direction[0] * rows + direction[1] * columns)
    wave = np.sin(2 * np.pi * phase)[:, :, None] + white((128, 128, 1), sigma=0.01)
    levels = sector_spectrum(wave)
    assert max(levels, key=levels.__getitem__) == sector
    assert levels[sector] > 20 + max(level for name, level in levels.items() if name != sector)


def test_oriented_noise_is_detected_and_round_noise_is_not():
    noise = white()
    oriented = gaussian_filter(noise, (2.0, 0.5, 0), mode="wrap")
    round_ = gaussian_filter(noise, (0.8, 0.8, 0), mode="wrap")
    oriented_levels, round_levels = sector_spectrum(oriented), sector_spectrum(round_)
    assert max(oriented_levels.values()) - min(oriented_levels.values()) > 6.0
    assert oriented_levels["horizontal"] > oriented_levels["vertical"] + 6.0
    assert max(round_levels.values()) - min(round_levels.values()) < 0.5


def test_small_images_lose_their_lowest_bands_and_tiny_ones_are_refused():
    assert list(octave_spectrum(white((32, 64, 3)))) == ["1/4-1/2", "1/8-1/4"]
    with pytest.raises(ValueError, match="at least 16 x 16"):
        octave_spectrum(white((8, 64, 3)))
    with pytest.raises(ValueError, match="larger crop or a wider band"):
        sector_spectrum(white((16, 16, 3)), band=(0.001, 0.002))
    with pytest.raises(ValueError, match="0 <= low < high <= 1/2"):
        sector_spectrum(white((16, 16, 3)), band=(0.25, 0.75))


def test_no_grain_has_a_finite_level():
    assert set(octave_spectrum(np.zeros((64, 64, 3))).values()) == {-120.0}
