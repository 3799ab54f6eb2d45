"""The joint step against a plain two-player update written out with a toy game and SGD."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.training.optimizers import make_optimizer
from retrojax.training.placement import make_placement
from retrojax.training.state import init_state
from retrojax.training.step import average, make_step

LR_G, LR_D = 0.05, 0.1


def toy_task():
    """G: x -> w x + noise; D: y -> a tanh(b y). D counts its calls in a collection."""

    def critic(d, y):
        return d["params"]["a"] * jnp.tanh(d["params"]["b"] * y)

    def called(d):
        return {"calls": d["calls"] + 1}

    def prepare(raw, key, step=0):
        return {"x": raw["x"] + 0.01 * jax.random.normal(key, raw["x"].shape)}

    def generate(g, batch, key):
        noise = jax.random.normal(key, batch["x"].shape)
        return g["params"]["w"] * batch["x"] + 0.1 * noise, ({}, {})

    def discriminator_loss(d, y, batch, key):
        loss = (critic(d, batch["x"]) - 1) ** 2 + critic(d, y) ** 2
        return loss.mean(), (called(d), {"d/loss": loss.mean()})

    def generator_loss(d, y, batch, key):
        loss = ((critic(d, y) - 1) ** 2).mean()
        return loss, (called(d), {"g/loss": loss})

    return SimpleNamespace(
        init=lambda key, batch: variables(),
        sample=lambda g, batch, key: {},
        prepare=prepare,
        generate=generate,
        discriminator_loss=discriminator_loss,
        generator_loss=generator_loss,
    )


def variables():
    g = {"params": {"w": jnp.float32(0.5)}}
    d = {"params": {"a": jnp.float32(0.3), "b": jnp.float32(0.8)}, "calls": jnp.int32(0)}
    return g, d


OPTIMIZERS = (make_optimizer("sgd", LR_G), make_optimizer("sgd", LR_D))


def start(ema=False):
    return init_state(jax.random.key(7), *variables(), OPTIMIZERS, ema=ema)


@pytest.fixture
def raw():
    return {"x": jnp.linspace(0.5, 2.0, 8).reshape(8, 1)}


def reference(raw, steps, order):
    """Both players' updates as anyone would write them, with the keys of the design."""
    task = toy_task()
    g, d = (v["params"] for v in variables())
    for step in range(steps):
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(7), step), 0)
        keys = jax.random.split(key, 4)
        batch = task.prepare(raw, keys[0])

        def d_loss(d, g, batch=batch, keys=keys):
            y, _ = task.generate({"params": g}, batch, keys[1])
            return task.discriminator_loss({"params": d, "calls": 0}, y, batch, keys[2])[0]

        def g_loss(g, d, batch=batch, keys=keys):
            y, _ = task.generate({"params": g}, batch, keys[1])
            return task.generator_loss({"params": d, "calls": 0}, y, batch, keys[3])[0]

        new_d = jax.tree.map(lambda p, q: p - LR_D * q, d, jax.grad(d_loss)(d, g))
        met = new_d if order == "alternating" else d
        g = jax.tree.map(lambda p, q: p - LR_G * q, g, jax.grad(g_loss)(g, met))
        d = new_d
    return g, d


@pytest.mark.parametrize("order", ["alternating", "simultaneous"])
def test_equals_the_two_updates_written_out(raw, order):
    step = jax.jit(make_step(toy_task(), OPTIMIZERS, order=order))
    state = start()
    for _ in range(10):
        state, _ = step(state, raw)
    g, d = reference(raw, 10, order)
    np.testing.assert_allclose(state.generator.params["w"], g["w"], rtol=1e-5)
    for name in d:
        np.testing.assert_allclose(state.discriminator.params[name], d[name], rtol=1e-5)
    assert abs(float(g["w"]) - 0.5) > 0.01


def test_the_orders_differ(raw):
    a, b = (reference(raw, 3, order)[0]["w"] for order in ("alternating", "simultaneous"))
    assert abs(float(a - b)) > 1e-5


