"""Each distinct application of a network runs forward once a step: FLOPs of the lowered step.

The minimum is put together from single applications, each lowered by itself with the derivatives
that the algorithm needs of it. Lowered and not compiled: a compiler would hide what is done twice.
For a TPU, where convolutions are plain: what one of them costs is known, see the first test.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.compiled import step_flops
from benchmarks.convolutions import Convolution
from experiments.presets import preset
from retrojax.losses import patch_indices, patch_nce, squared_norm
from retrojax.models import PatchSampleF
from retrojax.models.layers import Conv, ConvTranspose
from retrojax.tasks.players import split
from tests.preset_step import preset_step

KEY = jax.random.key(0)


def by_params(apply):
    """Forward, and back to the parameters."""

    def run(params, x, cotangent):
        _, pullback = jax.vjp(lambda params: apply(params, x), params)
        return pullback(cotangent)

    return run


def by_input(apply):
    """Forward, and back to the input."""

    def run(params, x, cotangent):
        _, pullback = jax.vjp(lambda x: apply(params, x), x)
        return pullback(cotangent)

    return run


def by_both(apply):
    def run(params, x, cotangent):
        _, pullback = jax.vjp(apply, params, x)
        return pullback(cotangent)

    return run


def forward(apply):
    return lambda params, x, cotangent: apply(params, x)


def game(name, **changes):
    built = preset_step(preset(name), **changes)
    task, state = built.task, built.state
    batch = jax.eval_shape(task.prepare, built.raw, KEY)
    prepared = step_flops(lambda raw: task.prepare(raw, KEY), built.raw)
    adam = sum(
        step_flops(lambda g, s, o=o: o.update(g, s, g), player.params, player.opt_state)
        for o, player in zip(built.optimizers, (state.generator, state.discriminator), strict=True)
    )
    joint = step_flops(built.step, state, built.raw)
    return built.config, task, state, batch, joint, prepared + adam


def image(config, count=None):
    side = getattr(config, "crop", None) or config.size
    return jax.ShapeDtypeStruct((count or config.batch_size, side, side, 3), np.float32)


def applications(apply, params, x):
    """Of one application: a function from the names of its derivatives to FLOPs."""
    y = jax.eval_shape(apply, params, x)
    kinds = {"forward": forward, "params": by_params, "input": by_input, "both": by_both}
    return cache(lambda kind: step_flops(kinds[kind](apply), params, x, y))


def plain(module):
    return lambda params, x: module.apply({"params": params}, x)


def check(joint, minimum, one_more):
    # A minimum above what is really done would let work be wasted unseen.
    assert minimum <= joint <= 1.05 * minimum, f"{joint / minimum:.3f} of the minimum"
    assert joint + one_more > 1.05 * minimum, "one more application must be seen"


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (4, 2)])
def test_a_convolution_and_its_gradients_take_two_flops_a_tap(kernel, stride, transposed):
    """Without padding, whose taps the analysis leaves out and the formula counts."""
    shape = Convolution(transposed, 2, (9, 12), 3, 8, kernel, stride, (0, 0))
    layer = (ConvTranspose if transposed else Conv)(8, kernel, stride, "valid", use_bias=False)
    x = jax.ShapeDtypeStruct((2, *shape.size, 3), np.float32)
    variables = jax.eval_shape(layer.init, KEY, x)
    y = jax.eval_shape(layer.apply, variables, x)
    assert y.shape == (2, *shape.result_size, 8)
    # A layer is linear in both, so a gradient has no forward pass.
    for derivative in (forward, by_input, by_params):
        assert step_flops(derivative(layer.apply), variables, x, y) == shape.flops
    assert step_flops(by_both(layer.apply), variables, x, y) == 2 * shape.flops


@pytest.mark.slow
def test_cyclegan_applies_each_generator_three_times():
    config, task, state, _, joint, rest = game("cyclegan-tiny")
    own = split(state.generator.variables, ("forward",))["forward"]["params"]
    g = applications(plain(task.generator), own, image(config))
    critic = state.discriminator.params["target"]
    d = applications(plain(task.discriminator), critic, image(config))
    # Fake and identity start at data; the way back starts at a fake.
    generators = 2 * (2 * g("params") + g("both"))
    critics = 2 * (2 * d("params") + d("input"))
    check(joint, generators + critics + rest, g("forward"))


@pytest.mark.slow
def test_cut_encodes_fakes_once_and_sources_in_their_forward_pass():
    config, task, state, _, joint, rest = game(
        "cut-tiny", head=PatchSampleF(features=8), patches=16
    )
    own = split(state.generator.variables, ("network",))["network"]["params"]
    g = applications(plain(task.generator), own, image(config))

    def encode(params, x):
        variables = {"params": params}
        return task.generator.apply(variables, x, taps=task.layers, encode_only=True)

    e = applications(encode, own, image(config))
    d = applications(plain(task.discriminator), state.discriminator.params, image(config))
    minimum = 2 * g("params") + 2 * e("both") + 2 * d("params") + d("input")
    features = jax.eval_shape(encode, own, image(config))
    sizes = [x.shape[1] * x.shape[2] for x in features]
    places = patch_indices(KEY, sizes, task.patches)

    def contrast(head, encoded, own):
        queries, keys = (task.head.apply({"params": head}, x, places) for x in (encoded, own))
        return sum(patch_nce(q, k).mean() for q, k in zip(queries, keys, strict=True))

    head = state.generator.params["head"]
    minimum += 2 * step_flops(jax.grad(contrast, argnums=(0, 1)), head, features, features)
    check(joint, minimum + rest, e("forward"))


@pytest.mark.slow
def test_pix2pix_makes_its_fake_once():
    config, task, state, _, joint, rest = game("pix2pix-tiny")
    g = step_flops(
        by_params(
            lambda params, x: task.generator.apply(
                {"params": params, **state_collections}, x, train=True, mutable=["batch_stats"],
                rngs={"dropout": KEY},
            )[0]
        ),
        state.generator.params, image(config), image(config),
    ) if (state_collections := _zeros(state.generator.collections)) else 0  # fmt: skip
    both = jax.ShapeDtypeStruct((*image(config).shape[:3], 6), np.float32)

    def judge(params, x):
        variables = {"params": params, **_zeros(state.discriminator.collections)}
        return task.discriminator.apply(
            variables, x[..., 3:], x[..., :3], train=True, mutable=["batch_stats"]
        )[0]

    d = applications(judge, state.discriminator.params, both)
    check(joint, g + 2 * d("params") + d("input") + rest, d("forward"))


def _zeros(shapes):
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)


@pytest.mark.slow
def test_r3gan_judges_each_image_once_with_its_penalty():
    config, task, state, _, joint, rest = game("r3gan-tiny")
    z = jax.ShapeDtypeStruct((config.batch_size, task.generator.latent_size), np.float32)
    g = applications(plain(task.generator), state.generator.params, z)
    judge = plain(task.discriminator)
    d = applications(judge, state.discriminator.params, image(config))

    def penalised(params, x):
        def total(params):
            logits, pullback = jax.vjp(lambda x: judge(params, x), x)
            return (logits + squared_norm(pullback(jnp.ones_like(logits))[0])).sum()

        return jax.grad(total)(params)

    once = step_flops(penalised, state.discriminator.params, image(config))
    minimum = g("forward") + g("params") + 2 * once + d("input") + d("forward")
    check(joint, minimum + rest, d("forward"))
