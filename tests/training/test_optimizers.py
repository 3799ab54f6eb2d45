"""Optimisers and schedules against their formulas."""

import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.training.optimizers import epoch_schedule, make_optimizer, make_schedule


def follow(optimizer, gradients, start=1.0):
    params = jnp.float32(start)
    state = optimizer.init(params)
    for gradient in gradients:
        update, state = optimizer.update(jnp.float32(gradient), state, params)
        params = params + update
    return float(params)


def test_sgd_is_plain_gradient_descent():
    assert follow(make_optimizer("sgd", 0.1), [2.0, -1.0]) == pytest.approx(1 - 0.2 + 0.1)


def test_adam_is_kingma_and_ba_algorithm_1():
    b1, b2, rate, gradients = 0.5, 0.9, 0.01, [2.0, -1.0, 0.5]
    m = v = 0.0
    expected = 1.0
    for t, g in enumerate(gradients, 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        expected -= rate * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + 1e-8)
    got = follow(make_optimizer("adam", rate, b1=b1, b2=b2), gradients)
    assert got == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("constant", [0.4, 0.4, 0.4, 0.4]),
        ("linear", [0.4, 0.4, 0.2, 0.0]),
        ("cosine", [0.4, 0.4, 0.2, 0.0]),
    ],
)
def test_schedules_hold_for_half_the_steps_and_end_at_zero(name, values):
    schedule = make_schedule(name, 0.4, steps=100)
    got = [float(schedule(step)) for step in (0, 50, 75, 100)]
    np.testing.assert_allclose(got, values, atol=1e-6)


def test_an_optimiser_follows_its_schedule():
    optimizer = make_optimizer("sgd", make_schedule("linear", 1.0, steps=2, constant_share=0.0))
    assert follow(optimizer, [1.0, 1.0, 1.0], start=0.0) == pytest.approx(-1.5)


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ValueError, match="unknown optimizer 'lion'; choose one of adam, sgd"):
        make_optimizer("lion", 0.1)
    with pytest.raises(ValueError, match="unknown schedule 'step'"):
        make_schedule("step", 0.1, steps=3)


@pytest.mark.parametrize(
    ("before", "constant", "decay", "factors"),
    [
        # Epoch -> factor, as the three codes print them.
        (True, 100, 100, {99: 1, 100: 0.990099, 101: 0.980198, 150: 0.495050, 200: 0}),
        (False, 100, 100, {100: 1, 101: 0.990099, 102: 0.980198, 150: 0.504950, 200: 0.009901}),
        (False, 200, 200, {200: 1, 201: 0.995025, 300: 0.502488, 400: 0.004975}),
        (False, 150, 50, {151: 0.980392, 200: 0.019608}),
    ],
)  # fmt: skip
def test_the_epoch_schedules_are_the_published_tables(before, constant, decay, factors):
    schedule = epoch_schedule(
        2.0, steps_per_epoch=7, constant=constant, decay=decay, before_epoch=before
    )
    for epoch, factor in factors.items():
        for step in (7 * (epoch - 1), 7 * epoch - 1):
            np.testing.assert_allclose(schedule(step), 2.0 * factor, atol=1e-6)


def test_adams_second_decay_may_follow_a_schedule():
    """Against Adam written out, with b2 rising from step to step."""
    decay = lambda count: 0.9 + 0.03 * count  # noqa: E731
    optimizer = make_optimizer("adam", 0.1, b1=0.0, b2=decay)
    params, state = jnp.float32(1.0), optimizer.init(jnp.float32(1.0))
    second = 0.0
    for count, gradient in enumerate((1.0, -0.5, 2.0)):
        update, state = optimizer.update(jnp.float32(gradient), state, params)
        b2 = 0.9 + 0.03 * count
        second = b2 * second + (1 - b2) * gradient**2
        expected = -0.1 * gradient / (np.sqrt(second / (1 - b2 ** (count + 1))) + 1e-8)
        np.testing.assert_allclose(update, expected, rtol=1e-4)
