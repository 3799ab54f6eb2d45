"""CUT's game on a small ResNet: what is compared with what, flips, and who learns."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.losses import adversarial_loss
from retrojax.models import PatchDiscriminator, PatchSampleF, ResNetGenerator
from retrojax.tasks.contrastive import ContrastiveTask
from retrojax.tasks.domains import Domains

LAYERS = (0, 4, 8)


def make_task(**changes):
    task = ContrastiveTask(
        generator=ResNetGenerator(features=4, blocks=1, antialias_down=True, antialias_up=True),
        head=PatchSampleF(features=8),
        discriminator=PatchDiscriminator(features=4, layers=1, antialias=True),
        loss=adversarial_loss("lsgan"),
        domains=Domains(crop=16),
        layers=LAYERS,
        patches=9,
    )
    return replace(task, **changes)


@pytest.fixture(scope="module")
def game():
    rng = np.random.default_rng(0)
    raw = {
        name: rng.integers(0, 256, (2, 16, 16, 3), dtype=np.uint8) for name in ("source", "target")
    }
    task = make_task(initializer="normal")
    batch = jax.jit(task.prepare)(raw, jax.random.key(0))
    generator, discriminator = jax.jit(task.init)(jax.random.key(1), batch)
    return task, batch, generator, discriminator


def network(task, generator):
    return {"params": generator["params"]["network"]}


@pytest.mark.slow
def test_queries_are_features_of_the_result_and_keys_those_of_the_source(game):
    task, batch, generator, _ = game
    outputs, _ = jax.jit(task.generate)(generator, batch, jax.random.key(2))
    variables = network(task, generator)
    image, features = task.generator.apply(variables, batch["source"], taps=LAYERS)
    np.testing.assert_allclose(outputs["fake"], image, atol=1e-5)
    encoded = task.generator.apply(variables, image, taps=LAYERS, encode_only=True)
    head = {"params": generator["params"]["head"]}
    every = [jnp.arange(x.shape[1] * x.shape[2]) for x in features]
    for maps, name in ((encoded, "query_source"), (features, "key_source")):
        for own, found in zip(task.head.apply(head, maps, every), outputs[name], strict=True):
            distance = np.abs(own[:, :, None] - found[:, None]).max(-1)
            assert (distance.min(axis=1) < 1e-4).all(), name
            assert found.shape[1] == 9


@pytest.mark.slow
def test_keys_are_stopped_and_queries_teach_encoder_and_head(game):
    task, batch, generator, _ = game

    def total(params, name):
        outputs, _ = jax.jit(task.generate)({"params": params}, batch, jax.random.key(2))
        return sum((x[..., 0] ** 2).sum() for x in outputs[name])

    gradient = jax.jit(jax.grad(total), static_argnums=1)
    keys = gradient(generator["params"], "key_source")
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(keys))
    queries = gradient(generator["params"], "query_source")
    for part in ("network", "head"):
        assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(queries[part])) > 0


def test_the_loss_is_adversarial_plus_half_of_each_contrast(game):
    task, batch, generator, discriminator = game
    outputs, _ = jax.jit(task.generate)(generator, batch, jax.random.key(2))
    total, (_, metrics) = jax.jit(task.generator_loss)(
        discriminator, outputs, batch, jax.random.key(3)
    )
    expected = metrics["g/adversarial"] + 0.5 * (metrics["g/nce_source"] + metrics["g/nce_target"])
    np.testing.assert_allclose(total, expected, rtol=1e-6)
    # Cosines lie in [-1, 1]: the worst that can be is all other patches alike, the own opposite.
    assert 0 < float(metrics["g/nce_source"]) < 2 / 0.07 + np.log(9)


def test_without_identity_the_target_does_not_pass_the_generator(game):
    task, batch, generator, discriminator = game
    task = replace(task, identity=False, nce_weight=10.0)
    outputs, _ = jax.jit(task.generate)(generator, batch, jax.random.key(2))
    assert set(outputs) == {"fake", "query_source", "key_source"}
    total, (_, metrics) = jax.jit(task.generator_loss)(
        discriminator, outputs, batch, jax.random.key(3)
    )
    expected = metrics["g/adversarial"] + 10 * metrics["g/nce_source"]
    np.testing.assert_allclose(total, expected, rtol=1e-6)


@pytest.mark.slow
def test_flip_equivariance_mirrors_the_fake_and_compares_unmirrored(game):
    """In a flipped step the critic sees a mirrored fake; places of keys are those of the source."""
    task, batch, generator, _ = game
    straight = replace(task, identity=False)
    flipping = replace(straight, flip_equivariance=True)
    variables = network(task, generator)
    plain, _ = task.generator.apply(variables, batch["source"], taps=LAYERS)
    flipped, _ = task.generator.apply(variables, batch["source"][:, :, ::-1], taps=LAYERS)
    seen = set()
    for seed in range(8):
        outputs, _ = flipping.generate(generator, batch, jax.random.key(seed))
        is_flipped = np.abs(outputs["fake"] - flipped).max() < 1e-5
        assert is_flipped or np.abs(outputs["fake"] - plain).max() < 1e-5
        seen.add(is_flipped)
        source = jnp.asarray(batch["source"])
        features = task.generator.apply(variables, source, taps=LAYERS, encode_only=True)
        every = [jnp.arange(x.shape[1] * x.shape[2]) for x in features]
        own = task.head.apply({"params": generator["params"]["head"]}, features, every)
        for all_places, found in zip(own, outputs["key_source"], strict=True):
            distance = np.abs(all_places[:, :, None] - found[:, None]).max(-1)
            assert (distance.min(axis=1) < 1e-4).all()
    assert seen == {True, False}


def test_l1_on_the_identity_needs_the_identity():
    with pytest.raises(ValueError, match="identity_l1_weight needs identity=True"):
        make_task(identity=False, identity_l1_weight=1.0)
