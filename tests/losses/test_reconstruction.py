"""L1 and L1 between blurred images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.losses import blurred_l1, l1, l2
from retrojax.losses.reconstruction import blur


def test_l1_is_the_mean_absolute_difference_of_each_image():
    a = jnp.zeros((2, 4, 4, 3))
    b = jnp.stack([jnp.full((4, 4, 3), 0.5), jnp.full((4, 4, 3), -2.0)])
    np.testing.assert_allclose(l1(a, b), [0.5, 2.0])


def test_l2_is_the_mean_squared_difference_of_each_image():
    a = jnp.zeros((2, 4, 4, 3))
    b = jnp.stack([jnp.full((4, 4, 3), 0.5), jnp.full((4, 4, 3), -2.0)])
    np.testing.assert_allclose(l2(a, b), [0.25, 4.0])


def test_blur_of_a_point_is_the_binomial_square():
    point = jnp.zeros((1, 9, 9, 1)).at[0, 4, 4, 0].set(1.0)
    taps = np.array([1, 4, 6, 4, 1]) / 16
    np.testing.assert_allclose(blur(point)[0, :, :, 0], np.outer(taps, taps), atol=1e-7)


def test_blur_keeps_constants_and_invents_no_border():
    image = jnp.full((1, 8, 10, 3), 0.7)
    np.testing.assert_allclose(blur(image), np.full((1, 4, 6, 3), 0.7), rtol=1e-6)


def test_blurred_l1_sees_an_offset_whole_and_a_checkerboard_not_at_all():
    rng = np.random.default_rng(0)
    image = jnp.asarray(rng.uniform(size=(1, 12, 12, 3)), jnp.float32)
    np.testing.assert_allclose(blurred_l1(image, image + 0.3), [0.3], rtol=1e-5)
    board = jnp.asarray(np.indices((12, 12)).sum(0) % 2 - 0.5, jnp.float32)[None, :, :, None]
    assert blurred_l1(image, image + board)[0] < 1e-6
    assert l1(image, image + board)[0] == pytest.approx(0.5)


def test_blurred_l1_passes_a_gradient_to_every_pixel():
    image = jnp.zeros((1, 8, 8, 3))
    gradient = jax.grad(lambda x: blurred_l1(x, image + 1).sum())(image)
    assert (gradient < 0).all()


@pytest.mark.parametrize("size", [0, 4])
def test_even_blurs_are_refused(size):
    with pytest.raises(ValueError, match=f"positive odd number of taps, not {size}"):
        blur(jnp.zeros((1, 8, 8, 3)), size=size)


def test_images_smaller_than_the_blur_are_refused():
    with pytest.raises(ValueError, match="smaller than the blur"):
        blur(jnp.zeros((1, 4, 8, 3)))
