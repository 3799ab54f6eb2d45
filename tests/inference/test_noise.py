"""Noise by position: its distribution, and the same whatever tile it is asked for in."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from retrojax.inference.noise import noise_at


def test_the_noise_is_white_standard_and_normal_and_belongs_to_its_place():
    key, zero = jax.random.key(5, impl="threefry2x32"), jnp.int32(0)
    whole = np.asarray(noise_at(key, zero, zero, 256, 256, 3))
    part = np.asarray(noise_at(key, jnp.int32(100), jnp.int32(37), 64, 48, 3))
    np.testing.assert_array_equal(part, whole[100:164, 37:85])
    assert stats.kstest(whole.ravel(), "norm").pvalue > 0.01
    power = np.abs(np.fft.fftn(whole)) ** 2 / whole.size
    # Of white noise the largest of n bins is log(n), give or take a few.
    assert power.max() < np.log(whole.size) + 5
    other = np.asarray(noise_at(jax.random.fold_in(key, 1), zero, zero, 256, 256, 3))
    assert abs(np.corrcoef(whole.ravel(), other.ravel())[0, 1]) < 0.01
