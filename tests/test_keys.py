"""Randomness per example: by index in the batch, whatever the batch's size."""

import jax
import numpy as np
import pytest

from retrojax.keys import fold_each, keep_each, normal_each


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


def test_an_examples_mask_does_not_depend_on_the_batch():
    key = jax.random.key(0)
    (large, _), (small, _) = keep_each(key, 0.5, (6, 5, 3)), keep_each(key, 0.5, (2, 5, 3))
    np.testing.assert_array_equal(large[:2], small)
    assert len({row.tobytes() for row in np.asarray(large)}) == 6


@pytest.mark.parametrize("wanted", [0.7, 0.5, 0.01])
def test_a_mask_keeps_the_share_that_it_names_independently(wanted):
    keep, share = keep_each(jax.random.key(2), wanted, (40, 5001))
    assert share == pytest.approx(wanted, abs=2**-17) and (share * 2**16).is_integer()
    kept = np.asarray(keep).astype(float)
    deviation = (share * (1 - share)) ** 0.5
    # Over all, for the first and second of each pair alone, and whether one tells of the other.
    for values in (kept, kept[:, ::2], kept[:, 1::2]):
        assert abs(values.mean() - share) < 4 * deviation / values.size**0.5
    left, right = kept[:, :5000:2] - share, kept[:, 1::2] - share
    assert abs((left * right).mean()) < 4 * deviation**2 / left.size**0.5


@pytest.mark.parametrize(("wanted", "given"), [(1.0, 1.0), (1e-9, 2**-16)])
def test_masks_at_the_ends(wanted, given):
    keep, share = keep_each(jax.random.key(0), wanted, (2, 9))
    assert share == given and bool(keep.all()) == (wanted == 1.0)
