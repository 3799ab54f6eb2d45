"""Products summed over rows, turned beforehand or not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.models.summed_products import WIDE, summed_product


@pytest.mark.parametrize(("left", "right"), [(WIDE, WIDE), (WIDE + 40, 300), (WIDE, 8), (5, WIDE)])
def test_it_is_the_product_and_turned_by_itself_where_both_are_wide(left, right):
    rng = np.random.default_rng(0)
    a, b = (jnp.asarray(rng.normal(size=(12, n)), jnp.float32) for n in (left, right))
    program = jax.jit(summed_product).lower(a, b).compile()
    np.testing.assert_allclose(program(a, b), np.asarray(a).T @ np.asarray(b), atol=1e-4)
    assert (" call(" in program.as_text()) == (min(left, right) >= WIDE)


def test_narrow_types_are_summed_in_float32():
    ones = jnp.ones((1000, 2), jnp.bfloat16)
    product = summed_product(ones, ones)
    assert product.dtype == jnp.float32
    np.testing.assert_array_equal(product, 1000.0)
