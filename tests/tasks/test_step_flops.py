"""Each distinct application of a network runs forward once a step: FLOPs of the lowered step.

The minimum is put together from single applications, each lowered by itself with the derivatives
that the algorithm needs of it. Lowered and not compiled: a compiler would hide what is done twice.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.build import build_optimizers, build_task
from experiments.presets import preset
from retrojax.losses import patch_indices, patch_nce, squared_norm
from retrojax.models import PatchSampleF
from retrojax.tasks.players import split
from retrojax.training.state import init_state
from retrojax.training.step import make_step, rounds

KEY = jax.random.key(0)


def flops(function, *shapes):
    return jax.jit(function).lower(*shapes).cost_analysis()["flops"]


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
    config = preset(name)
    task = replace(build_task(config), **changes)
    side = getattr(config, "window", 32)
    count = config.batch_size * rounds(config.discriminator_steps, config.fresh_generator_batch)
    names = ("source",) if name.startswith("r3gan") else ("source", "target")
    if name.startswith("pix2pix"):
        names = ("source",)
    raw = {n: jax.ShapeDtypeStruct((count, side, side, 3), np.uint8) for n in names}
    optimizers = build_optimizers(config)

    def start():
        example = {n: jnp.zeros((config.batch_size, side, side, 3), jnp.uint8) for n in names}
        players = jax.jit(task.init)(KEY, jax.jit(task.prepare)(example, KEY))
        return init_state(KEY, *players, optimizers, ema=False)

    state = jax.eval_shape(start)
    step = make_step(
        task,
        optimizers,
        order=config.order,
        discriminator_steps=config.discriminator_steps,
        fresh_generator_batch=config.fresh_generator_batch,
    )
    batch = jax.eval_shape(task.prepare, raw, KEY)
    prepared = flops(lambda raw: task.prepare(raw, KEY), raw)
    adam = sum(
        flops(lambda g, s, o=o: o.update(g, s, g), player.params, player.opt_state)
        for o, player in zip(optimizers, (state.generator, state.discriminator), strict=True)
    )
    return config, task, state, batch, flops(step, state, raw), prepared + adam


def image(config, count=None):
    side = getattr(config, "crop", None) or config.size
    return jax.ShapeDtypeStruct((count or config.batch_size, side, side, 3), np.float32)


def applications(apply, params, x):
    """Of one application: name of the derivatives -> FLOPs."""
    y = jax.eval_shape(apply, params, x)
    kinds = {"forward": forward, "params": by_params, "input": by_input, "both": by_both}
    return {kind: flops(make(apply), params, x, y) for kind, make in kinds.items()}


def plain(module):
    return lambda params, x: module.apply({"params": params}, x)


def check(joint, minimum, one_more):
    assert joint <= 1.05 * minimum, f"{joint / minimum:.3f} of the minimum"
    assert joint + one_more > 1.05 * minimum, "one more application must be seen"


@pytest.mark.slow
def test_cyclegan_applies_each_generator_three_times():
    config, task, state, _, joint, rest = game("cyclegan-tiny")
    own = split(state.generator.variables, ("forward",))["forward"]["params"]
    g = applications(plain(task.generator), own, image(config))
    critic = state.discriminator.params["target"]
    d = applications(plain(task.discriminator), critic, image(config))
    # Fake and identity start at data; the way back starts at a fake.
    generators = 2 * (2 * g["params"] + g["both"])
    critics = 2 * (2 * d["params"] + d["input"])
    check(joint, generators + critics + rest, g["forward"])


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
    minimum = 2 * g["params"] + 2 * e["both"] + 2 * d["params"] + d["input"]
    features = jax.eval_shape(encode, own, image(config))
    sizes = [x.shape[1] * x.shape[2] for x in features]
    places = patch_indices(KEY, sizes, task.patches)

    def contrast(head, encoded, own):
        queries, keys = (task.head.apply({"params": head}, x, places) for x in (encoded, own))
        return sum(patch_nce(q, k).mean() for q, k in zip(queries, keys, strict=True))

    head = state.generator.params["head"]
    minimum += 2 * flops(jax.grad(contrast, argnums=(0, 1)), head, features, features)
    check(joint, minimum + rest, e["forward"])


@pytest.mark.slow
def test_pix2pix_makes_its_fake_once():
    config, task, state, _, joint, rest = game("pix2pix-tiny")
    g = flops(
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
    check(joint, g + 2 * d["params"] + d["input"] + rest, d["forward"])


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

    once = flops(penalised, state.discriminator.params, image(config))
    minimum = g["forward"] + g["params"] + 2 * once + d["input"] + d["forward"]
    check(joint, minimum + rest, d["forward"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cyclegan-tiny", "r3gan-tiny"])
def test_the_minimum_is_no_more_than_the_step(name):
    """A minimum above what is really done would let work be wasted unseen."""
    _, _, _, _, joint, rest = game(name)
    assert rest < 0.5 * joint
