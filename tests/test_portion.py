"""Which examples a portion holds, and several batches in one pass."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.keys import normal_each
from retrojax.portion import Portion, portion, side_by_side

KEY = jax.random.key(5)


def noisy(images):
    return images + normal_each(KEY, images.shape)


@pytest.fixture(scope="module")
def batches():
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.normal(size=(8, 3)), jnp.float32) for _ in range(2)]


def test_side_by_side_gives_each_batch_what_the_function_makes_of_it(batches):
    first, second = side_by_side(lambda x: 2 * x + 1, *batches)
    np.testing.assert_array_equal(first, 2 * batches[0] + 1)
    np.testing.assert_array_equal(second, 2 * batches[1] + 1)


def test_side_by_side_draws_for_each_example_of_each_batch(batches):
    drawn = [np.asarray(x - y) for x, y in zip(side_by_side(noisy, *batches), batches, strict=True)]
    rows = {row.tobytes() for row in np.round(np.concatenate(drawn), 4)}
    assert len(rows) == 16


def test_micro_batches_draw_what_the_whole_does(batches):
    whole = side_by_side(noisy, *batches)
    for micro in range(2):
        with portion(Portion(micro=micro, micros=2)):
            some = side_by_side(noisy, *(x[micro::2] for x in batches))
        for x, y in zip(some, whole, strict=True):
            np.testing.assert_array_equal(x, y[micro::2])


def test_replicas_draw_what_the_whole_does(batches):
    def replica(*shares):
        with portion(Portion("replicas")):
            return side_by_side(noisy, *shares)

    shares = [x.reshape(2, 4, 3) for x in batches]
    some = jax.vmap(replica, axis_name="replicas")(*shares)
    for x, y in zip(some, side_by_side(noisy, *batches), strict=True):
        np.testing.assert_array_equal(x.reshape(8, 3), y)
