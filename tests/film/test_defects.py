"""Vignette, light leak, dust and scratches: where they are, how much they touch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.film import defects
from retrojax.film.look import Dust, LightLeak, Scratches, Vignette

vignette = jax.jit(defects.vignette)
leak = jax.jit(jax.vmap(defects.leak, in_axes=(0, None, None)))
add_dust = jax.jit(defects.add_dust, static_argnames="pixels_per_mm")
add_scratches = jax.jit(defects.add_scratches, static_argnames="pixels_per_mm")

WHITE = (1.0, 1.0, 1.0)


def flat(value, height=96, width=144):
    return jnp.asarray(np.full((height, width, 3), value, np.float32))


def test_the_vignette_is_the_cos4_law():
    out = np.asarray(vignette(flat(0.8, 5, 9), Vignette(strength=0.5)))
    half_diagonal2 = 2.5**2 + 4.5**2
    assert out[2, 4, 0] == pytest.approx(0.8)
    assert out[0, 0, 0] == pytest.approx(0.8 * (1 + 0.5 * 20 / half_diagonal2) ** -2)
    assert out[2, 8, 1] == pytest.approx(0.8 * (1 + 0.5 * 16 / half_diagonal2) ** -2)


@pytest.mark.parametrize("shape", [(40, 60), (61, 41)])
def test_the_vignette_is_darkest_in_the_four_corners_and_darkens_outward(shape):
    out = np.asarray(vignette(flat(1.0, *shape), Vignette(strength=0.6)))[..., 0]
    np.testing.assert_allclose(out[[0, 0, -1, -1], [0, -1, 0, -1]], out.min(), rtol=1e-6)
    assert (out == out.min()).sum() <= 4 and out.max() > 0.99
    middle, centre = out[shape[0] // 2], out[:, shape[1] // 2]
    for line in (middle, centre):
        assert (np.diff(line[len(line) // 2 :]) < 0).all()
        np.testing.assert_allclose(line, line[::-1], rtol=1e-6)


@pytest.fixture(scope="module")
def leaks():
    """Added light of sixteen seeds on a dark frame, turned so that the edge is on the left."""
    keys = jax.random.split(jax.random.key(0), 16)
    light = LightLeak(strength=0.7, reach=0.12, colour=WHITE)
    turned, turns = [], []
    for added in np.asarray(leak(keys, flat(0.0), light)):
        row, column = np.unravel_index(added[..., 0].argmax(), added.shape[:2])
        edges = [column == 0, row == 0, column == 143, row == 95]
        turns.append(edges.index(True))
        turned.append(np.rot90(added, turns[-1]))
    return turned, turns


def test_a_leak_comes_from_one_edge_and_dies_away_inward(leaks):
    for added in leaks[0]:
        assert added.min() >= 0.0
        assert 0.5 < added.max() <= 0.7
        assert (np.diff(added, axis=1) <= 0).all()
        assert added[:, added.shape[1] * 9 // 10 :].max() < 1e-4


def test_every_edge_can_leak(leaks):
    assert set(leaks[1]) == {0, 1, 2, 3}


def test_red_comes_in_furthest(leaks):
    for added in leaks[0]:
        row = added[added[:, 0, 0].argmax()]
        depth = [int((row[:, c] > row[0, c] / 2).sum()) for c in range(3)]
        assert depth[0] > depth[1] > depth[2] > 0
        # Half way down a Gaussian of deviation 0.12 long sides of 144 pixels.
        assert depth[0] == pytest.approx(0.12 * 144 * 1.1774, abs=1.5)


def test_a_leak_adds_its_colour_to_what_was_there():
    keys = jax.random.split(jax.random.key(0), 1)
    red = LightLeak(colour=(1.0, 0.0, 0.0))
    dark, light = (np.asarray(leak(keys, flat(v), red))[0] for v in (0.0, 0.4))
    np.testing.assert_allclose(light - dark, 0.4, atol=1e-6)
    assert dark[..., 0].max() > 0.1 and dark[..., 1:].max() == 0.0


def test_dust_covers_few_pixels_with_its_shade():
    image = flat(0.2)
    dust = Dust(specks=20.0, fibres=1.0, size_um=90.0, opacity=0.7, shade=(0.9, 0.8, 0.7))
    cover = np.asarray(add_dust(jax.random.key(1), image, dust, pixels_per_mm=4.0)) - 0.2
    assert 0.0005 < (cover[..., 0] > 0.02).mean() < 0.05
    assert np.median(cover) < 1e-6
    assert -1e-6 <= cover.min() and cover[..., 0].max() <= 0.7 * 0.7 + 1e-6
    # Towards the shade: by as large a part of the way in every channel.
    np.testing.assert_allclose(cover[..., 1] / 0.6, cover[..., 0] / 0.7, atol=1e-6)
    np.testing.assert_allclose(cover[..., 2] / 0.5, cover[..., 0] / 0.7, atol=1e-6)


@pytest.mark.parametrize("part", ["specks", "fibres"])
def test_dust_lies_at_the_same_place_on_the_film_at_twice_the_resolution(part):
    counts = {"specks": 0.0, "fibres": 0.0} | {part: 3.0}
    dust = Dust(**counts, size_um=400.0, opacity=1.0, shade=WHITE)
    fine = np.asarray(add_dust(jax.random.key(2), flat(0.0), dust, pixels_per_mm=4.0))
    coarse = np.asarray(add_dust(jax.random.key(2), flat(0.0, 48, 72), dust, pixels_per_mm=2.0))
    fine = fine.reshape(48, 2, 72, 2, 3).mean((1, 3))
    assert coarse.max() > 0.5
    assert np.corrcoef(fine.ravel(), coarse.ravel())[0, 1] > 0.85


def cover_of(name, count):
    key, image = jax.random.key(3), flat(0.0, 48, 72)
    if name == "scratches":
        marks = Scratches(count=count, shade=WHITE)
        return np.asarray(add_scratches(key, image, marks, pixels_per_mm=2.0))
    counts = {"specks": 0.0, "fibres": 0.0} | {name: count}
    return np.asarray(add_dust(key, image, Dust(**counts, shade=WHITE), pixels_per_mm=2.0))


@pytest.mark.parametrize("name", ["specks", "fibres", "scratches"])
def test_the_last_of_a_fractional_count_is_drawn_in_part(name):
    two, part, three = (cover_of(name, count) for count in (2.0, 2.5, 3.0))
    assert (two <= part).all() and (part <= three).all()
    assert two.sum() < part.sum() < three.sum()


@pytest.mark.parametrize("name", ["specks", "fibres", "scratches"])
def test_none_of_them_is_none(name):
    np.testing.assert_array_equal(cover_of(name, 0.0), 0.0)


def test_scratches_are_thin_and_run_along_the_long_side():
    marks = Scratches(count=2.0, width_um=40.0, opacity=0.5, shade=WHITE)
    out = np.asarray(add_scratches(jax.random.key(4), flat(0.0), marks, pixels_per_mm=4.0))
    cover = out[..., 0]
    assert 0.001 < (cover > 0.02).mean() < 0.06
    assert cover.max() <= 0.5
    rows, columns = cover.max(axis=1) > 0.02, cover.max(axis=0) > 0.02
    assert rows.mean() < 0.15 and columns.mean() > 0.3


def test_scratches_on_an_upright_frame_are_those_of_the_frame_laid_down():
    image = np.random.default_rng(0).uniform(size=(48, 72, 3)).astype(np.float32)
    marks = Scratches(count=4.0)
    lying = add_scratches(jax.random.key(5), jnp.asarray(image), marks, pixels_per_mm=2.0)
    upright = add_scratches(
        jax.random.key(5), jnp.asarray(image.swapaxes(0, 1)), marks, pixels_per_mm=2.0
    )
    np.testing.assert_allclose(upright, np.swapaxes(lying, 0, 1), atol=1e-6)
    assert np.abs(lying - image).max() > 0.05


@pytest.mark.parametrize("name", ["dust", "scratches"])
def test_another_key_is_other_dirt(name):
    stage = {"dust": add_dust, "scratches": add_scratches}[name]
    marks = {"dust": Dust(), "scratches": Scratches()}[name]
    a, same, b = (
        np.asarray(stage(jax.random.key(seed), flat(0.0), marks, pixels_per_mm=4.0))
        for seed in (6, 6, 7)
    )
    np.testing.assert_array_equal(a, same)
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] < 0.3
