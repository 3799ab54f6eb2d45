"""A boundary of XLA's fusion."""

import jax
import jax.numpy as jnp
import numpy as np

from retrojax.models.unfused import unfused


def sums(x):
    return 2.0 * x[:-1] + x[1:]


def readers(y):
    return jnp.sin(y).sum(), (y * y).sum(axis=1)


def fusions(function, x):
    return jax.jit(function).lower(x).compile().as_text()


def test_what_is_unfused_is_a_call_of_its_own_and_the_same_values():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(65, 64)), jnp.float32)

    def apart(x):
        return readers(unfused(sums, x))

    for ours, plain in zip(jax.jit(apart)(x), readers(sums(x)), strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=1e-4)
    assert " call(" in fusions(apart, x)
    assert " call(" not in fusions(lambda x: readers(sums(x)), x)


def test_functions_inside_are_inlined():
    inner = jax.jit(lambda x: x + 1.0)
    text = fusions(lambda x: unfused(lambda x: inner(inner(x)), x), jnp.ones((8, 8)))
    assert text.count(" call(") == 1


def test_it_can_be_mapped_and_derived():
    x = jnp.asarray(np.random.default_rng(1).normal(size=(3, 5)), jnp.float32)
    np.testing.assert_allclose(jax.vmap(lambda x: unfused(sums, x))(x), jax.vmap(sums)(x))
    slope = jax.grad(lambda x: unfused(sums, x).sum())(x)
    np.testing.assert_allclose(slope[1:-1], 3.0)
