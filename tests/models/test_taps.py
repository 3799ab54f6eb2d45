"""Features read in the middle of the generators: same pass, same numbers, nothing after the last.

That they are those of CUT's code at every index is tests/models/test_parity.py's.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.models import ResNetGenerator, SinCUTGenerator
from retrojax.models.layers import reflect_pad
from retrojax.models.taps import run_layers

SOURCE = jnp.asarray(np.random.default_rng(0).normal(size=(2, 16, 24, 3)), jnp.float32)
CUT = ResNetGenerator(features=2, blocks=5, antialias_down=True, antialias_up=True)
PLAIN = ResNetGenerator(features=2, blocks=7)
SINCUT = SinCUTGenerator(features=4, noise_channels=0)


def weights(module):
    rng = np.random.default_rng(1)
    fill = lambda leaf: jnp.asarray(0.2 * rng.normal(size=leaf.shape), leaf.dtype)  # noqa: E731
    return jax.tree.map(fill, jax.eval_shape(module.init, jax.random.key(0), SOURCE))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "taps", "shapes"),
    [
        (CUT, (0, 4, 8, 12, 16), [(22, 30, 3), (16, 24, 4), (8, 12, 8), (4, 6, 8), (4, 6, 8)]),
        (PLAIN, (0, 4, 8, 12, 16), [(22, 30, 3), (8, 12, 4), (4, 6, 8), (4, 6, 8), (4, 6, 8)]),
        (SINCUT, (0, 2, 4), [(16, 24, 3), (8, 12, 8), (8, 12, 8)]),
    ],
    ids=["cut", "plain", "sincut"],
)
def test_taps_leave_the_image_as_it_is_and_the_encoder_gives_the_same_features(
    module, taps, shapes
):
    variables = weights(module)
    image, features = jax.jit(functools.partial(module.apply, taps=taps))(variables, SOURCE)
    encode = functools.partial(module.apply, taps=taps, encode_only=True)
    alone = jax.jit(encode)(variables, SOURCE)
    assert [f.shape[1:] for f in features] == shapes
    np.testing.assert_allclose(image, jax.jit(module.apply)(variables, SOURCE), atol=1e-5)
    for a, b in zip(features, alone, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    # What comes after the last tap may be missing.
    needed = {
        "params": {
            name: leaves
            for name, leaves in variables["params"].items()
            if not name.startswith(("up", "image", "decoder"))
        }
    }
    assert jax.eval_shape(encode, needed, SOURCE) == jax.eval_shape(encode, variables, SOURCE)
    names = {name for name in needed["params"] if name.startswith("block")}
    last = {name for name in names if int(name.split("_")[1]) > 4 + 2 * (module is PLAIN)}
    for name in last:
        del needed["params"][name]
    assert jax.eval_shape(encode, needed, SOURCE) == jax.eval_shape(encode, variables, SOURCE)


def test_the_first_tap_is_the_reflected_source():
    features = CUT.apply(weights(CUT), SOURCE, taps=(0,), encode_only=True)
    np.testing.assert_array_equal(features[0], reflect_pad(SOURCE, 3))


def test_without_antialiasing_the_eighth_is_after_its_relu_and_with_it_before_its_norm():
    taps = (8, 12)
    plain = PLAIN.apply(weights(PLAIN), SOURCE, taps=taps, encode_only=True)[0]
    antialiased = CUT.apply(weights(CUT), SOURCE, taps=taps, encode_only=True)[0]
    assert plain.min() == 0 and antialiased.min() < 0
    assert antialiased.mean((1, 2)).max() > 1e-3


def test_features_have_gradients_of_the_encoder_alone():
    variables = weights(CUT)
    loss = lambda p: sum(  # noqa: E731
        jnp.abs(f).sum() for f in CUT.apply({"params": p}, SOURCE, taps=(4, 12), encode_only=True)
    )
    slopes = jax.jit(jax.grad(loss))(variables["params"])
    reached = {name for name, leaves in slopes.items() if np.abs(leaves["kernel"]).max() > 0}
    assert reached == {"stem", "down_0", "down_1", "block_0_conv_0", "block_0_conv_1"}


def test_parameters_are_the_same_tree_whatever_the_resampling():
    trees = []
    for down in (False, True):
        for up in (False, True):
            module = ResNetGenerator(features=2, blocks=1, antialias_down=down, antialias_up=up)
            trees.append(jax.tree.structure(weights(module)))
    assert len(set(trees)) == 1


def test_features_come_in_the_order_of_the_taps():
    double = lambda x: 2 * x  # noqa: E731
    x, features = run_layers(PLAIN, [[double], [double, double]], jnp.ones(1), taps=(2, 0, 0))
    assert (x.item(), [f.item() for f in features]) == (8, [8, 2, 2])


@pytest.mark.parametrize("tap", [-1, 2])
def test_a_tap_that_is_no_layer_is_refused(tap):
    with pytest.raises(ValueError, match=f"no layer {tap} to tap; this network has 0 to 1"):
        run_layers(PLAIN, [[jnp.sin], [jnp.cos]], jnp.ones(1), taps=(0, tap))


def test_encoding_nothing_is_refused():
    with pytest.raises(ValueError, match="name at least one tap"):
        run_layers(PLAIN, [[jnp.sin]], jnp.ones(1), encode_only=True)
