"""The PatchGAN: size of its maps and patches, its published parameter counts, its types."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.models import PatchDiscriminator, PixelDiscriminator


def shapes(module, *images, train=False):
    """Shapes of the variables and of the logits, without computing either."""
    initialise = functools.partial(module.init_with_output, train=train)
    logits, variables = jax.eval_shape(initialise, jax.random.key(0), *images)
    return variables, logits


def picture(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def weights(module, *images, seed=0):
    """Variables filled with numpy's normal values of deviation 0.2."""
    rng = np.random.default_rng(seed)
    fill = lambda leaf: jnp.asarray(0.2 * rng.normal(size=leaf.shape), leaf.dtype)  # noqa: E731
    return jax.tree.map(fill, shapes(module, *images)[0])


@pytest.mark.parametrize(
    ("layers", "size", "logits"), [(3, 256, 30), (3, 70, 6), (1, 16, 6), (2, 34, 6), (3, 24, 1)]
)
def test_the_map_has_the_published_size(layers, size, logits):
    images = picture(2, size, size + 2 ** (layers + 1), 3)
    _, out = shapes(PatchDiscriminator(features=2, layers=layers), images)
    assert out.shape == (2, logits, logits + 2)


@pytest.mark.parametrize(
    ("norm", "conditional", "count"),
    [
        ("instance", True, 2_767_809),
        ("batch", True, 2_768_705),
        ("instance", False, 2_764_737),
        ("batch", False, 2_765_633),
    ],
)
def test_the_default_has_the_published_number_of_parameters(norm, conditional, count):
    images = [picture(1, 70, 70, 3)] * (2 if conditional else 1)
    variables, _ = shapes(PatchDiscriminator(norm=norm), *images)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == count


