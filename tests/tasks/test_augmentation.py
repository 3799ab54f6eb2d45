"""Flips and colour changes: alike for an example's images, drawn by its index, inside [0, 1]."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.tasks.augmentation import diff_augment, flip_each, vary_colours


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


def test_diff_augment_translates_by_up_to_an_eighth_and_fills_with_zeros():
    images = jnp.ones((40, 16, 24, 2))
    moved = np.asarray(diff_augment(jax.random.key(0), images, policy="translation"))
    rows = 16 - moved.max((2, 3)).sum(1)
    columns = 24 - moved.max((1, 3)).sum(1)
    assert set(rows) == {0.0, 1.0, 2.0} and set(columns) == {0.0, 1.0, 2.0, 3.0}
    assert set(np.unique(moved)) == {0.0, 1.0}


def test_diff_augment_cuts_a_clipped_square_of_half_the_side():
    images = jnp.ones((200, 16, 16, 1))
    cut = 1 - np.asarray(diff_augment(jax.random.key(1), images, policy="cutout"))
    heights, widths = cut.max((2, 3)).sum(1), cut.max((1, 3)).sum(1)
    np.testing.assert_array_equal(cut.sum((1, 2, 3)), heights * widths)
    assert heights.max() == widths.max() == 8 and heights.min() == widths.min() == 4


def test_diff_augment_by_default_moves_and_cuts_and_leaves_colours_alone():
    images = jax.random.uniform(jax.random.key(3), (40, 16, 16, 3), minval=0.5)
    both = diff_augment(jax.random.key(4), images, policy="translation,cutout")
    out = np.asarray(diff_augment(jax.random.key(4), images, policy="default"))
    np.testing.assert_array_equal(out, both)
    known = {pixel.tobytes() for pixel in np.asarray(images).reshape(-1, 3)}
    assert {pixel.tobytes() for pixel in out.reshape(-1, 3)} - known == {
        np.zeros(3, "f4").tobytes()
    }


def test_diff_augment_of_colour_keeps_greys_grey_and_moves_the_mean_by_the_brightness():
    grey = jnp.broadcast_to(jnp.linspace(-0.5, 0.5, 8)[None, :, None, None], (60, 8, 8, 3))
    out = np.asarray(diff_augment(jax.random.key(2), grey, policy="color"))
    np.testing.assert_allclose(out[..., 0], out[..., 2], atol=1e-6)
    shift = out.mean((1, 2, 3))
    assert shift.min() > -0.5 and shift.max() < 0.5 and shift.std() > 0.2
    contrast = np.ptp(out, axis=(1, 2, 3))
    assert contrast.min() >= 0.5 and contrast.max() <= 1.5 and np.ptp(contrast) > 0.7


def test_diff_augment_draws_per_example_and_refuses_unknown_names():
    images = jax.random.normal(jax.random.key(0), (6, 16, 16, 3))
    policy = "color,translation,cutout"
    whole = diff_augment(jax.random.key(3), images, policy=policy)
    part = diff_augment(jax.random.key(3), images[:2], policy=policy)
    np.testing.assert_allclose(whole[:2], part, atol=1e-6)
    assert diff_augment(jax.random.key(3), images, policy="") is images
    with pytest.raises(ValueError, match="unknown augmentation 'colour'; choose from color"):
        diff_augment(jax.random.key(3), images, policy="colour")
