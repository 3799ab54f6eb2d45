import math

import numpy as np
import pytest

from retrojax.metrics.modes import kl_to_uniform, label_coverage, point_coverage

SQUARE = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
ANGLES = np.arange(8) * np.pi / 4
RING = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)


def test_samples_on_all_centres_are_perfect():
    found = point_coverage(np.repeat(RING, 5, axis=0), RING, deviation=0.01)
    assert found == (8, 1.0, pytest.approx(0.0))


def test_one_mode_of_eight_is_ln_8_from_uniform():
    found = point_coverage(np.repeat(RING[:1], 40, axis=0), RING, deviation=0.01)
    assert found == (1, 1.0, pytest.approx(math.log(8)))


def test_samples_between_the_modes_cover_nothing():
    between = np.full((6, 2), 0.5)
    found = point_coverage(between, SQUARE, deviation=0.1)
    assert found.modes == 0 and found.high_quality == 0.0


def test_three_deviations_are_the_border_in_distance_not_along_an_axis():
    points = np.array([[0.0, 0.299], [0.299, 1.0], [1.0 - 0.25, 0.25]])
    found = point_coverage(points, SQUARE, deviation=0.1)
    assert found.modes == 2
    assert found.high_quality == pytest.approx(2 / 3)


def test_the_divergence_counts_samples_of_low_quality_with_their_nearest_mode():
    """Shares 1/2 and 1/2 of four modes: ln 4 - ln 2."""
    points = np.array([[0.0, 0.0], [0.4, 0.1], [1.0, 0.0], [0.7, 0.1]])
    found = point_coverage(points, SQUARE, deviation=0.01)
    assert found == (2, 0.5, pytest.approx(math.log(2)))


def test_real_samples_score_what_a_gaussian_in_the_plane_does():
    rng = np.random.default_rng(0)
    points = RING[rng.integers(8, size=20_000)] + rng.normal(scale=0.01, size=(20_000, 2))
    found = point_coverage(points, RING, deviation=0.01)
    assert found.modes == 8
    assert found.high_quality == pytest.approx(1 - math.exp(-4.5), abs=0.003)
    assert found.reverse_kl == pytest.approx(7 / 40_000, abs=5e-4)


def test_points_that_are_not_finite_belong_to_no_mode():
    points = np.array([[np.nan, 0.0], [np.inf, 1.0], [0.0, 0.0], [1.0, 1.0]], np.float32)
    found = point_coverage(points, SQUARE, deviation=0.1)
    assert found == (2, 0.5, pytest.approx(math.log(2)))
    lost = point_coverage(points[:2], SQUARE, deviation=0.1)
    assert lost[:2] == (0, 0.0) and math.isnan(lost.reverse_kl)


def test_labels_are_counted_as_they_are():
    found = label_coverage(np.array([0, 0, 3, -1]), modes=4)
    assert found == (2, 0.75, pytest.approx(math.log(4) - math.log(3) + 2 / 3 * math.log(2)))


def test_uniform_counts_have_no_divergence_and_no_counts_have_none():
    assert kl_to_uniform(np.full(1000, 7)) == pytest.approx(0.0, abs=1e-12)
    assert math.isnan(kl_to_uniform(np.zeros(3, np.int64)))
