"""Many devices compute what one does; the state is donated; the batch must divide."""

import logging

import jax
import numpy as np
import optax
import pytest

from retrojax.training.first_state import initial_state
from retrojax.training.placement import make_placement
from retrojax.training.step import make_step

SGD = (optax.sgd(0.05), optax.sgd(0.1))


@pytest.fixture(scope="module", params=[1, 4])
def compiled(request, make_task, raw):
    placement = make_placement(8, jax.local_devices()[: request.param])
    task = make_task()
    state = placement.put_state(initial_state(task, raw, SGD, seed=0, ema=True))
    step = make_step(task, SGD, ema_halflife_images=100.0)
    return placement, state, placement.compile(step, state, placement.put_batch(raw))


def test_four_devices_are_there_by_default():
    assert make_placement(8).mesh.size == 4


def test_the_batch_is_split_and_the_state_replicated(raw):
    placement = make_placement(8)
    batch = placement.put_batch(raw)["source"]
    assert [s.data.shape[0] for s in batch.addressable_shards] == [2, 2, 2, 2]
    np.testing.assert_array_equal(batch.addressable_shards[1].data, raw["source"][2:4])
    whole = placement.put_state(raw)["source"]
    assert [s.data.shape[0] for s in whole.addressable_shards] == [8, 8, 8, 8]


def test_a_batch_that_does_not_divide_names_both_numbers():
    with pytest.raises(ValueError, match=r"batch of 10 .* among 4 devices.*multiple of 4"):
        make_placement(10)


def test_at_least_99_percent_of_the_state_is_updated_in_place(compiled):
    _, state, step = compiled
    leaves = jax.tree.leaves(state)
    size = sum(leaf.addressable_shards[0].data.nbytes for leaf in leaves)
    assert step.memory_analysis().alias_size_in_bytes >= 0.99 * size


def test_stepping_on_compiles_nothing(compiled, raw, caplog):
    placement, state, step = compiled
    state = jax.tree.map(lambda x: x.copy(), state)
    for _ in range(2):
        state, metrics = step(state, placement.put_batch(raw))
        jax.device_get(metrics)
    caplog.set_level(logging.WARNING)
    with jax.log_compiles():
        for _ in range(2):
            state, metrics = step(state, placement.put_batch(raw))
            jax.device_get(metrics)
        assert not [r for r in caplog.records if "ompil" in r.getMessage()]
        jax.jit(lambda x: x * 17)(3.0)
    assert [r for r in caplog.records if "ompil" in r.getMessage()], "the log must show compiling"


def test_the_donated_state_is_gone(compiled, raw):
    placement, state, step = compiled
    state = jax.tree.map(lambda x: x.copy(), state)
    step(state, placement.put_batch(raw))
    assert state.generator.params["Conv_0"]["kernel"].is_deleted()


@pytest.mark.slow
def test_four_devices_and_one_give_the_same_params(make_task, raw):
    """Flips, colours, grain and the generator's noise are on, and batch norm in both players."""
    results = []
    for count in (1, 4):
        placement = make_placement(8, jax.local_devices()[:count])
        task = make_task()
        state = placement.put_state(initial_state(task, raw, SGD, seed=0, ema=False))
        step = placement.compile(make_step(task, SGD), state, placement.put_batch(raw))
        for _ in range(5):
            state, _ = step(state, placement.put_batch(raw))
        results.append(jax.device_get((state.generator.params, state.discriminator.params)))
    for one, four in zip(*map(jax.tree.leaves, results), strict=True):
        # Biases before a batch norm have no gradient but rounding: the floor is for those.
        assert np.abs(one - four).max() <= 1e-5 * max(np.abs(one).max(), 0.1)
