"""The renderer: what is off is free, what is random is seeded, what is smooth has finite slopes."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.film import LOOKS, Look, render
from retrojax.film.look import (
    Dust,
    Exposure,
    Fade,
    Grain,
    Halation,
    LightLeak,
    Matrix,
    Scratches,
    SplitTone,
    Tone,
    Vignette,
    WhiteBalance,
)

HEIGHT, WIDTH = 24, 36
# Every stage on, every one of them with a visible amount.
FULL = Look(
    exposure=Exposure(0.2),
    white_balance=WhiteBalance(0.3, -0.2),
    vignette=Vignette(0.5),
    light_leak=LightLeak(0.5),
    halation=Halation(threshold=0.3),
    matrix=Matrix(red=(0.8, 0.1, 0.1)),
    tone=Tone(),
    grain=Grain(strength=1.0, size_um=200.0),
    split_tone=SplitTone(shadows=(0.1, 0.0, -0.1)),
    fade=Fade(),
    dust=Dust(specks=30.0, fibres=3.0, size_um=900.0),
    scratches=Scratches(count=4.0, width_um=400.0),
)
# Settings of each stage that do nothing: the stage runs and leaves the picture as it was.
NEUTRAL = {
    "exposure": Exposure(0.0),
    "white_balance": WhiteBalance(0.0, 0.0),
    "vignette": Vignette(0.0),
    "light_leak": LightLeak(0.0),
    "halation": Halation(0.0),
    "matrix": Matrix(),
    "tone": Tone(contrast=(1.0, 1.0, 1.0), pivot=(1e5, 1e5, 1e5)),
    "grain": Grain(0.0),
    "split_tone": SplitTone(),
    "fade": Fade(loss=(0.0, 0.0, 0.0)),
    "dust": Dust(opacity=0.0),
    "scratches": Scratches(opacity=0.0),
}
RANDOM = ("light_leak", "grain", "dust", "scratches")

film = jax.jit(render, static_argnames="pixels_per_mm")


def photo(seed=0):
    values = np.random.default_rng(seed).uniform(0.05, 0.95, (HEIGHT, WIDTH, 3))
    return values.astype(np.float32)


def rendered(look, seed=0):
    return np.asarray(film(jax.random.key(seed), jnp.asarray(photo()), look))


def alone(stage):
    """The full look with no stage but this one."""
    return Look(**{stage: getattr(FULL, stage)})


def test_the_empty_look_is_the_identity_bit_for_bit():
    image = photo()
    image[0, 0], image[0, 1] = 0.0, 1.0
    for function in (render, jax.jit(render)):
        out = function(jax.random.key(0), jnp.asarray(image), Look())
        np.testing.assert_array_equal(out, image)


@pytest.mark.parametrize("stage", NEUTRAL)
def test_each_stage_has_a_setting_that_is_the_identity_and_shows_in_the_full_look(stage):
    np.testing.assert_allclose(rendered(Look(**{stage: NEUTRAL[stage]})), photo(), atol=2e-5)
    assert np.abs(rendered(alone(stage)) - photo()).max() > 0.02


@pytest.mark.parametrize("stage", RANDOM)
def test_switching_the_other_random_stages_off_leaves_a_stages_pattern_as_it_was(stage):
    """The others run without effect, or not at all: what each of them drew does not matter."""
    others = {name: NEUTRAL[name] for name in RANDOM if name != stage}
    np.testing.assert_allclose(
        rendered(Look(**others, **{stage: getattr(FULL, stage)})),
        rendered(alone(stage)),
        atol=2e-5,
    )


@pytest.mark.parametrize("stage", NEUTRAL)
def test_one_key_is_one_picture_and_another_key_changes_the_random_stages_alone(stage):
    first, again, other = (rendered(alone(stage), seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.array_equal(first, other) == (stage not in RANDOM)


def test_another_key_is_other_grain():
    first, other = (rendered(alone("grain"), seed) - photo() for seed in (0, 1))
    assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.15


IMAGES = ("photo", "black", "grey", "white")


@jax.jit
def slopes(images, look, keys):
    """Gradients of a weighted sum of each picture in the image and in the look; the pictures."""
    weights = jnp.asarray(photo(5) - 0.5)

    def weighted(image, look, key):
        out = render(key, image, look)
        return (out * weights).sum(), out

    slope = jax.grad(weighted, argnums=(0, 1), has_aux=True)
    return jax.vmap(slope, in_axes=(0, None, 0))(images, look, keys)


@functools.cache
def outcome(name):
    """Gradients and pictures of four photographs.

    Stages that a look lacks run without effect, so that all looks share one compiled program.
    """
    look = FULL if name == "all stages" else LOOKS[name]
    absent = {stage: part for stage, part in NEUTRAL.items() if getattr(look, stage) is None}
    flat = [np.full((HEIGHT, WIDTH, 3), v, np.float32) for v in (0.0, 0.5, 1.0)]
    keys = jax.random.split(jax.random.key(0), len(IMAGES))
    images = jnp.asarray(np.stack([photo(), *flat]))
    return jax.tree.map(np.asarray, slopes(images, replace(look, **absent), keys))


@pytest.mark.parametrize("name", [*LOOKS, "all stages"])
def test_every_look_renders_finite_values_of_the_range(name):
    (_, _), pictures = outcome(name)
    assert pictures.shape == (4, HEIGHT, WIDTH, 3)
    assert np.isfinite(pictures).all()
    assert pictures.min() >= 0.0 and pictures.max() <= 1.0
    assert pictures.std(axis=(1, 2, 3))[0] > 0.05  # A photograph is still a picture.
    brightness = pictures.mean(axis=(1, 2, 3))
    assert brightness[1] < brightness[2] < brightness[3]  # Black, grey, white.


@pytest.mark.parametrize("name", [*LOOKS, "all stages"])
def test_every_look_has_finite_gradients_in_the_image_and_in_every_leaf(name):
    (of_image, of_look), _ = outcome(name)
    for i, kind in enumerate(IMAGES):
        assert np.isfinite(of_image[i]).all(), kind
        for path, leaf in jax.tree_util.tree_leaves_with_path(of_look):
            assert np.isfinite(leaf[i]), f"{kind}: {jax.tree_util.keystr(path)}"


def test_every_leaf_of_the_full_look_moves_the_picture():
    (of_image, of_look), _ = outcome("all stages")
    assert (np.abs(of_image[0]) > 0).mean() > 0.5
    still = [
        jax.tree_util.keystr(path)
        for path, leaf in jax.tree_util.tree_leaves_with_path(of_look)
        if leaf[0] == 0
    ]
    assert still == []


def test_what_leaves_the_range_is_clipped():
    harsh = Tone(black=(-0.5, -0.5, -0.5), white=(1.5, 1.5, 1.5))
    picture = rendered(Look(tone=harsh))
    assert (picture.min(), picture.max()) == (0.0, 1.0)


def test_compiled_and_eager_are_one_picture():
    look = Look(vignette=FULL.vignette, tone=FULL.tone)
    eager = render(jax.random.key(0), jnp.asarray(photo()), look)
    np.testing.assert_allclose(eager, rendered(look), atol=2e-6)


def test_a_batch_by_vmap_is_the_pictures_one_by_one():
    images = jnp.asarray(np.stack([photo(0), photo(1)]))
    keys = jax.random.split(jax.random.key(4), 2)
    batch = jax.jit(jax.vmap(render, in_axes=(0, 0, None)))
    pictures = batch(keys, images, alone("grain"))
    for i in range(2):
        single = film(keys[i], images[i], alone("grain"))
        np.testing.assert_allclose(pictures[i], single, atol=2e-6)


def test_the_resolution_is_that_of_a_whole_frame_unless_given():
    whole, key, image = rendered(alone("grain")), jax.random.key(0), jnp.asarray(photo())
    given = film(key, image, alone("grain"), pixels_per_mm=WIDTH / 36)
    np.testing.assert_array_equal(whole, given)
    finer = film(key, image, alone("grain"), pixels_per_mm=10.0)
    assert np.abs(finer - whole).max() > 0.05


@pytest.mark.parametrize("pixels_per_mm", [0.0, -2.0, float("nan")])
def test_a_resolution_of_nothing_is_refused(pixels_per_mm):
    with pytest.raises(ValueError, match="pixels_per_mm must be above 0, not"):
        render(jax.random.key(0), jnp.asarray(photo()), Look(), pixels_per_mm=pixels_per_mm)
