"""`LookGenerator`: what each part does, how far it reaches, and who teaches whom."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator
from scipy.ndimage import gaussian_filter

from retrojax.models import LookGenerator
from retrojax.models.look import (
    BLOCK,
    ColourLUT,
    RadialConv,
    _back_by_gathers,
    _back_by_products,
    _by_gathers,
    _by_products,
    _look_up,
    radial_basis,
    spread,
)

SMALL = LookGenerator(
    lut_size=4, glow_features=2, glow_reach=4, features=4, texture_features=4, noise_channels=2
)
COLOUR_ONLY = LookGenerator(lut_size=4, glow_features=0, noise_channels=0)


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def photo(*shape, seed=0):
    values = np.random.default_rng(seed).uniform(-0.8, 0.8, (*shape, 3))
    return jnp.asarray(values, jnp.float32)


@functools.cache
def variables(module):
    """Variables of a generator that has learned something: none of its parts is zero."""
    noise = normal(1, 8, 8, module.noise_channels) if module.noise_channels else None
    tree = jax.eval_shape(module.init, jax.random.key(0), photo(1, 8, 8), noise)
    rng = np.random.default_rng(7)

    def fill(path, leaf):
        # Tables are multiplied by the gain of ten.
        scale = 0.01 if "colour" in jax.tree_util.keystr(path) else 0.3
        return jnp.asarray(scale * rng.normal(size=leaf.shape), leaf.dtype)

    return jax.tree_util.tree_map_with_path(fill, tree)


@functools.cache
def applied(module, **options):
    return jax.jit(functools.partial(module.apply, **options))


def run(source, noise=None, module=SMALL):
    return applied(module)(variables(module), source, noise)


def part(name, *inputs):
    method = getattr(SMALL, name)
    return jax.jit(functools.partial(SMALL.apply, method=method))(variables(SMALL), *inputs)


def test_it_starts_as_the_identity():
    source = photo(1, 8, 8)
    fresh = jax.jit(SMALL.init)(jax.random.key(0), source, normal(1, 8, 8, 2))
    out = applied(SMALL)(fresh, source, None)
    np.testing.assert_array_equal(out.image, source)
    np.testing.assert_array_equal(out.clean, source)


def test_the_colour_part_alone_maps_each_pixel_by_itself():
    source = photo(1, 8, 9)
    order = np.random.default_rng(1).permutation(72)
    shuffled = source.reshape(1, 72, 3)[:, order].reshape(1, 8, 9, 3)
    mapped = np.asarray(run(source, module=COLOUR_ONLY).clean)
    expected = mapped.reshape(1, 72, 3)[:, order].reshape(1, 8, 9, 3)
    np.testing.assert_allclose(run(shuffled, module=COLOUR_ONLY).clean, expected, atol=1e-6)
    assert np.abs(mapped - source).max() > 0.05


def test_the_colour_part_is_two_trilinear_tables_as_scipys_times_the_gain():
    tables = {"coarse": normal(3, 3, 3, 3), "fine": normal(5, 5, 5, 3, seed=1)}
    x = 1.5 * photo(2, 6, 7, seed=2)
    change = jax.jit(ColourLUT(5, 0.1).apply)({"params": tables}, x) - x
    expected = np.zeros(x.shape)
    for table in tables.values():
        grid = [np.linspace(-1, 1, len(table))] * 3
        # Colours beyond the cube move as the nearest one inside.
        expected += 0.1 * RegularGridInterpolator(grid, np.asarray(table))(np.clip(x, -1, 1))
    np.testing.assert_allclose(change, expected, atol=2e-6)


@pytest.mark.parametrize(
    ("shape", "reach"), [((20, 23), 4), ((5, 9), 8), ((BLOCK, BLOCK + 1), 8), ((130, 5), 8)]
)
def test_spread_is_scipys_gaussian_filter_cut_at_the_reach(shape, reach):
    """The second map is smaller than the filter, the others have sides of one block and of more."""
    maps = np.random.default_rng(0).normal(size=(2, *shape, 3)).astype(np.float32)
    ours = np.asarray(jax.jit(functools.partial(spread, reach=reach))(jnp.asarray(maps)))
    for k, sigma in enumerate((reach / 8, reach / 4, reach / 2)):
        expected = gaussian_filter(
            maps.astype(np.float64), sigma, mode="nearest", radius=reach, axes=(1, 2)
        )
        np.testing.assert_allclose(ours[..., 3 * k : 3 * k + 3], expected, atol=2e-6)


def test_spread_keeps_constants():
    flat = jnp.full((1, 7, 12, 2), 3.7)
    np.testing.assert_allclose(spread(flat, reach=5), np.full((1, 7, 12, 6), 3.7), rtol=1e-6)


def test_the_glow_is_nothing_on_flat_pictures_and_something_at_an_edge():
    source = np.broadcast_to(np.asarray([0.7, -0.3, 0.2], np.float32), (1, 16, 20, 3)).copy()
    # Nothing but the rounding of weights that add up to one.
    assert np.abs(part("glow", jnp.asarray(source))).max() < 1e-6
    source[:, :, 10:] = -0.8
    glow = np.abs(part("glow", jnp.asarray(source)))
    assert glow.max() > 1e-3
    # It stays within the reach of four pixels on both sides of the edge.
    np.testing.assert_allclose(glow[:, :, :6], 0.0, atol=1e-6)
    np.testing.assert_allclose(glow[:, :, 14:], 0.0, atol=1e-6)


def test_the_texture_is_linear_in_the_noise():
    clean, a, b = photo(1, 8, 9), normal(1, 8, 9, 2, seed=1), normal(1, 8, 9, 2, seed=2)
    of_a, of_b, of_sum = (part("texture", clean, n) for n in (a, b, 2 * a - 3 * b))
    np.testing.assert_allclose(of_sum, 2 * of_a - 3 * of_b, atol=1e-5)
    assert np.abs(of_a).max() > 0.01


def test_the_texture_depends_on_the_colour_under_it():
    noise = normal(1, 8, 9, 2)
    dark, light = (part("texture", jnp.full((1, 8, 9, 3), v), noise) for v in (-0.9, 0.9))
    assert np.abs(dark - light).max() > 0.01


def test_the_image_is_the_clean_one_with_texture_clipped():
    source, noise = photo(1, 8, 9), normal(1, 8, 9, 2)
    out = run(source, noise)
    expected = np.clip(out.clean + part("texture", out.clean, noise), -1, 1)
    np.testing.assert_allclose(out.image, expected, atol=1e-6)
    np.testing.assert_array_equal(out.clean, run(source).clean)
    for value in run(4 * source, 20 * noise):
        assert np.abs(value).max() == 1.0


def test_one_noise_is_one_picture_and_another_noise_other_grain():
    source, noise = photo(1, 8, 9), normal(1, 8, 9, 2)
    first, again, other = (run(source, n) for n in (noise, noise, normal(1, 8, 9, 2, seed=1)))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.clean, other.clean)
    grain = [np.ravel(out.image - out.clean) for out in (first, other)]
    assert abs(np.corrcoef(*grain)[0, 1]) < 0.5


@pytest.mark.parametrize("module", [SMALL, COLOUR_ONLY])
def test_without_noise_the_image_is_the_clean_one(module):
    out = run(photo(1, 8, 9), module=module)
    np.testing.assert_array_equal(out.image, out.clean)


@pytest.mark.parametrize(
    ("output", "teaches"), [("image", "texture"), ("clean", ("colour", "glow"))]
)
def test_each_output_teaches_its_own_parts_alone(output, teaches):
    source, noise, weight = photo(1, 8, 9), normal(1, 8, 9, 2), normal(1, 8, 9, 3, seed=3)

    def total(variables):
        out = SMALL.apply(variables, source, noise, train=True)
        return (getattr(out, output) * weight).sum()

    gradients = jax.jit(jax.grad(total))(variables(SMALL))["params"]
    assert {name.split("_")[0] for name in gradients} == {"colour", "glow", "texture"}
    for name, leaves in gradients.items():
        for leaf in jax.tree.leaves(leaves):
            assert bool(np.any(leaf)) == name.startswith(teaches), name


@pytest.mark.parametrize("module", [SMALL, LookGenerator(glow_reach=4, texture_size=11)])
def test_a_pixel_changes_nothing_farther_than_the_reach(module):
    source, noise = photo(1, 25, 26), normal(1, 25, 26, module.noise_channels)
    reach = module.reach
    before = run(source, noise, module=module)
    changed = [
        run(source.at[0, 12, 13].add(0.1), noise, module=module),
        run(source, noise.at[0, 12, 13].add(5.0), module=module),
    ]
    touched = np.zeros((25, 26), bool)
    for after in changed:
        for a, b in zip(before, after, strict=True):
            touched |= (np.abs(a - b) > 1e-6)[0].any(axis=-1)
    rows, columns = np.nonzero(touched)
    assert max(np.abs(rows - 12).max(), np.abs(columns - 13).max()) == reach


def test_reach_is_that_of_the_parts_that_are_there():
    assert LookGenerator(glow_reach=8, texture_size=5).reach == 8
    assert LookGenerator(glow_reach=1, texture_size=7).reach == 3
    assert LookGenerator(glow_features=0, glow_reach=8, texture_size=5).reach == 2


def test_radial_masks_hold_each_tap_of_the_circle_once():
    basis = radial_basis(5)
    # Squared distances 0, 1, 2, 4 and 5 lie within 2.5 pixels.
    assert basis.shape == (5, 5, 5)
    np.testing.assert_array_equal(basis.sum((0, 1)), [1, 4, 4, 4, 8])
    np.testing.assert_array_equal(basis.sum(2)[[0, 0, 4, 4], [0, 4, 0, 4]], 0.0)
    assert basis.sum(2).max() == 1.0


def test_radial_kernels_are_symmetric_under_transposition_and_flips():
    module = RadialConv(3, 7)
    impulse = jnp.zeros((1, 15, 15, 2)).at[0, 7, 7].set(jnp.asarray([1.0, -0.4]))
    params = {"params": {"kernel": normal(*radial_basis(7).shape[2:], 2, 3)}}
    kernel = np.asarray(jax.jit(module.apply)(params, impulse))[0]
    for turned in (kernel.swapaxes(0, 1), kernel[::-1], kernel[:, ::-1]):
        np.testing.assert_allclose(kernel, turned, atol=1e-6)
    rows, columns = np.nonzero(kernel.any(axis=-1))
    assert np.hypot(rows - 7, columns - 7).max() <= 3.5
    # Of no other symmetry: kernels differ with the distance.
    assert np.unique(kernel[7, 7:11, 0].round(4)).size == 4


def test_radial_convolutions_are_convolutions_with_the_kernel_of_their_distances():
    module, x, weights = RadialConv(3, 5), normal(2, 9, 10, 2), normal(5, 2, 3, seed=1)
    kernel = np.einsum("hwk,kio->hwio", radial_basis(5), weights)
    wrapped = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="wrap")
    wanted = sum(
        wrapped[:, u : u + 9, v : v + 10] @ kernel[u, v] for u, v in np.ndindex(*kernel.shape[:2])
    )
    found = jax.jit(module.apply)({"params": {"kernel": weights}}, x)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_radial_convolutions_wrap_their_borders():
    """So noise is as strong at the border as inside."""
    module, x = RadialConv(3, 5), normal(1, 9, 10, 2)
    params = {"params": {"kernel": normal(5, 2, 3, seed=1)}}
    apply = jax.jit(module.apply)
    rolled = apply(params, jnp.roll(x, (3, 4), (1, 2)))
    np.testing.assert_allclose(rolled, np.roll(apply(params, x), (3, 4), (1, 2)), atol=1e-5)


def test_fresh_radial_kernels_keep_the_variance_of_noise():
    module = RadialConv(64, 5)
    x = normal(1, 40, 40, 3)
    params = jax.jit(module.init)(jax.random.key(0), x)
    assert np.std(jax.jit(module.apply)(params, x)) == pytest.approx(1.0, rel=0.1)


def test_bfloat16_keeps_parameters_colours_and_outputs_in_float32():
    module = SMALL.clone(dtype=jnp.bfloat16)
    source, noise = photo(1, 8, 9), normal(1, 8, 9, 2)
    out, tree = jax.eval_shape(module.init_with_output, jax.random.key(0), source, noise)
    assert {leaf.dtype for leaf in jax.tree.leaves((out, tree))} == {jnp.dtype("float32")}
    narrow, wide = (applied(m)(variables(SMALL), source, noise) for m in (module, SMALL))
    np.testing.assert_allclose(narrow.clean, wide.clean, atol=0.05)
    assert np.abs(narrow.image - wide.image).max() > 0


def test_noise_of_other_channels_is_refused():
    with pytest.raises(ValueError, match="noise has 3 channels, not 2"):
        jax.eval_shape(SMALL.init, jax.random.key(0), photo(1, 8, 8), normal(1, 8, 8, 3))


def test_a_batch_is_its_pictures_one_by_one():
    source, noise = photo(2, 8, 9), normal(2, 8, 9, 2)
    for whole, single in zip(run(source, noise), run(source[1:], noise[1:]), strict=True):
        np.testing.assert_allclose(whole[1:], single, atol=1e-6)


@pytest.mark.parametrize("size", [4, 9])
def test_gathers_and_products_are_one_function_with_the_same_gradients(size):
    x = jax.random.uniform(jax.random.key(0), (1, 16, 24, 3), minval=-1.2, maxval=1.2)
    table, g = normal(size, size, size, 3, seed=1), normal(1, 16, 24, 3, seed=2)

    def both(form, back):
        return jax.jit(lambda: (form(table, x), *back(table, x, g)))()

    gathers, products = both(_by_gathers, _back_by_gathers), both(_by_products, _back_by_products)
    derived = both(_by_gathers, lambda *given: jax.vjp(_by_gathers, table, x)[1](g))
    for one, other, third in zip(gathers, products, derived, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(one, third, rtol=1e-5, atol=1e-5)


def test_the_table_is_scattered_to_on_cpu_alone():
    x, g = jnp.zeros((1, 4, 4, 3)), jnp.ones((1, 4, 4, 3))
    table = jnp.zeros((4, 4, 4, 3))
    traced = jax.jit(lambda table: jax.vjp(_look_up, table, x)[1](g)[0]).trace(table)
    for platform, scatters in (("cpu", True), ("cuda", False), ("tpu", False)):
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        assert ("stablehlo.scatter" in text) == scatters


def test_a_fine_table_that_is_not_finer_is_refused():
    with pytest.raises(ValueError, match="more than 3 nodes per axis, not 3"):
        ColourLUT(3, 1.0).init(jax.random.key(0), jnp.zeros((1, 4, 4, 3)))
