"""The state is data: equal configurations make equal trees, and nothing in it is shared."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.training.first_state import initial_state
from retrojax.training.optimizers import make_optimizer, make_schedule
from retrojax.training.state import init_player, init_state
from retrojax.training.step import make_step


def optimizers():
    return tuple(make_optimizer("adam", make_schedule("linear", 1e-3, steps=10)) for _ in range(2))


@pytest.fixture(scope="module")
def states(make_task, raw):
    return [initial_state(make_task(), raw, optimizers(), seed=seed, ema=True) for seed in (0, 1)]


def test_every_leaf_is_an_array_with_the_promised_types(states):
    for leaf in jax.tree.leaves(states[0]):
        assert isinstance(leaf, jax.Array)
    for player in (states[0].generator, states[0].discriminator):
        assert {leaf.dtype for leaf in jax.tree.leaves(player.params)} == {jnp.dtype("float32")}
    assert states[0].step.dtype == jnp.int32 and states[0].step == 0
    assert jnp.issubdtype(states[0].key.dtype, jax.dtypes.prng_key)


def test_equal_configurations_make_equal_trees_and_share_one_compilation(make_task, raw, states):
    """An optimiser or a bound method in the tree would make the structures unequal."""
    assert jax.tree.structure(states[0]) == jax.tree.structure(states[1])
    traced = []
    step = make_step(make_task(), optimizers())

    @jax.jit
    def counted(state, raw):
        traced.append(None)
        return step(state, raw)

    for state in (*states, counted(states[0], raw)[0]):
        counted(state, raw)
    assert len(traced) == 1


def test_the_seed_decides_params_and_key(make_task, raw, states):
    again = initial_state(make_task(), raw, optimizers(), seed=0, ema=True)
    for a, b in zip(jax.tree.leaves(states[0]), jax.tree.leaves(again), strict=True):
        assert bool((a == b).all())
    kernel = lambda state: state.discriminator.params["conv_0"]["kernel"]  # noqa: E731
    assert np.abs(kernel(states[0]) - kernel(states[1])).max() > 0
    assert states[0].key != states[1].key


def test_the_state_does_not_depend_on_the_batch(make_task, raw, states):
    small = {"source": raw["source"][3:5]}
    other = initial_state(make_task(), small, optimizers(), seed=0, ema=True)
    for a, b in zip(jax.tree.leaves(states[0]), jax.tree.leaves(other), strict=True):
        assert bool((a == b).all())


def test_the_average_starts_as_a_copy_that_can_be_donated():
    variables = {"params": {"w": jnp.arange(4.0)}, "batch_stats": {"m": jnp.zeros(2)}}
    pair = (make_optimizer("sgd", 0.1), make_optimizer("adam", 0.1))
    state = init_state(jax.random.key(0), variables, variables, pair, ema=True)
    np.testing.assert_array_equal(state.ema["w"], variables["params"]["w"])
    assert (
        state.ema["w"].unsafe_buffer_pointer() != variables["params"]["w"].unsafe_buffer_pointer()
    )


def test_no_two_leaves_of_a_fresh_state_share_memory(states):
    leaves = [leaf for leaf in jax.tree.leaves(states[0].generator)]
    leaves += jax.tree.leaves(states[0].discriminator) + jax.tree.leaves(states[0].ema)
    pointers = [leaf.unsafe_buffer_pointer() for leaf in leaves]
    assert len(set(pointers)) == len(pointers)


def test_a_players_variables_are_split_and_joined():
    variables = {"params": {"w": jnp.ones(2)}, "batch_stats": {"m": jnp.zeros(2)}, "pool": {}}
    player = init_player(variables, make_optimizer("sgd", 0.1))
    assert player.collections.keys() == {"batch_stats", "pool"}
    assert player.variables == variables
