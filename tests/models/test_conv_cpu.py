"""The forms chosen on CPU are the direct ones up to rounding, and each is chosen somewhere."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.models import conv_cpu, conv_winograd, grids
from retrojax.models.conv_cpu import cpu_conv, cpu_transpose, cpu_weight_gradient
from retrojax.models.conv_direct import direct_conv, direct_transpose, direct_weight_gradient
from retrojax.models.conv_winograd import tile_side, transforms

WINOGRAD = ("winograd gradient", "winograd", "winograd transpose")
# batch, size, inputs, outputs, kernel, stride, pads, and how the gradient, the convolution and its
# transpose are computed there.
SHAPES = {
    "few positions": (2, (9, 8), 3, 40, 4, 2, ((1, 1), (1, 2)), "output", "unrolled", "painted"),
    "few, unread rows": (2, (8, 8), 3, 40, 3, 2, ((0, 0), (1, 0)), "output", "unrolled", "painted"),
    "few, cropped": (1, (9, 7), 5, 40, 3, 1, ((-1, 2), (0, -1)), "output", "unrolled", "painted"),
    "few, spread": (1, (12, 9), 5, 20, 2, 3, ((0, 1), (1, 0)), "output", "unrolled", "painted"),
    "one output": (2, (9, 8), 6, 1, 3, 1, ((1, 1), (1, 1)), "input", "gathered", "direct"),
    "one, padded": (2, (5, 4), 6, 1, 4, 1, ((3, 3), (3, 2)), "input", "gathered", "direct"),
    "one, cropped": (2, (9, 8), 6, 1, 3, 1, ((-1, 2), (0, -1)), "input", "gathered", "direct"),
    "small batch": (3, (16, 15), 16, 8, 3, 2, ((1, 1), (0, 1)), "taps", "direct", "painted"),
    "unread rows": (3, (16, 16), 16, 8, 3, 2, ((0, 0), (0, 1)), "taps", "direct", "painted"),
    "one pixel": (20, (9, 8), 6, 5, 1, 1, ((0, 0), (0, 0)), "taps", "direct", "direct"),
    "few channels": (3, (16, 15), 6, 5, 3, 1, ((1, 1), (0, 1)), "direct", "direct", "direct"),
    "three inputs": (2, (16, 15), 3, 48, 7, 1, ((3, 3), (3, 3)), "taps", "direct", "painted"),
    "large batch": (20, (32, 33), 5, 420, 4, 2, ((1, 1), (1, 1)), "chunks", "direct", "chunks"),
    "odd batch": (18, (32, 33), 5, 420, 4, 2, ((1, 1), (1, 1)), "direct", "direct", "direct"),
    "small maps": (68, (8, 9), 5, 420, 4, 2, ((1, 1), (1, 1)), "direct", "direct", "direct"),
    "many channels": (3, (11, 10), 24, 26, 3, 1, ((1, 1), (1, 1)), *WINOGRAD),
    "many, cropped": (5, (12, 11), 24, 24, 3, 1, ((-1, 2), (0, -1)), *WINOGRAD),
    "many, strided": (5, (21, 18), 6, 24, 4, 2, ((1, 1), (1, 2)), *WINOGRAD),
    "many, unread rows": (5, (22, 23), 7, 24, 4, 2, ((0, 0), (1, 0)), *WINOGRAD),
    "many, 4x4": (3, (9, 13), 24, 25, 4, 1, ((1, 1), (2, 1)), *WINOGRAD),
    "many, 5x5": (3, (9, 8), 24, 25, 5, 1, ((2, 2), (2, 2)), *WINOGRAD),
    "many, 5x5 strided": (9, (16, 17), 6, 24, 5, 2, ((1, 2), (2, 2)), *WINOGRAD),
    "many, tiles of 3": (3, (9, 9), 24, 25, 3, 1, ((1, 1), (1, 1)), *WINOGRAD),
    "many, 4x4, tiles of 3": (3, (7, 10), 24, 25, 4, 1, ((1, 1), (2, 1)), *WINOGRAD),
    "many, tiles of 4, cropped": (16, (10, 9), 24, 25, 3, 1, ((-1, 1), (1, 0)), *WINOGRAD),
    "many, tiles of 4, strided": (16, (16, 15), 6, 24, 4, 2, ((1, 1), (1, 2)), *WINOGRAD),
    "many, small maps": (32, (8, 8), 6, 24, 4, 2, ((1, 1), (1, 1)), *WINOGRAD),
    "many, small, 5x5": (32, (8, 8), 6, 24, 5, 2, ((1, 2), (2, 2)), *WINOGRAD),
    "many, 6x6 of stride 3": (32, (17, 19), 5, 24, 6, 3, ((3, 1), (1, 1)), *WINOGRAD),
}
FORMS = {
    "output": "_gradient_by_output",
    "input": "_gradient_by_input",
    "taps": "_gradient_by_taps",
    "chunks": "_chunks",
    "unrolled": "_unrolled",
    "gathered": "_gathered",
    "painted": "_painted",
    "winograd gradient": "winograd_weight_gradient",
    "winograd": "winograd_conv",
    "winograd transpose": "winograd_transpose",
}


def case(name, dtype="float32"):
    batch, size, inputs, outputs, kernel, stride, pads, *_ = SHAPES[name]
    height, width = (
        (n + lo + hi - kernel) // stride + 1 for n, (lo, hi) in zip(size, pads, strict=True)
    )
    rng = np.random.default_rng(0)
    x, w, y = (
        jnp.asarray(rng.normal(size=shape), dtype)
        for shape in (
            (batch, *size, inputs),
            (kernel, kernel, inputs, outputs),
            (batch, height, width, outputs),
        )
    )
    return x, w, y, stride, pads


def pairs(name, dtype="float32"):
    """(chosen form, direct form) of the gradient, the convolution and the transpose."""
    x, w, y, stride, pads = case(name, dtype)
    geometry = {
        (cpu_weight_gradient, direct_weight_gradient): (x, y, stride, pads, w.shape[:2]),
        (cpu_conv, direct_conv): (x, w, stride, pads),
        (cpu_transpose, direct_transpose): (y, w, stride, pads, x.shape[1:3]),
    }
    for functions, (a, b, *rest) in geometry.items():
        # One program: the geometry is static.
        yield jax.jit(lambda a, b, fs=functions, rest=rest: [f(a, b, *rest) for f in fs])(a, b)


@pytest.mark.parametrize("name", SHAPES)
def test_every_form_is_the_direct_one(name):
    for ours, direct in pairs(name):
        assert ours.shape == direct.shape and ours.dtype == direct.dtype
        np.testing.assert_allclose(ours, direct, atol=1e-5 * float(jnp.abs(direct).max()))


@pytest.mark.parametrize(
    "name",
    ["many, cropped", "many, 5x5 strided", "many, tiles of 4, cropped", "many, tiles of 4, strided"]
    + ["many, small maps", "many, 6x6 of stride 3"],
)
def test_an_operation_for_each_point_is_the_direct_one(name, monkeypatch):
    monkeypatch.setattr(conv_winograd, "FEW_PRODUCTS", 0)
    for ours, direct in pairs(name):
        np.testing.assert_allclose(ours, direct, atol=1e-5 * float(jnp.abs(direct).max()))


@pytest.mark.parametrize("name", ["many, cropped", "many, strided", "many, 5x5 strided"])
def test_tiles_beyond_the_caches_are_made_in_parts(name, monkeypatch):
    monkeypatch.setattr(conv_winograd, "CACHED", 10_000)
    x, w, y, stride, pads = case(name)
    for function, a, b, *rest in (
        (cpu_conv, x, w, stride, pads),
        (cpu_weight_gradient, x, y, stride, pads, w.shape[:2]),
    ):
        assert "scan" in str(jax.make_jaxpr(lambda a, b, f=function, r=rest: f(a, b, *r))(a, b))
    for ours, direct in pairs(name):
        np.testing.assert_allclose(ours, direct, atol=1e-5 * float(jnp.abs(direct).max()))


@pytest.mark.parametrize(
    ("taps", "size", "given", "side"),
    [
        (3, (11, 10), {}, 2),
        (3, (9, 9), {}, 3),
        (3, (8, 8), {"batch": 16, "pairs": 600}, 4),
        (2, (8, 8), {"batch": 16, "pairs": 600}, 4),
        (3, (8, 8), {}, 2),
        (3, (8, 8), {"batch": 15, "pairs": 600}, 2),
        (3, (8, 8), {"batch": 16, "pairs": 2**17}, 2),
        (4, (8, 8), {"batch": 16, "pairs": 600}, 2),
        (5, (9, 9), {"batch": 16, "pairs": 600}, 2),
    ],
)
def test_tiles_are_as_large_as_pays(taps, size, given, side):
    assert tile_side(taps, size, **given) == side


@pytest.mark.parametrize(
    ("name", "side"),
    [("many channels", 2), ("many, tiles of 3", 3)]
    + [("many, tiles of 4, cropped", 4), ("many, tiles of 4, strided", 4)],
)
def test_the_shapes_have_the_tiles_that_they_are_named_by(name, side, monkeypatch):
    taken, function = [], conv_winograd.transforms

    def noting(taps, tile):
        taken.append(tile)
        return function(taps, tile)

    monkeypatch.setattr(conv_winograd, "transforms", noting)
    x, w, _, stride, pads = case(name)
    jax.eval_shape(lambda x, w: cpu_conv(x, w, stride, pads), x, w)
    assert taken[0] == side


@pytest.mark.parametrize(
    ("name", "apart"),
    [("many, small maps", True), ("many, small, 5x5", True), ("many, strided", False)],
)
def test_small_maps_are_transposed_phase_by_phase(name, apart, monkeypatch):
    used, function = [], conv_winograd._transpose_by_phase
    monkeypatch.setattr(
        conv_winograd, "_transpose_by_phase", partial(noted, used, "form", function)
    )
    x, w, y, stride, pads = case(name)
    jax.eval_shape(lambda y, w: cpu_transpose(y, w, stride, pads, x.shape[1:3]), y, w)
    assert bool(used) == apart


@pytest.mark.parametrize("name", ["few positions", "one output", "small batch", "three inputs"])
def test_narrow_types_are_summed_in_float32(name):
    for index, (ours, direct) in enumerate(pairs(name, "bfloat16")):
        assert ours.dtype == direct.dtype == (jnp.float32 if index == 0 else jnp.bfloat16)
        scale = float(jnp.abs(direct.astype(jnp.float32)).max())
        close = {0: 1e-5}.get(index, 8e-3) * scale
        np.testing.assert_allclose(ours.astype(jnp.float32), direct.astype(jnp.float32), atol=close)


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_choose_the_forms_they_stand_for(name, monkeypatch):
    used = []
    for form in FORMS.values():
        function = getattr(conv_cpu, form)
        monkeypatch.setattr(conv_cpu, form, partial(noted, used, form, function))
    x, w, y, stride, pads = case(name)
    for (function, a, b, *rest), wanted in zip(
        [
            (cpu_weight_gradient, x, y, w.shape[:2]),
            (cpu_conv, x, w),
            (cpu_transpose, y, w, x.shape[1:3]),
        ],
        SHAPES[name][7:],
        strict=True,
    ):
        used.clear()
        jax.eval_shape(lambda a, b, f=function, r=rest: f(a, b, stride, pads, *r), a, b)
        assert used[:1] == ([FORMS[wanted]] if wanted != "direct" else [])


def noted(used, form, function, *args):
    used.append(form)
    return function(*args)


@pytest.mark.parametrize(("taps", "tile"), [(2, 2), (3, 2), (5, 2), (2, 3), (4, 3), (2, 4), (3, 4)])
def test_transforms_are_those_of_a_correlation(taps, tile):
    own = transforms(taps, tile)
    rng = np.random.default_rng(taps)
    x, w = rng.normal(size=taps + tile - 1), rng.normal(size=taps)
    made = own.result @ ((own.kernel @ w) * (own.data @ x))
    np.testing.assert_allclose(made, np.correlate(x, w), rtol=1e-12)


def test_the_matrices_of_three_taps_are_lavin_and_grays():
    own = transforms(3, 2)
    # Ours have the second and the last product negated twice, which leaves the result.
    np.testing.assert_array_equal(
        own.data, [[-1, 0, 1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]]
    )
    np.testing.assert_array_equal(
        own.kernel, [[-1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]]
    )
    np.testing.assert_array_equal(own.result, [[1, 1, 1, 0], [0, 1, -1, 1]])


@pytest.mark.parametrize(
    ("shape", "why"),
    [
        ((3, 11, 23, 26, 3, 3, 1, "float32"), "few channels"),
        ((1, 11, 24, 26, 3, 3, 1, "float32"), "few tiles"),
        ((3, 11, 24, 26, 3, 3, 2, "float32"), "as many products as taps"),
        ((3, 11, 24, 26, 3, 4, 1, "float32"), "not square"),
        ((3, 11, 24, 26, 7, 7, 1, "float32"), "too many taps"),
        ((3, 11, 24, 26, 2, 2, 2, "float32"), "one tap"),
        ((3, 11, 24, 26, 3, 3, 1, "bfloat16"), "rounds too much"),
    ],
)
def test_where_winograd_does_not_pay(shape, why):
    batch, side, inputs, outputs, rows, columns, stride, dtype = shape
    size = (side // stride, side // stride)
    kernel = (rows, columns, inputs, outputs)
    assert not conv_cpu._many_channels(batch, size, kernel, stride, dtype), why


def test_winograd_in_double_precision_is_exact():
    with jax.enable_x64(True):
        for ours, direct in pairs("many, 5x5", "float64"):
            np.testing.assert_allclose(ours, direct, atol=1e-13 * float(jnp.abs(direct).max()))


@pytest.mark.parametrize(
    ("form", "taps", "tile", "calls"),
    [("APART", 2, 2, 0), ("APART", 3, 2, 0), ("APART", 2, 4, 2), ("APART", 3, 4, 2)]
    + [("TOGETHER", 2, 2, 2), ("TOGETHER", 3, 4, 2)],
)
def test_sums_of_many_terms_go_along_one_axis_after_the_other(form, taps, tile, calls):
    """Each axis a call of its own, which XLA does not fuse with the other."""
    own, form = transforms(taps, tile), getattr(grids, form)
    x = jnp.ones((2, 9, 9, 4))
    program = jax.jit(lambda x: conv_winograd._at_points(form, own.data, x, (8, 8), tile))
    assert program.lower(x).compile().as_text().count(" call(") == calls


def test_sums_are_taken_before_tiles_are_joined():
    own = transforms(2, 2)
    products = [[jnp.ones((1, 2, 2, 4))] * 3] * 3
    program = jax.jit(
        lambda products: conv_winograd._outputs(grids.APART, own.result, products, (4, 4))
    )
    assert program.lower(products).compile().as_text().count(" call(") == 1


@pytest.mark.parametrize(("few", "products"), [(2**26, 1), (0, 16)])
def test_little_work_is_one_product_for_all_points(few, products, monkeypatch):
    monkeypatch.setattr(conv_winograd, "FEW_PRODUCTS", few)
    x, w, y, stride, pads = case("many channels")
    for function, a, b, *rest in (
        (cpu_conv, x, w, stride, pads),
        (cpu_transpose, y, w, stride, pads, x.shape[1:3]),
        (cpu_weight_gradient, x, y, stride, pads, w.shape[:2]),
    ):
        program = jax.jit(lambda a, b, f=function, r=rest: f(a, b, *r)).lower(a, b).as_text()
        # A function that is called several times stands there once.
        found = program.count("call @_product"), program.count("stablehlo.dot_general")
        assert max(found) == products