@pytest.mark.parametrize(("layers", "patch"), [(1, 16), (2, 34), (3, 70)])
def test_a_logit_sees_exactly_its_patch(layers, patch):
    module = PatchDiscriminator(features=2, layers=layers, norm="none")
    size = 2 * patch
    images = jnp.asarray(np.random.default_rng(0).normal(size=(1, size, size, 3)), jnp.float32)
    variables = weights(module, images)
    side = shapes(module, images)[1].shape[1]
    logit = lambda x: module.apply(variables, x)[0, side // 2, side // 2]  # noqa: E731
    seen = np.asarray(jax.jit(jax.grad(logit))(images)[0]).any(axis=-1)
    for axis in (0, 1):
        touched = np.flatnonzero(seen.any(axis=axis))
        assert touched[-1] - touched[0] + 1 == patch == len(touched)


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_the_smallest_size_leaves_one_logit_and_anything_smaller_is_refused(layers):
    module = PatchDiscriminator(features=2, layers=layers)
    least = module.minimum_size
    assert shapes(module, picture(1, least, least, 3))[1].shape == (1, 1, 1)
    message = f"images of {least}x{least - 1} are too small.*{layers} layers.*at least {least}; use"
    with pytest.raises(ValueError, match=message):
        shapes(module, picture(1, least, least - 1, 3))


def test_the_condition_comes_first_among_the_channels():
    module = PatchDiscriminator(features=2, layers=1, norm="none")
    rng = np.random.default_rng(1)
    images, source = jnp.asarray(rng.normal(size=(2, 1, 12, 12, 3)), jnp.float32)
    joined = jnp.concatenate([source, images], axis=-1)
    variables = weights(module, joined)
    apply = jax.jit(module.apply)
    np.testing.assert_array_equal(apply(variables, images, source), apply(variables, joined))


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_examples_are_judged_apart(norm):
    module = PatchDiscriminator(features=2, layers=1, norm=norm)
    images = jnp.asarray(np.random.default_rng(2).normal(size=(3, 12, 12, 3)), jnp.float32)
    variables = jax.tree.map(lambda leaf: jnp.abs(leaf) + 0.1, weights(module, images))
    apply = jax.jit(module.apply)
    np.testing.assert_allclose(
        apply(variables, images)[:1], apply(variables, images[:1]), rtol=1e-5, atol=1e-6
    )


def test_no_norm_on_the_first_map_and_none_on_the_logits():
    variables, _ = shapes(PatchDiscriminator(features=8, norm="batch"), picture(1, 70, 70, 3))
    params = variables["params"]
    assert {name for name in params if name.startswith("norm")} == {"norm_1", "norm_2", "norm_3"}
    biased = {name for name, leaves in params.items() if "kernel" in leaves and "bias" in leaves}
    assert biased == {"conv_0", "logits"}
    widths = [params[f"conv_{i}"]["kernel"].shape for i in range(4)]
    assert widths == [(4, 4, 3, 8), (4, 4, 8, 16), (4, 4, 16, 32), (4, 4, 32, 64)]


def test_widths_stop_at_eight_times_the_first():
    variables, _ = shapes(PatchDiscriminator(features=2, layers=5), picture(1, 286, 286, 3))
    assert [variables["params"][f"conv_{i}"]["kernel"].shape[3] for i in range(6)] == [
        *(2, 4, 8, 16, 16, 16)
    ]


def test_batch_norm_moves_its_statistics_in_training_alone():
    module = PatchDiscriminator(features=2, layers=1, norm="batch")
    images = jnp.asarray(np.random.default_rng(3).normal(size=(2, 12, 12, 3)), jnp.float32)
    variables = weights(module, images)
    run = jax.jit(functools.partial(module.apply, train=True, mutable=["batch_stats"]))
    _, moved = run(variables, images)
    before, after = (np.asarray(v["batch_stats"]["norm_1"]["mean"]) for v in (variables, moved))
    assert (before != after).all()


def test_bfloat16_gives_float32_logits_of_float32_parameters():
    module = PatchDiscriminator(features=2, layers=1, dtype=jnp.bfloat16)
    variables, logits = shapes(module, picture(1, 16, 16, 3))
    assert logits.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    # Narrow inside: the logits are numbers that bfloat16 can hold.
    images = jnp.asarray(np.random.default_rng(4).normal(size=(1, 16, 16, 3)), jnp.float32)
    out = jax.jit(module.apply)(weights(module, images), images)
    np.testing.assert_array_equal(out, out.astype(jnp.bfloat16).astype(jnp.float32))


def test_an_unknown_norm_is_refused():
    with pytest.raises(ValueError, match="unknown norm 'layer'; choose one of instance"):
        shapes(PatchDiscriminator(norm="layer"), picture(1, 70, 70, 3))


@pytest.mark.slow
@pytest.mark.parametrize("kernel_size", [3, 4, 5])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_antialiased_maps_have_the_same_sizes_and_parameters(layers, kernel_size):
    plain = PatchDiscriminator(features=2, layers=layers, kernel_size=kernel_size)
    blurred = plain.clone(antialias=True)
    for size in range(blurred.minimum_size, blurred.minimum_size + 8):
        images = picture(1, size, 40, 3)
        assert shapes(plain, images) == shapes(blurred, images)
    least = blurred.minimum_size
    assert shapes(blurred, picture(1, least, least, 3))[1].shape == (1, 1, 1)
    with pytest.raises(ValueError, match=f"at least {least}"):
        shapes(blurred, picture(1, least - 1, 40, 3))


@pytest.mark.slow
@pytest.mark.parametrize(("layers", "patch"), [(1, 18), (2, 40), (3, 84)])
def test_antialiasing_widens_the_patch(layers, patch):
    module = PatchDiscriminator(features=2, layers=layers, norm="none", antialias=True)
    size = 2 * patch
    images = jnp.asarray(np.random.default_rng(0).normal(size=(1, size, size, 3)), jnp.float32)
    variables = weights(module, images)
    side = shapes(module, images)[1].shape[1]
    logit = lambda x: module.apply(variables, x)[0, side // 2, side // 2]  # noqa: E731
    touched = np.flatnonzero(np.asarray(jax.jit(jax.grad(logit))(images)[0]).any(axis=(0, 2)))
    assert touched[-1] - touched[0] + 1 == patch


def test_a_pixel_is_judged_by_its_colour_and_its_condition_alone():
    module = PixelDiscriminator(features=2, norm="none")
    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 6, 3)), jnp.float32)
    variables = weights(module, images, images)
    apply = jax.jit(module.apply)
    logits = apply(variables, images, images)
    assert logits.shape == (2, 5, 6) and logits.dtype == jnp.float32
    np.testing.assert_allclose(
        apply(variables, images[:, ::-1], images[:, ::-1]), logits[:, ::-1], rtol=1e-5, atol=1e-6
    )
    joined = apply(variables, jnp.concatenate([images, images], -1))
    np.testing.assert_array_equal(joined, logits)
