"""3-D lookup tables: applied as SciPy interpolates, fitted to maps that are known, written."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

from retrojax.film import lut as tables
from retrojax.film.lut import fit_lut, identity_lut, to_cube

apply_lut = jax.jit(tables.apply_lut)


def colours(count, low=0.0, high=1.0, seed=0):
    return np.random.default_rng(seed).uniform(low, high, (count, 3)).astype(np.float32)


def table(size=4, seed=1):
    values = np.random.default_rng(seed).uniform(size=(size, size, size, 3))
    return jnp.asarray(values.astype(np.float32))


@pytest.mark.parametrize("size", [2, 4])
def test_the_identity_changes_nothing(size):
    image = jnp.asarray(colours(60).reshape(5, 12, 3))
    np.testing.assert_allclose(apply_lut(identity_lut(size), image), image, atol=1e-6)


def test_nodes_are_met_exactly_and_in_the_order_red_green_blue():
    lut = table()
    nodes = np.stack(np.meshgrid(*[np.arange(4) / 3] * 3, indexing="ij"), -1).astype(np.float32)
    np.testing.assert_allclose(apply_lut(lut, jnp.asarray(nodes)), lut, atol=1e-6)
    red = apply_lut(lut, jnp.asarray([1.0, 0.0, 0.0]))
    np.testing.assert_allclose(red, lut[3, 0, 0], atol=1e-6)


@pytest.mark.parametrize("size", [2, 4])
def test_between_nodes_it_is_trilinear_as_scipys(size):
    lut, image = table(size), colours(200)
    reference = RegularGridInterpolator([np.linspace(0, 1, size)] * 3, np.asarray(lut))
    np.testing.assert_allclose(apply_lut(lut, jnp.asarray(image)), reference(image), atol=1e-6)


def test_colours_beyond_the_range_are_clipped():
    wild = colours(60, -1.0, 2.0)
    np.testing.assert_array_equal(
        apply_lut(table(), jnp.asarray(wild)), apply_lut(table(), jnp.asarray(wild.clip(0, 1)))
    )


def test_it_is_differentiable_in_both_arguments():
    image = jnp.asarray(np.concatenate([colours(6), [[0, 0, 0], [1, 1, 1]]]).astype(np.float32))
    slope = jax.jit(jax.grad(lambda lut, x: apply_lut(lut, x).sum(), argnums=(0, 1)))
    of_table, of_image = slope(table(), image)
    # The weights of a pixel add up to one, channel by channel.
    np.testing.assert_allclose(of_table.sum((0, 1, 2)), 8.0, rtol=1e-5)
    assert np.isfinite(of_image).all()
    _, of_identity = slope(identity_lut(4), image[:6])
    np.testing.assert_allclose(of_identity, 1.0, rtol=1e-5)


AFFINE = np.asarray([[0.5, 0.3, 0.1], [-0.1, 0.8, 0.2], [0.2, 0.1, 0.4]])
SHIFT = np.asarray([0.05, 0.1, 0.2])


@pytest.mark.parametrize("size", [2, 5])
def test_fitting_recovers_an_affine_map_even_where_no_pixel_was(size):
    sources = colours(300, 0.2, 0.8)
    lut = fit_lut(sources, (sources @ AFFINE.T + SHIFT).astype(np.float32), size=size)
    everywhere = colours(200, seed=2)
    expected = everywhere @ AFFINE.T + SHIFT
    np.testing.assert_allclose(apply_lut(lut, jnp.asarray(everywhere)), expected, atol=2e-3)


def test_fitting_recovers_the_table_that_made_the_targets():
    lut, sources = identity_lut(3) * 0.7 + 0.2 * table(3), colours(3000)
    targets = np.asarray(apply_lut(lut, jnp.asarray(sources)))
    fitted = fit_lut(sources, targets, size=3, smoothness=1e-9)
    np.testing.assert_allclose(fitted, lut, atol=1e-3)


def test_fitting_comes_close_to_a_smooth_map_on_unseen_colours():
    def curve(x):
        mixed = x @ AFFINE.T + SHIFT
        return (mixed**1.5 / (1 + 0.3 * mixed)).astype(np.float32)

    sources, unseen = colours(3000), colours(300, 0.05, 0.95, seed=3)
    error = {}
    for size in (3, 9):
        fitted = apply_lut(fit_lut(sources, curve(sources), size=size), jnp.asarray(unseen))
        error[size] = np.sqrt(np.mean((fitted - curve(unseen)) ** 2))
    assert error[9] < 1e-3
    assert error[9] < error[3] / 4


def test_fitting_averages_the_noise_of_the_targets_away():
    sources = np.repeat(colours(1), 400, axis=0)
    targets = sources + np.random.default_rng(4).normal(0, 0.1, sources.shape).astype(np.float32)
    fitted = apply_lut(fit_lut(sources, targets, size=2), jnp.asarray(sources[0]))
    np.testing.assert_allclose(fitted, targets.mean(axis=0), atol=1e-4)


def test_a_stack_of_images_fits_like_its_pixels():
    sources = colours(240)
    targets = sources**2
    stacked = fit_lut(sources.reshape(2, 10, 12, 3), targets.reshape(2, 10, 12, 3), size=3)
    np.testing.assert_array_equal(stacked, fit_lut(sources, targets, size=3))


def read_cube(path):
    header, rows = {}, []
    for line in path.read_text().splitlines():
        name, _, rest = line.partition(" ")
        if name[0].isalpha():
            header[name] = rest
        else:
            rows.append([float(value) for value in line.split()])
    size = int(header["LUT_3D_SIZE"])
    lut = np.zeros((size, size, size, 3))
    # The format: red changes fastest, then green, then blue.
    for i, row in enumerate(rows):
        lut[i % size, i // size % size, i // size**2] = row
    assert len(rows) == size**3
    return header, lut


def test_a_cube_file_reads_back_as_the_table(tmp_path):
    lut = table(3)
    to_cube(lut, tmp_path / "look.cube", title="Old print")
    header, read = read_cube(tmp_path / "look.cube")
    assert header["TITLE"] == '"Old print"'
    assert header["DOMAIN_MIN"] == "0.0 0.0 0.0" and header["DOMAIN_MAX"] == "1.0 1.0 1.0"
    np.testing.assert_allclose(read, lut, atol=6e-7)


@pytest.mark.parametrize("title", ['the "old" print', "two\nlines"])
def test_a_title_the_format_cannot_hold_is_refused(tmp_path, title):
    with pytest.raises(ValueError, match="no quotation mark and no line break"):
        to_cube(table(2), tmp_path / "look.cube", title=title)
    assert not list(tmp_path.iterdir())


def test_wrong_arguments_are_refused():
    pixels = colours(10)
    with pytest.raises(ValueError, match="at least 2 nodes along each axis, not 1"):
        identity_lut(1)
    with pytest.raises(ValueError, match="at least 2 nodes along each axis, not 1"):
        fit_lut(pixels, pixels, size=1)
    with pytest.raises(ValueError, match="smoothness must be above 0 .* not 0"):
        fit_lut(pixels, pixels, smoothness=0.0)
    with pytest.raises(ValueError, match="at least one pixel"):
        fit_lut(pixels[:0], pixels[:0])
    # The annotation check that runs in tests speaks first; without it the function does.
    with pytest.raises((ValueError, TypeError), match="must have the same shape|Type-check"):
        fit_lut(pixels, pixels[:5])