def test_the_discriminators_collections_pass_through_both_losses(raw):
    state, _ = make_step(toy_task(), OPTIMIZERS)(start(), raw)
    assert int(state.discriminator.collections["calls"]) == 2


def test_metrics_of_both_players_and_their_gradient_norms(raw):
    _, metrics = make_step(toy_task(), OPTIMIZERS)(start(), raw)
    assert set(metrics) == {"d/loss", "g/loss", "d/gradient_norm", "g/gradient_norm"}
    g, _ = reference(raw, 1, "alternating")
    np.testing.assert_allclose(metrics["g/gradient_norm"], abs(g["w"] - 0.5) / LR_G, rtol=1e-3)


def test_the_generator_runs_forward_once(raw):
    task = toy_task()
    calls = []
    generate = task.generate
    task.generate = lambda *arguments: calls.append(1) or generate(*arguments)
    jax.jit(make_step(task, OPTIMIZERS)).lower(start(), raw)
    assert len(calls) == 1


def test_a_step_is_a_function_of_the_state_alone(raw):
    """Stepping 3 + 2 from a copy equals 5 in one go: nothing but the step's number sets the key."""
    step = jax.jit(make_step(toy_task(), OPTIMIZERS))
    straight = start()
    for done in range(5):
        straight, _ = step(straight, raw)
        if done == 2:
            copy = jax.tree.map(jnp.copy, straight)
    for _ in range(2):
        copy, _ = step(copy, raw)
    for a, b in zip(jax.tree.leaves(straight), jax.tree.leaves(copy), strict=True):
        assert (a == b).all()


def test_each_step_draws_anew(raw):
    outputs = []
    task = toy_task()
    generate = task.generate

    def recorded(g, batch, key):
        outputs.append(np.asarray(jax.random.key_data(key)))
        return generate(g, batch, key)

    task.generate = recorded
    step = make_step(task, OPTIMIZERS)
    with jax.disable_jit():
        state, _ = step(start(), raw)
        step(state, raw)
    assert (outputs[0] != outputs[1]).any()


def test_no_average_means_none_and_an_average_follows(raw):
    step = make_step(toy_task(), OPTIMIZERS)
    assert step(start(), raw)[0].ema is None
    state = start(ema=True)
    step = jax.jit(make_step(toy_task(), OPTIMIZERS, ema_halflife_images=100.0))
    before = state.ema["w"]
    state, _ = step(state, raw)
    # 8 images seen: the ramp's half-life is 0.4 images, so nearly nothing of the start is left.
    decay = 0.5 ** (8 / 0.4)
    expected = decay * before + (1 - decay) * state.generator.params["w"]
    np.testing.assert_allclose(state.ema["w"], expected, rtol=1e-6)


def test_the_average_halves_a_difference_in_its_half_life():
    params, ema = {"w": jnp.float32(0.0)}, {"w": jnp.float32(1.0)}
    for k in range(25):
        ema = average(ema, params, images_seen=jnp.float32(1e6 + 4 * k), batch=4, halflife=100.0)
    np.testing.assert_allclose(ema["w"], 0.5, rtol=1e-5)


def test_another_state_of_the_same_run_is_stepped_without_compiling_again(raw):
    step = jax.jit(make_step(toy_task(), OPTIMIZERS))
    step(start(), raw)
    other = (make_optimizer("sgd", LR_G), make_optimizer("sgd", LR_D))
    fresh = init_state(jax.random.key(1), *variables(), other, ema=False)
    step(fresh, raw)
    assert step._cache_size() == 1


def test_the_state_holds_data_only():
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(start(ema=True)))
    other = init_state(
        jax.random.key(1),
        *variables(),
        (make_optimizer("sgd", 0.3), make_optimizer("sgd", 0.2)),
        ema=True,
    )
    assert jax.tree.structure(start(ema=True)) == jax.tree.structure(other)


