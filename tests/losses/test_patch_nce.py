"""PatchNCE against numbers worked out by hand; the places it compares."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.losses import patch_indices, patch_nce


def unit(*shape, seed=0):
    x = np.random.default_rng(seed).normal(size=shape)
    return jnp.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True), jnp.float32)


def by_hand(queries, keys, temperature):
    """-log of the softmax of each query's own key, in double precision, [rows]."""
    logits = np.asarray(queries, np.float64) @ np.asarray(keys, np.float64).T / temperature
    return np.log(np.exp(logits).sum(1)) - np.diag(logits)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_it_is_the_mean_cross_entropy_of_each_image(temperature):
    queries, keys = unit(2, 5, 8), unit(2, 5, 8, seed=1)
    found = patch_nce(queries, keys, temperature=temperature)
    wanted = [by_hand(q, k, temperature).mean() for q, k in zip(queries, keys, strict=True)]
    assert found.shape == (2,) and found.dtype == jnp.float32
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_all_negatives_are_those_of_the_whole_batch():
    queries, keys = unit(3, 4, 8), unit(3, 4, 8, seed=1)
    rows = by_hand(queries.reshape(12, 8), keys.reshape(12, 8), 0.07).reshape(3, 4)
    found = patch_nce(queries, keys, all_negatives=True)
    np.testing.assert_allclose(found, rows.mean(1), rtol=1e-5)


def test_one_patch_an_image_has_negatives_in_the_batch_alone():
    queries, keys = unit(3, 1, 8), unit(3, 1, 8, seed=1)
    np.testing.assert_array_equal(patch_nce(queries, keys), 0.0)
    assert (patch_nce(queries, keys, all_negatives=True) > 0).all()


def test_equal_patches_cost_log_of_their_number_and_found_ones_next_to_nothing():
    same = jnp.tile(unit(1, 1, 8), (1, 6, 1))
    np.testing.assert_allclose(patch_nce(same, same), np.log(6), rtol=1e-6)
    apart = jnp.eye(6)[None]
    np.testing.assert_allclose(patch_nce(apart, apart), np.log1p(5 * np.exp(-1 / 0.07)), atol=1e-6)


def test_keys_are_targets():
    queries, keys = unit(1, 4, 8), unit(1, 4, 8, seed=1)
    by_query, by_key = jax.grad(lambda q, k: patch_nce(q, k).sum(), (0, 1))(queries, keys)
    assert np.abs(by_query).max() > 0
    np.testing.assert_array_equal(by_key, 0.0)
    # A step against the gradient comes nearer.
    assert patch_nce(queries - 0.01 * by_query, keys) < patch_nce(queries, keys)


def test_narrow_patches_are_compared_in_float32():
    queries, keys = (x.astype(jnp.bfloat16) for x in (unit(1, 4, 8), unit(1, 4, 8, seed=1)))
    wide = patch_nce(queries.astype(jnp.float32), keys.astype(jnp.float32))
    np.testing.assert_array_equal(patch_nce(queries, keys), wide)


@pytest.mark.parametrize(
    ("shape", "temperature", "message"),
    [((1, 3, 8), 0.07, "must have equal shapes"), ((1, 4, 8), 0.0, "must be above 0, got 0.0")],
)
def test_what_cannot_be_compared_is_refused(shape, temperature, message):
    # The annotation check that runs in tests speaks first; without it the loss does.
    with pytest.raises((ValueError, TypeError), match=f"{message}|Type-check"):
        patch_nce(unit(1, 4, 8), unit(*shape), temperature=temperature)


def test_places_are_different_in_range_and_as_many_as_there_are():
    sizes = (400, 12, 400)
    drawn = patch_indices(jax.random.key(0), sizes, 30)
    assert [len(places) for places in drawn] == [30, 12, 30]
    for places, size in zip(drawn, sizes, strict=True):
        assert len(set(places.tolist())) == len(places)
        assert 0 <= places.min() and places.max() < size
    assert drawn[1].tolist() != sorted(drawn[1].tolist())
    # Each layer draws its own, whatever the others are.
    assert drawn[0].tolist() != drawn[2].tolist()
    np.testing.assert_array_equal(drawn[0], patch_indices(jax.random.key(0), (400,), 30)[0])
    assert drawn[0].tolist() != patch_indices(jax.random.key(1), sizes, 30)[0].tolist()


def test_every_place_is_drawn_equally_often():
    draw = jax.jit(jax.vmap(lambda key: patch_indices(key, (16,), 4)[0]))
    counts = np.bincount(np.ravel(draw(jax.random.split(jax.random.key(0), 1600))), minlength=16)
    np.testing.assert_allclose(counts, 400, atol=5 * np.sqrt(400))


def test_no_patches_are_refused():
    with pytest.raises(ValueError, match="patches must be 1 or more, got 0"):
        patch_indices(jax.random.key(0), (4,), 0)
