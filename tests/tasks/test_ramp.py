import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.losses import Penalties, adversarial_loss
from retrojax.models import FullyConnectedDiscriminator, MLPGenerator
from retrojax.tasks.augmentation import diff_augment
from retrojax.tasks.generation import GenerationTask
from retrojax.tasks.ramp import Ramp


def test_half_a_cosine_then_the_end():
    ramp = Ramp(0.05, 0.005, 2e7)
    expected = {0.0: 0.05, 1e7: 0.0275, 2e7: 0.005, 9e7: 0.005}
    for images, value in expected.items():
        np.testing.assert_allclose(ramp(images), value, rtol=1e-5)
    quarter = 0.05 - 0.045 * (1 - np.cos(np.pi / 4)) / 2
    np.testing.assert_allclose(ramp(jnp.float32(5e6)), quarter, rtol=1e-5)


@pytest.fixture(scope="module")
def task():
    return GenerationTask(
        generator=MLPGenerator(shape=(8, 8, 3), widths=(8,), latent_size=4),
        discriminator=FullyConnectedDiscriminator((8,)),
        loss=adversarial_loss("relativistic"),
        size=8,
        penalties=Penalties(r1=2.0, r2=2.0),
        augment="translation",
        penalty_ramp=Ramp(1.0, 0.1, 100.0),
        augment_ramp=Ramp(0.0, 1.0, 100.0),
    )


@pytest.mark.slow
def test_penalties_and_augmentation_follow_the_images_seen(task):
    raw = {"source": np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)}
    early, late = (task.prepare(raw, jax.random.key(0), step) for step in (0, 1000))
    assert [float(early[name]) for name in ("penalty_factor", "probability")] == [1.0, 0.0]
    assert float(late["penalty_factor"]) == pytest.approx(0.1)
    assert float(late["probability"]) == 1.0

    generator, discriminator = jax.jit(task.init)(jax.random.key(1), early)
    fake, _ = jax.jit(task.generate)(generator, early, jax.random.key(2))
    for batch, factor in ((early, 1.0), ({**early, "penalty_factor": jnp.float32(0.25)}, 0.25)):
        total, (_, metrics) = jax.jit(task.discriminator_loss)(
            discriminator, fake, batch, jax.random.key(3)
        )
        expected = metrics["d/adversarial"] + factor * (metrics["d/r1"] + metrics["d/r2"])
        np.testing.assert_allclose(total, expected, rtol=1e-6)


def test_the_share_of_augmented_examples_is_the_probability():
    images = jnp.ones((2000, 4, 4, 1))
    for probability in (0.0, 0.3, 1.0):
        changed = diff_augment(
            jax.random.key(0), images, policy="color", probability=jnp.float32(probability)
        )
        share = float((jnp.abs(changed - images).max(axis=(1, 2, 3)) > 1e-6).mean())
        assert abs(share - probability) < 0.04
