"""Adversarial losses against the design's formulas, written here a second time in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.losses import ADVERSARIAL_LOSSES, adversarial_loss

sp = lambda x: np.log1p(np.exp(x))  # noqa: E731
sg = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
relu = lambda x: np.maximum(x, 0)  # noqa: E731

# name: (D's loss, G's loss, both at r = 0.7, f = -0.4 as numbers worked out by hand, uses real)
TABLE = {
    "bce": (lambda r, f: sp(-r) + sp(f), lambda r, f: sp(-f), 0.916201, 0.913015, False),
    "lsgan": (
        lambda r, f: (r - 1) ** 2 / 2 + f**2 / 2,
        lambda r, f: (f - 1) ** 2 / 2,
        0.125,
        0.98,
        False,
    ),
    "lsgan-document": (
        lambda r, f: (sg(r) - sg(f)) ** 2,
        lambda r, f: sg(f),
        0.071223,
        0.401312,
        False,
    ),
    "lsgan-pairwise": (
        lambda r, f: (r - f - 1) ** 2,
        lambda r, f: (f - r - 1) ** 2,
        0.01,
        4.41,
        True,
    ),
    "hinge": (lambda r, f: relu(1 - r) + relu(1 + f), lambda r, f: -f, 0.9, 0.4, False),
    "wgan": (lambda r, f: f - r, lambda r, f: -f, -1.1, 0.4, False),
    "relativistic": (lambda r, f: sp(f - r), lambda r, f: sp(r - f), 0.287335, 1.387335, True),
}


def test_the_table_is_complete_and_closed():
    assert set(ADVERSARIAL_LOSSES) == set(TABLE)
    with pytest.raises(TypeError):
        ADVERSARIAL_LOSSES["mine"] = ADVERSARIAL_LOSSES["bce"]  # pyright: ignore


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown loss 'gan'.*bce, lsgan, lsgan-document"):
        adversarial_loss("gan")


@pytest.mark.parametrize("name", TABLE)
def test_closed_form_values(name):
    loss = adversarial_loss(name)
    r, f = jnp.array([0.7]), jnp.array([-0.4])
    np.testing.assert_allclose(loss.discriminator(r, f), [TABLE[name][2]], rtol=1e-4)
    np.testing.assert_allclose(loss.generator(r, f), [TABLE[name][3]], rtol=1e-4)
    assert loss.uses_real == TABLE[name][4]


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("shape", [(5,), (5, 1), (5, 3, 4)])
def test_one_float32_value_per_image_is_the_mean_of_its_map(name, shape):
    rng = np.random.default_rng(0)
    r, f = rng.normal(size=(2, *shape)).astype(np.float32) * 3
    loss = adversarial_loss(name)
    for ours, formula in zip((loss.discriminator, loss.generator), TABLE[name], strict=False):
        got = ours(jnp.asarray(r), jnp.asarray(f))
        assert got.shape == (5,) and got.dtype == jnp.float32
        np.testing.assert_allclose(got, formula(r, f).reshape(5, -1).mean(1), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", TABLE)
def test_bfloat16_logits_are_averaged_in_float32(name):
    logits = jnp.linspace(-2, 2, 512).reshape(1, 512).astype(jnp.bfloat16)
    wide = logits.astype(jnp.float32)
    loss = adversarial_loss(name)
    np.testing.assert_array_equal(
        loss.discriminator(logits, -logits), loss.discriminator(wide, -wide)
    )


@pytest.mark.parametrize("name", TABLE)
def test_extreme_logits_stay_finite_in_value_and_gradient(name):
    r, f = jnp.array([300.0, -300.0]), jnp.array([-300.0, 300.0])
    loss = adversarial_loss(name)
    for function in (loss.discriminator, loss.generator):
        value, gradient = jax.value_and_grad(lambda f, function=function: function(r, f).sum())(f)
        assert np.isfinite(value) and np.isfinite(gradient).all()


@pytest.mark.parametrize("name", TABLE)
def test_the_generator_raises_its_score_except_with_the_documents_formula(name):
    r, f = jnp.array([0.3]), jnp.array([-0.2])
    slope = jax.grad(lambda f: adversarial_loss(name).generator(r, f).sum())(f)[0]
    assert (slope > 0) == (name == "lsgan-document")


@pytest.mark.parametrize("name", TABLE)
def test_uses_real_says_whether_the_generators_loss_depends_on_real_logits(name):
    loss = adversarial_loss(name)
    f = jnp.array([-0.2])
    a, b = loss.generator(jnp.array([0.3]), f), loss.generator(jnp.array([1.3]), f)
    assert bool(a[0] != b[0]) == loss.uses_real


def test_a_constant_discriminator_is_optimal_for_the_documents_loss():
    same = jnp.full((4,), 0.37)
    assert adversarial_loss("lsgan-document").discriminator(same, same).max() == 0.0


def test_logits_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"must have the same shape"):
        adversarial_loss("lsgan").discriminator(jnp.zeros((4, 2)), jnp.zeros((4, 3)))
