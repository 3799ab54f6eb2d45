"""The sRGB transfer functions against IEC 61966-2-1, and what they do beyond [0, 1]."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.film import colour
from retrojax.film.colour import LUMINANCE, as_rgb, luma, power

srgb_to_linear, linear_to_srgb = jax.jit(colour.srgb_to_linear), jax.jit(colour.linear_to_srgb)

# Encoded value, linear light: the standard's formula worked out in double precision.
PAIRS = [
    (0.0, 0.0),
    (0.02, 0.00154799),  # v / 12.92
    (0.04045, 0.00313080),  # where the branches meet
    (0.1, 0.01002283),
    (0.25, 0.05087609),
    (0.5, 0.21404114),
    (188 / 255, 0.50288646),
    (0.8, 0.60382734),
    (1.0, 1.0),
]


@pytest.mark.parametrize("exponent", [0.41, 1.3, 2.4])
def test_a_power_by_its_logarithm_is_the_power(exponent):
    base = np.geomspace(0.04, 4.0, 1001)
    found = jax.jit(power)(jnp.asarray(base, jnp.float32), exponent)
    np.testing.assert_allclose(found, base**exponent, rtol=1e-6)


@pytest.mark.parametrize(("encoded", "linear"), PAIRS)
def test_closed_form_values(encoded, linear):
    np.testing.assert_allclose(srgb_to_linear(jnp.asarray(encoded)), linear, rtol=2e-5, atol=1e-8)
    np.testing.assert_allclose(linear_to_srgb(jnp.asarray(linear)), encoded, rtol=2e-5, atol=1e-8)


def test_the_round_trip_keeps_every_eight_bit_value():
    values = jnp.asarray(np.arange(256, dtype=np.float32) / 255)
    back = linear_to_srgb(srgb_to_linear(values))
    np.testing.assert_allclose(back, values, atol=1e-6)
    np.testing.assert_array_equal(np.round(np.asarray(back) * 255), np.arange(256))


def test_the_round_trip_holds_beyond_the_range():
    values = jnp.asarray(np.linspace(-0.5, 3.0, 101, dtype=np.float32))
    np.testing.assert_allclose(linear_to_srgb(srgb_to_linear(values)), values, atol=2e-6)


def test_below_zero_both_are_straight_and_above_one_both_run_on_in_order():
    np.testing.assert_allclose(srgb_to_linear(jnp.asarray(-0.3)), -0.3 / 12.92, rtol=1e-6)
    np.testing.assert_allclose(linear_to_srgb(jnp.asarray(-0.02)), -0.02 * 12.92, rtol=1e-6)
    above = jnp.asarray(np.linspace(1.0, 4.0, 50, dtype=np.float32))
    for function in (srgb_to_linear, linear_to_srgb):
        assert (np.diff(function(above)) > 0).all()


@pytest.mark.parametrize(
    ("function", "joint", "slope"),
    [(srgb_to_linear, 0.04045, 1 / 12.92), (linear_to_srgb, 0.0031308, 12.92)],
)
def test_the_branches_meet_without_a_step(function, joint, slope):
    below, above = np.asarray(function(jnp.asarray([joint * 0.999, joint * 1.001])))
    assert above - below == pytest.approx(0.002 * joint * slope, rel=0.05)


@pytest.mark.parametrize("function", [srgb_to_linear, linear_to_srgb])
def test_gradients_are_finite_and_positive_everywhere(function):
    places = jnp.asarray([-1.0, -1e-9, 0.0, 1e-9, 0.0031308, 0.04045, 0.5, 1.0, 5.0])
    slopes = jax.jit(jax.vmap(jax.grad(function)))(places)
    assert np.isfinite(slopes).all() and (np.asarray(slopes) > 0).all()


def test_luma_weighs_the_channels_by_rec_709():
    np.testing.assert_allclose(luma(jnp.eye(3).reshape(1, 3, 3))[0], [0.2126, 0.7152, 0.0722])
    assert sum(LUMINANCE) == pytest.approx(1.0)
    assert luma(jnp.ones((2, 4, 5, 3))).shape == (2, 4, 5)


def test_a_triple_takes_the_dtype_of_the_image():
    triple = as_rgb((0.1, 0.2, 0.3), jnp.zeros((2, 2, 3), jnp.bfloat16))
    assert triple.shape == (1, 1, 3) and triple.dtype == jnp.bfloat16
