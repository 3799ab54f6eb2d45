import numpy as np
import pytest

from retrojax.metrics.translation import luma_correlation, translation_figures

RNG = np.random.default_rng(0)
SOURCE = RNG.integers(0, 256, (2, 24, 24, 3), dtype=np.uint8)


def test_correlation_of_luma_ignores_contrast_and_is_lost_by_noise():
    darker = (SOURCE[0] * 0.5 + 20).astype(np.uint8)
    assert luma_correlation(SOURCE[0], darker) > 0.99
    assert luma_correlation(SOURCE[0], 255 - SOURCE[0]) == pytest.approx(-1.0)
    assert abs(luma_correlation(SOURCE[0], SOURCE[1])) < 0.2
    assert luma_correlation(SOURCE[0], np.full_like(SOURCE[0], 9)) == 0.0


def test_colour_error_is_given_beside_the_inputs_where_the_truth_is_known():
    target = (SOURCE * 0.6).astype(np.uint8)
    untouched = translation_figures(SOURCE, SOURCE, target)
    assert untouched["colour_ratio"] == 1.0 and untouched["colour_error"] > 3
    assert translation_figures(SOURCE, target, target)["colour_ratio"] == 0.0
    assert set(translation_figures(SOURCE, target, None)) == {"luma_correlation"}
