"""CUT's projection head: the places it takes, lengths of 1, finite gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.models import PatchSampleF


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


FEATURES = (normal(2, 3, 4, 5), normal(2, 2, 2, 6, seed=1))
INDICES = (jnp.asarray([7, 0, 11]), jnp.asarray([3]))


def test_each_map_has_its_own_layers_and_its_own_places():
    module = PatchSampleF(features=8)
    out, variables = module.init_with_output(jax.random.key(0), FEATURES, INDICES)
    assert set(variables["params"]) == {"mlp_0_0", "mlp_0_1", "mlp_1_0", "mlp_1_1"}
    assert [x.shape for x in out] == [(2, 3, 8), (2, 1, 8)]
    for x in out:
        np.testing.assert_allclose(np.linalg.norm(x, axis=-1), 1, rtol=1e-4)
    moved = FEATURES[0].at[:, 1, 3].add(1.0)
    again = module.apply(variables, (moved, FEATURES[1]), INDICES)[0]
    # Number 7 is row 1, column 3.
    assert (again[:, 0] != out[0][:, 0]).any()
    np.testing.assert_array_equal(again[:, 1:], out[0][:, 1:])


def test_a_map_of_zeros_gives_zeros_and_finite_gradients():
    module, zeros = PatchSampleF(features=4), (jnp.zeros((1, 2, 2, 3)),)
    places = (jnp.arange(4),)
    variables = module.init(jax.random.key(0), zeros, places)
    loss = lambda v, x: module.apply(v, x, places)[0].sum()  # noqa: E731
    value, slopes = jax.value_and_grad(loss, (0, 1))(variables, zeros)
    assert value == 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))


def test_narrow_features_are_projected_to_float32():
    features = tuple(x.astype(jnp.bfloat16) for x in FEATURES)
    module = PatchSampleF(features=4, dtype=jnp.bfloat16)
    out, variables = jax.eval_shape(module.init_with_output, jax.random.key(0), features, INDICES)
    assert {leaf.dtype for leaf in jax.tree.leaves((out, variables))} == {jnp.dtype("float32")}


def test_another_number_of_index_arrays_is_refused():
    with pytest.raises(ValueError, match="2 maps but 1 arrays of indices: pass one for each map"):
        PatchSampleF().init(jax.random.key(0), FEATURES, INDICES[:1])
