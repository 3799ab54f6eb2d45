"""Standard normal noise: its distribution, its independence, and other generators' keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry2x32_p
from scipy import stats

from retrojax.noise import normal, threefry


def test_it_is_standard_normal_and_white():
    noise = np.asarray(normal(jax.random.key(5), (256, 256)))
    assert stats.kstest(noise.ravel(), "norm").pvalue > 0.01
    # Of white noise the largest of n bins is log(n), give or take a few.
    power = np.abs(np.fft.fft2(noise)) ** 2 / noise.size
    assert power.max() < np.log(noise.size) + 6


def test_both_words_of_a_block_are_used_and_independent():
    noise = np.asarray(normal(jax.random.key(0), (20001,)))
    first, second = noise[:10000], noise[10001:]
    assert len(np.unique(noise)) > 19900
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / 100


def test_keys_have_noise_of_their_own():
    keys = jax.random.split(jax.random.key(1), 2)
    a, b = np.asarray(jax.vmap(lambda k: normal(k, (10000,)))(keys))
    assert abs(np.corrcoef(a, b)[0, 1]) < 4 / 100
    np.testing.assert_array_equal(a, normal(keys[0], (10000,)))


@pytest.mark.parametrize("shape", [(), (1,), (3, 5)])
def test_any_shape(shape):
    noise = normal(jax.random.key(0), shape)
    assert noise.shape == shape and noise.dtype == np.float32


def test_keys_of_another_generator_draw_what_jax_draws():
    key = jax.random.key(0, impl="rbg")
    np.testing.assert_array_equal(normal(key, (7,)), jax.random.normal(key, (7,)))


def test_blocks_are_those_of_jax():
    rng = np.random.default_rng(0)
    first, second = (jnp.asarray(rng.integers(0, 2**32), jnp.uint32) for _ in range(2))
    row, column = (jnp.asarray(rng.integers(0, 2**32, 1000), jnp.uint32) for _ in range(2))
    expected = threefry2x32_p.bind(first, second, row, column)
    for found, wanted in zip(threefry(first, second, row, column), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