def test_one_device_and_four_give_the_same_parameters(raw):
    results = []
    for count in (1, 4):
        placement = make_placement(8, jax.devices()[:count])
        state, batch = placement.put_state(start()), placement.put_batch(raw)
        compiled = placement.compile(make_step(toy_task(), OPTIMIZERS), state, batch)
        for _ in range(5):
            state, _ = compiled(state, batch)
        results.append(jax.device_get(state.generator.params["w"]))
    np.testing.assert_allclose(results[0], results[1], rtol=1e-5)
    assert abs(results[0] - 0.5) > 0.01


def test_a_batch_that_devices_cannot_share_is_refused():
    with pytest.raises(ValueError, match=r"batch of 6 cannot be divided among 4 devices"):
        make_placement(6, jax.devices()[:4])


def test_several_discriminator_steps_are_several_plain_updates(raw):
    """Three updates of D, each on its third of the batch with its own key; then G on the last."""
    many = {"x": jnp.linspace(0.5, 2.0, 12).reshape(12, 1)}
    step = jax.jit(make_step(toy_task(), OPTIMIZERS, discriminator_steps=3))
    after, _ = step(start(), many)

    task = toy_task()
    g, d = (v["params"] for v in variables())
    key = jax.random.fold_in(jax.random.key(7), 0)
    for index in range(3):
        keys = jax.random.split(jax.random.fold_in(key, index), 4)
        batch = task.prepare({"x": many["x"][index::3]}, keys[0])
        y, _ = task.generate({"params": g}, batch, keys[1])

        def d_loss(d, y=y, batch=batch, keys=keys):
            return task.discriminator_loss({"params": d, "calls": 0}, y, batch, keys[2])[0]

        d = jax.tree.map(lambda p, q: p - LR_D * q, d, jax.grad(d_loss)(d))

    def g_loss(g):
        y, _ = task.generate({"params": g}, batch, keys[1])
        return task.generator_loss({"params": d, "calls": 0}, y, batch, keys[3])[0]

    g = jax.tree.map(lambda p, q: p - LR_G * q, g, jax.grad(g_loss)(g))
    np.testing.assert_allclose(after.generator.params["w"], g["w"], rtol=1e-5)
    for name in d:
        np.testing.assert_allclose(after.discriminator.params[name], d[name], rtol=1e-5)
    assert int(after.discriminator.collections["calls"]) == 4


def test_a_fresh_batch_for_the_generator_changes_its_update_and_not_the_discriminators(raw):
    doubled = {"x": jnp.repeat(raw["x"], 2, axis=0)}  # Both rounds get the same examples.
    plain, _ = make_step(toy_task(), OPTIMIZERS)(start(), raw)
    fresh, _ = make_step(toy_task(), OPTIMIZERS, fresh_generator_batch=True)(start(), doubled)
    for name in ("a", "b"):
        np.testing.assert_array_equal(
            plain.discriminator.params[name], fresh.discriminator.params[name]
        )
    assert abs(float(plain.generator.params["w"] - fresh.generator.params["w"])) > 1e-6


def test_no_discriminator_step_is_refused():
    with pytest.raises(ValueError, match="discriminator_steps must be at least 1, not 0"):
        make_step(toy_task(), OPTIMIZERS, discriminator_steps=0)


def test_a_half_life_may_grow_with_the_images_seen():
    ema = {"w": jnp.float32(1.0)}
    halflife = lambda seen: 10.0 * (seen > 100)  # noqa: E731
    params = {"w": jnp.float32(0.0)}
    early = average(ema, params, images_seen=jnp.float32(50), batch=10, halflife=halflife)
    late = average(ema, params, images_seen=jnp.float32(200), batch=10, halflife=halflife)
    assert float(early["w"]) == 0.0, "a half-life of 0 is no average"
    np.testing.assert_allclose(late["w"], 0.5, rtol=1e-6)
