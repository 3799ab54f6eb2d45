"""Gradient penalties of critics whose gradients are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.losses import gradient_penalty, zero_centred_penalty

SHAPE = (3, 4, 5, 2)


@pytest.fixture
def images():
    return jax.random.normal(jax.random.key(0), SHAPE)


@pytest.fixture
def slope():
    return jax.random.normal(jax.random.key(1), SHAPE[1:])


def test_zero_centred_penalty_of_a_linear_critic_is_its_squared_slope(images, slope):
    penalty = zero_centred_penalty(lambda x: (x * slope[None]).sum((1, 2, 3)), images)
    assert penalty.shape == (3,) and penalty.dtype == jnp.float32
    np.testing.assert_allclose(penalty, np.full(3, (slope**2).sum()), rtol=1e-5)


def test_zero_centred_penalty_is_taken_at_the_images_themselves(images):
    penalty = zero_centred_penalty(lambda x: 0.5 * (x**2).sum((1, 2, 3)), images)
    np.testing.assert_allclose(penalty, (images**2).sum((1, 2, 3)), rtol=1e-5)


def test_gradient_penalty_of_a_linear_critic(images, slope):
    penalty = gradient_penalty(
        lambda x: (x * slope[None]).sum((1, 2, 3)), jax.random.key(2), images, -images
    )
    norm = np.sqrt((np.asarray(slope) ** 2).sum())
    np.testing.assert_allclose(penalty, np.full(3, (norm - 1) ** 2), rtol=1e-5)


def test_gradient_penalty_lies_between_real_and_fake(images):
    """With critic |x|^2 / 2 the gradient is the mixed image, so its norm tells where it lies."""
    real, fake = images, jnp.zeros_like(images)
    penalty = gradient_penalty(lambda x: 0.5 * (x**2).sum((1, 2, 3)), jax.random.key(3), real, fake)
    length = np.sqrt((np.asarray(real) ** 2).sum((1, 2, 3)))
    weights = np.stack([(1 + np.sqrt(penalty)) / length, (1 - np.sqrt(penalty)) / length])
    assert ((weights >= 0) & (weights <= 1)).any(axis=0).all()
    assert np.unique(np.asarray(penalty)).size == 3


def test_gradient_penalty_draws_by_index_not_by_batch(images):
    critic = lambda x: 0.5 * (x**2).sum((1, 2, 3))  # noqa: E731
    key = jax.random.key(4)
    whole = gradient_penalty(critic, key, images, -images)
    np.testing.assert_allclose(
        whole[:2], gradient_penalty(critic, key, images[:2], -images[:2]), rtol=1e-6
    )


def test_a_flat_critic_has_a_finite_second_derivative(images):
    def total(scale):
        critic = lambda x: scale * 0.0 * x.sum((1, 2, 3))  # noqa: E731
        return gradient_penalty(critic, jax.random.key(5), images, images).sum()

    assert np.isfinite(jax.grad(total)(1.0))


def test_the_penalty_is_differentiable_in_the_critics_params(images):
    """d/ds of sum |s x|^2 is 2 s sum |x|^2."""

    def total(s):
        return zero_centred_penalty(lambda x: 0.5 * s * (x**2).sum((1, 2, 3)), images).sum()

    np.testing.assert_allclose(jax.grad(total)(0.7), 2 * 0.7 * (images**2).sum(), rtol=1e-5)


def test_shapes_that_do_not_pair_are_refused(images):
    # The annotation check that runs in tests speaks first; without it the function does.
    with pytest.raises((ValueError, TypeError), match="shape|Type-check"):
        gradient_penalty(lambda x: x.sum((1, 2, 3)), jax.random.key(0), images, images[:2])
