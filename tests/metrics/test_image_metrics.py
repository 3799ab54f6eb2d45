import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from retrojax.metrics.image import check_pair, colour_difference, luma_similarity


def smooth_image(seed=0, size=64):
    noise = np.random.default_rng(seed).normal(size=(size, size, 3))
    image = gaussian_filter(noise, (6, 6, 0), mode="reflect")
    return (0.5 + 0.3 * image / np.abs(image).max()).astype(np.float32)


def grey(value, size=32):
    return np.full((size, size, 3), value, np.float32)


def test_equal_images_have_no_difference_and_full_similarity():
    image = smooth_image()
    assert colour_difference(image, image) == pytest.approx(0.0, abs=1e-9)
    assert luma_similarity(image, image) == pytest.approx(1.0)


def test_black_against_white_is_one_hundred():
    # CIEDE2000 between L* = 0 and L* = 100: the lightness weight at mean L* = 50 is one.
    assert colour_difference(grey(0.0), grey(1.0)) == pytest.approx(100.0, abs=0.01)


def test_colour_difference_is_symmetric_and_grows_with_the_cast():
    image = smooth_image()
    slight, strong = (
        np.clip(image * np.array([1.0, 1.0, gain], np.float32), 0, 1) for gain in (0.95, 0.8)
    )
    assert colour_difference(image, slight) == pytest.approx(colour_difference(slight, image))
    assert 0.5 < colour_difference(image, slight) < 0.5 * colour_difference(image, strong)


def test_blur_takes_fine_grain_out_of_the_colour_difference():
    image = smooth_image()
    rng = np.random.default_rng(1)
    grainy = np.clip(image + rng.normal(0, 0.05, image.shape), 0, 1).astype(np.float32)
    pixelwise = colour_difference(grainy, image, sigma=0.0)
    assert colour_difference(grainy, image) < 0.15 * pixelwise


def test_structure_ignores_hue_but_not_blur():
    image = smooth_image(size=96)
    # A change of colour that leaves Rec.709 luma alone: red up by d, blue down to balance.
    recoloured = image.copy()
    recoloured[..., 0] += 0.02
    recoloured[..., 2] -= 0.02 * 0.2126 / 0.0722
    assert luma_similarity(recoloured, image) == pytest.approx(1.0, abs=1e-6)
    detail = np.random.default_rng(2).uniform(0.2, 0.8, image.shape).astype(np.float32)
    blurred = gaussian_filter(detail, (1.5, 1.5, 0))
    assert luma_similarity(blurred, detail) < 0.6


def test_bad_input_is_refused_with_the_way_out():
    image = grey(0.5)
    with pytest.raises(ValueError, match="one size.*resize or crop"):
        check_pair(image, grey(0.5, size=16))
    with pytest.raises(ValueError, match=r"target must lie in \[0, 1\].*divide uint8 by 255"):
        luma_similarity(image, grey(128.0))
    with pytest.raises(ValueError, match=r"output must lie in \[0, 1\]"):
        colour_difference(grey(np.nan), image)
    with pytest.raises(ValueError, match="at least 11 x 11"):
        luma_similarity(grey(0.5, size=8), grey(0.5, size=8))
