import numpy as np
import pytest

from retrojax.metrics import coverage, nearest, nearest_distances


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_images_of_the_same_distribution_cover_what_the_paper_expects(rng):
    """Naeem et al. 2020, section 4: 1 - 2^-k for equal numbers; k = 5."""
    real, other = rng.normal(size=(2, 600, 2, 2, 3))
    assert coverage(real, other) == pytest.approx(1 - 2**-5, abs=0.02)


def test_one_memorised_image_covers_its_neighbourhood_only(rng):
    real = rng.normal(size=(200, 2, 2, 3))
    copies = np.repeat(real[:1], 200, axis=0)
    assert 0 < coverage(real, copies) < 0.2


def test_images_far_away_cover_nothing_and_the_real_ones_everything(rng):
    real = rng.normal(size=(50, 4))
    assert coverage(real, real + 100) == 0.0
    assert coverage(real, real) == 1.0


def test_half_the_modes_cover_half(rng):
    centres = np.repeat([[0.0, 0.0], [50.0, 0.0]], 100, axis=0)
    real = centres + rng.normal(size=(200, 2))
    other = rng.normal(size=(200, 2))
    assert coverage(real, other) == pytest.approx(0.5, abs=0.05)


def test_too_few_images_are_refused():
    with pytest.raises(ValueError, match="more than 5 real images, got 5"):
        coverage(np.zeros((5, 2)), np.zeros((5, 2)))


def test_the_nearest_image_is_found_with_its_distance(rng):
    among = rng.normal(size=(30, 3, 3, 1))
    index, distance = nearest(among[[4, 7]] + 0.01, among)
    assert list(index) == [4, 7]
    np.testing.assert_allclose(distance, 0.03, rtol=1e-6)


def test_an_image_is_not_its_own_neighbour():
    points = np.array([[0.0], [1.0], [5.0]])
    np.testing.assert_allclose(nearest_distances(points), [1.0, 1.0, 4.0])
