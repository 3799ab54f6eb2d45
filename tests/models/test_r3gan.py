"""R3GAN: how it starts, what runs in which type, labels and sizes.

Values and derivatives are tests/models/test_parity.py's, sizes test_parameter_counts.py's.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from retrojax.models import R3GANDiscriminator, R3GANGenerator
from retrojax.models.layers import resample_down, resample_up

SMALL = {"widths": (16, 16, 8), "blocks": 1, "group_channels": 8}
Z, IMAGES = jnp.ones((2, 4)), jnp.ones((2, 16, 16, 3))
LABELS = jnp.asarray([3, 1])


def shapes(module, *inputs):
    return jax.eval_shape(module.init_with_output, jax.random.key(0), *inputs)


@pytest.mark.slow
def test_it_starts_with_the_papers_deviations():
    """g^2 / fan_in with g = sqrt(2 / 1.04) T^(-1/4) in T blocks, 1 elsewhere; last kernels 0."""
    generator = R3GANGenerator(widths=(64, 32), classes=200, latent_size=64)
    critic = R3GANDiscriminator(widths=(64, 32), classes=200)
    gain = np.sqrt(2 / 1.04) * 4**-0.25
    key, labels = jax.random.key(0), jnp.asarray([0])
    g = jax.jit(generator.init)(key, jnp.ones((1, 64)), labels)["params"]
    d = jax.jit(critic.init)(key, jnp.ones((1, 8, 8, 3)), labels)["params"]
    deviations = [
        (g["stage_0_block_1"]["expand"]["kernel"], gain / np.sqrt(64)),
        (g["stage_0_block_1"]["grouped"]["kernel"], gain / np.sqrt(9 * 16)),
        (d["stage_0_block_0"]["grouped"]["kernel"], gain / np.sqrt(9 * 16)),
        (g["stage_1_project"]["kernel"], 1 / np.sqrt(64)),
        (d["stage_1_project"]["kernel"], 1 / np.sqrt(32)),
        (g["basis"], 1),
        (g["latent"]["kernel"], 1 / np.sqrt(128)),
        (g["classes_embedding"], 1 / np.sqrt(200)),
        (d["classes_embedding"], 1 / np.sqrt(200 * 64)),
        (d["collect"], 1 / 4),
        (d["logits"]["kernel"], 1 / np.sqrt(64)),
    ]
    for values, deviation in deviations:
        assert np.std(values) == pytest.approx(deviation, rel=0.08)
    for params in (g, d):
        blocks = [leaves for name, leaves in params.items() if "block" in name]
        assert len(blocks) == 4
        for block in blocks:
            assert set(block["reduce"]) == {"kernel"}
            np.testing.assert_array_equal(block["reduce"]["kernel"], 0.0)
            np.testing.assert_array_equal(block["grouped"]["bias"], 0.0)


@pytest.mark.slow
def test_at_the_start_blocks_do_nothing():
    generator = R3GANGenerator(**SMALL, latent_size=4)
    images, variables = jax.jit(generator.init_with_output)(jax.random.key(0), Z)
    p = variables["params"]
    x = p["basis"][None] * (Z @ p["latent"]["kernel"])[:, None, None, :]
    x = resample_up(resample_up(x) @ p["stage_2_project"]["kernel"]) @ p["image"]["kernel"]
    np.testing.assert_allclose(images, x, rtol=1e-4, atol=1e-5)
    critic = R3GANDiscriminator(**SMALL)
    logits, variables = jax.jit(critic.init_with_output)(jax.random.key(0), IMAGES)
    p = variables["params"]
    x = resample_down(IMAGES @ p["image"]["kernel"]) @ p["stage_2_project"]["kernel"]
    x = (resample_down(x) * p["collect"][None]).sum((1, 2)) @ p["logits"]["kernel"]
    np.testing.assert_allclose(logits, x[:, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("narrow", [0, 2, 3])
def test_only_the_highest_resolutions_are_narrow(narrow):
    options = SMALL | {"dtype": jnp.bfloat16, "narrow_stages": narrow}
    for module, inputs in (
        (R3GANGenerator(**options, latent_size=4), Z),
        (R3GANDiscriminator(**options), IMAGES),
    ):
        out, variables = shapes(module, inputs)
        assert {leaf.dtype for leaf in jax.tree.leaves((out, variables))} == {jnp.dtype("float32")}
        capture = lambda v: module.apply(  # noqa: B023, E731
            v,
            inputs,  # noqa: B023
            capture_intermediates=True,
            mutable=["intermediates"],
        )
        inner = jax.eval_shape(capture, variables)[1]["intermediates"]
        for stage in range(3):
            dtype = inner[f"stage_{stage}_block_0"]["__call__"][0].dtype
            assert dtype == (jnp.bfloat16 if stage >= 3 - narrow else jnp.float32)


@pytest.mark.slow
def test_labels_change_what_is_made_and_how_it_is_judged():
    generator = R3GANGenerator(**SMALL, latent_size=4, classes=5)
    critic = R3GANDiscriminator(**SMALL, classes=5)
    for module, inputs in ((generator, Z), (critic, IMAGES)):
        variables = jax.jit(module.init)(jax.random.key(0), inputs, LABELS)
        out = jax.jit(module.apply)(variables, inputs, LABELS)
        # The two inputs are equal.
        assert np.abs(out[0] - out[1]).max() > 1e-4
        swapped = jax.jit(module.apply)(variables, inputs, LABELS[::-1])
        np.testing.assert_allclose(out, swapped[::-1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("classes", "labels", "message"),
    [(5, None, "classes=5 but labels are missing"), (0, LABELS, "classes=0 but labels were given")],
)
def test_labels_and_classes_belong_together(classes, labels, message):
    for module, inputs in (
        (R3GANGenerator(**SMALL, latent_size=4, classes=classes), Z),
        (R3GANDiscriminator(**SMALL, classes=classes), IMAGES),
    ):
        with pytest.raises(ValueError, match=message):
            shapes(module, inputs, labels)


def test_other_sizes_and_widths_that_no_group_divides_are_refused():
    with pytest.raises(ValueError, match="of 3 stages takes images of 16x16 pixels, got 16x8"):
        shapes(R3GANDiscriminator(**SMALL), IMAGES[:, :, :8])
    message = "width 9 has 18 channels inside, which is no multiple of group_channels=16"
    with pytest.raises(ValueError, match=message):
        shapes(R3GANGenerator(widths=(9,), latent_size=4), Z)


def penalty_slope(module):
    """Lowered: the gradient of the squared slope of a critic, or of a layer in its place."""
    variables = shapes(module, IMAGES)[1]

    def penalty(variables, images):
        judge = lambda x: module.apply(variables, x).sum()  # noqa: E731
        return (jax.grad(judge)(images) ** 2).sum()

    return jax.jit(jax.grad(penalty)).lower(variables, IMAGES)


def test_no_derivative_up_to_that_of_the_penalty_meets_a_slow_convolution():
    """Of groups, the lowered program tells; of swapped operands, only the compiled one."""
    lowered = penalty_slope(R3GANDiscriminator(**SMALL))
    assert "feature_group_count = 4" in lowered.as_text()
    assert "batch_group_count = 4" not in lowered.as_text()
    text = lowered.compile().as_text()
    assert "convolution(" in text and "rhs_reversal" not in text


def test_slow_convolutions_in_a_penalty_would_be_seen():
    class Stock(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.silu(nn.Conv(8, (4, 4), 2)(x))
            return nn.silu(nn.Conv(8, (3, 3), feature_group_count=4)(x))

    lowered = penalty_slope(Stock())
    assert "batch_group_count = 4" in lowered.as_text()
    assert "rhs_reversal" in lowered.compile().as_text()
