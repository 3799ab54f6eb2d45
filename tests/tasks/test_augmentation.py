"""Flips and colour changes: alike for an example's images, drawn by its index, inside [0, 1]."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.tasks.augmentation import flip_each, vary_colours


@pytest.fixture
def images():
    return jax.random.uniform(jax.random.key(0), (32, 6, 7, 3))


def test_source_and_target_flip_together_and_about_half_do(images):
    out = flip_each(jax.random.key(1), {"source": images, "target": 1 - images})
    np.testing.assert_array_equal(out["target"], 1 - out["source"])
    flipped = [bool((o == i[:, ::-1]).all()) for o, i in zip(out["source"], images, strict=True)]
    kept = [bool((o == i).all()) for o, i in zip(out["source"], images, strict=True)]
    assert all(f != k for f, k in zip(flipped, kept, strict=True))
    assert 6 <= sum(flipped) <= 26


@pytest.mark.parametrize("draw", [lambda k, x: flip_each(k, {"x": x})["x"], vary_colours])
def test_an_example_does_not_depend_on_the_others(draw, images):
    key = jax.random.key(2)
    np.testing.assert_allclose(draw(key, images)[:3], draw(key, images[:3]), atol=1e-6)


def test_colours_vary_from_image_to_image_and_stay_in_range(images):
    same = jnp.broadcast_to(images[:1], images.shape)
    out = np.asarray(vary_colours(jax.random.key(3), same))
    assert out.min() >= 0 and out.max() <= 1
    means = out.mean((1, 2))
    assert (means.std(0) > 0.03).all()


def test_without_amounts_nothing_changes(images):
    out = vary_colours(jax.random.key(4), images, exposure=0.0, white_balance=0.0, saturation=0.0)
    np.testing.assert_allclose(out, images, atol=2e-6)


def test_saturation_alone_keeps_the_luma_of_middling_colours():
    image = jnp.full((4, 1, 1, 3), 0.5) + jnp.array([0.05, -0.02, 0.03])[None, None, None]
    out = vary_colours(jax.random.key(5), image, exposure=0.0, white_balance=0.0)
    weights = np.array([0.2126, 0.7152, 0.0722])
    np.testing.assert_allclose(np.asarray(out) @ weights, np.asarray(image) @ weights, atol=1e-6)
    assert np.abs(np.asarray(out - image)).max() > 1e-3
