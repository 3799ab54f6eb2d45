"""Randomness per example: by index in the batch, whatever the batch's size."""

import jax
import numpy as np

from retrojax.keys import fold_each, normal_each


def test_an_examples_key_is_the_fold_of_its_index():
    key = jax.random.key(3)
    keys = fold_each(key, 4)
    assert keys[2] == jax.random.fold_in(key, 2)


def test_an_examples_noise_does_not_depend_on_the_batch():
    key = jax.random.key(0)
    large, small = normal_each(key, (6, 8, 3)), normal_each(key, (2, 8, 3))
    np.testing.assert_array_equal(large[:2], small)
    assert np.unique(np.asarray(large)[:, 0, 0]).size == 6


def test_the_noise_is_standard_normal():
    noise = np.asarray(normal_each(jax.random.key(1), (40, 1000)))
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1) < 0.02
