"""Gates without a clock on the presets' steps: what is compiled, and how it steps."""

import logging
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.compiled import aliased_bytes, step_flops
from benchmarks.product import product, tree_bytes
from experiments.build import build_task
from experiments.presets import preset
from retrojax.training.placement import make_placement
from tests.preset_step import preset_step


@pytest.fixture(scope="module")
def one_device():
    return make_placement(16, jax.local_devices()[:1])


@pytest.fixture(scope="module")
def look(one_device):
    subject = product(preset("look"))
    return subject, subject.compile(one_device)


def values(shapes):
    """Any values of these shapes, made on the host: nothing is compiled for them."""

    def value(shape):
        if jnp.issubdtype(shape.dtype, jax.dtypes.prng_key):
            return jax.random.key(0)
        return np.random.default_rng(0).uniform(0, 0.1, shape.shape).astype(shape.dtype)

    return jax.tree.map(value, shapes)


def test_all_of_the_state_of_a_look_is_updated_in_place(look):
    subject, compiled = look
    assert subject.state_bytes > 5e5
    assert aliased_bytes(compiled.as_text()) >= 0.99 * subject.state_bytes


def test_stepping_a_look_compiles_nothing_and_moves_nothing(look, one_device, caplog):
    subject, compiled = look
    state = one_device.put_state(values(subject.state))
    raw = one_device.put_batch(values(subject.raw))
    caplog.set_level(logging.WARNING)
    with jax.log_compiles(), jax.transfer_guard("disallow"):
        for _ in range(3):
            state, metrics = compiled(state, raw)
        with pytest.raises(Exception, match="Disallowed host-to-device transfer"):
            compiled(state, values(subject.raw))
    assert not [record for record in caplog.records if "ompil" in record.getMessage()]
    assert all(np.isfinite(value) for value in jax.device_get(metrics).values())


def test_no_convolution_of_a_look_misses_the_fast_paths(look):
    assert "rhs_reversal" not in look[1].as_text()


@pytest.mark.parametrize(
    ("loss", "weights"),
    [
        pytest.param("wgan", ("gradient",), marks=pytest.mark.slow),
        ("relativistic", ("r1", "r2")),
    ],
)
def test_no_convolution_of_a_penalty_misses_the_fast_paths(loss, weights, one_device):
    """Its second derivatives reach forms of a convolution that first ones do not."""
    config = replace(preset("look"), loss=loss)
    assert all(getattr(build_task(config).penalties, name) > 0 for name in weights)
    assert "rhs_reversal" not in product(config).compile(one_device).as_text()


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("dcgan64-tiny", {"r1": 1.0}),
        pytest.param("r3gan-tiny", {}, marks=pytest.mark.slow),
        # At 32 pixels the gradient of the critic's last map, 2x2, turns the kernel.
        pytest.param("pix2pix-tiny", {"crop": 64}, marks=pytest.mark.slow),
        pytest.param("cyclegan-tiny", {"crop": 64}, marks=pytest.mark.slow),
    ],
)
def test_other_games_update_their_state_in_place_and_on_the_fast_paths(name, changes):
    built = preset_step(replace(preset(name), **changes))
    placement = make_placement(built.config.batch_size, jax.local_devices()[:1])
    text = placement.compile(built.step, built.state, built.raw).as_text()
    assert aliased_bytes(text) >= 0.99 * tree_bytes(built.state)
    assert "convolution(" in text and "rhs_reversal" not in text


def test_a_stock_transposed_convolution_would_be_seen():
    def loss(kernel, x):
        return (jax.lax.conv_transpose(x, kernel, (2, 2), "SAME") ** 2).sum()

    kernel, x = jnp.zeros((4, 4, 8, 8)), jnp.zeros((2, 8, 8, 8))
    assert "rhs_reversal" in jax.jit(jax.grad(loss)).lower(kernel, x).compile().as_text()


@pytest.mark.parametrize("name", [pytest.param("tiny", marks=pytest.mark.slow), "look"])
def test_the_joint_step_works_no_more_than_its_parts(name):
    """Rendering the look, the forward pass, its pullback and both losses' gradients, by themselves.

    The film's rendering is counted, so a second one would be seen as well. Lowered, since a
    compiler's merging would be counted too, and for a TPU: a convolution has other forms on CPU.
    """
    config = preset(name)
    subject, task, key = product(config), build_task(config), jax.random.key(0)
    g, d = subject.state.generator, subject.state.discriminator
    batch = jax.eval_shape(task.prepare, subject.raw, key)

    def generate(params, batch):
        return task.generate({"params": params, **g.collections}, batch, key)[0]

    def generate_and_pull_back(params, batch, cotangent):
        outputs, pullback = jax.vjp(lambda params: generate(params, batch), params)
        return outputs, pullback(cotangent)

    def discriminator_loss(params, outputs, batch):
        return task.discriminator_loss({"params": params}, outputs, batch, key)[0]

    def generator_loss(outputs, params, batch):
        return task.generator_loss({"params": params}, outputs, batch, key)[0]

    def judge(params, image, condition):
        return task.discriminator.apply({"params": params}, image, condition, train=True)

    assert not g.collections and not d.collections
    outputs = jax.eval_shape(generate, g.params, batch)
    parts = (
        step_flops(lambda raw: task.prepare(raw, key), subject.raw)
        + step_flops(generate_and_pull_back, g.params, batch, outputs)
        + step_flops(jax.grad(discriminator_loss), d.params, outputs, batch)
        + step_flops(jax.grad(generator_loss), outputs, d.params, batch)
    )
    joint = step_flops(subject.step, subject.state, subject.raw)
    assert parts <= joint <= 1.02 * parts
    for once_more in (
        step_flops(generate, g.params, batch),
        step_flops(judge, d.params, outputs.image, batch["source"]),
        step_flops(lambda raw: task.prepare(raw, key), subject.raw),
    ):
        assert joint + once_more > 1.02 * parts, "a second pass must be more than the tolerance"
