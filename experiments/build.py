"""From a configuration to the objects of a run: networks, task, optimisers."""

import jax.numpy as jnp
import optax
from flax import linen as nn

from experiments.config import Config
from retrojax.film import POSITIONED, Look, look
from retrojax.losses import DEFAULT_PENALTIES, Penalties, adversarial_loss
from retrojax.models import LookGenerator, PatchDiscriminator, ResNetGenerator, UNetGenerator
from retrojax.tasks.paired import PairedTask
from retrojax.training.optimizers import make_optimizer, make_schedule


def build_generator(config: Config) -> nn.Module:
    """The generator network."""
    dtype = jnp.dtype(config.dtype)
    if config.generator == "look":
        return LookGenerator(features=config.generator_features, dtype=dtype)
    if config.generator == "resnet":
        return ResNetGenerator(
            features=config.generator_features, blocks=6, noise_channels=3, dtype=dtype
        )
    return UNetGenerator(
        features=config.generator_features, levels=5, noise_channels=3, dtype=dtype
    )


def learnable_look(name: str) -> Look:
    """A look without the effects that depend on the place in the frame: a crop has no place."""
    return look(name).without(*POSITIONED)


def build_task(config: Config, *, paired_data: bool) -> PairedTask:
    """The task of a run.

    Args:
        config: the run's configuration.
        paired_data: whether the data brings targets; if not, the look is rendered.
    """
    penalties = DEFAULT_PENALTIES.get(config.loss, Penalties())
    chosen = {"r1": config.r1, "r2": config.r2, "gradient": config.gradient_penalty}
    penalties = penalties._replace(**{k: v for k, v in chosen.items() if v is not None})
    return PairedTask(
        generator=build_generator(config),
        discriminator=PatchDiscriminator(
            features=config.discriminator_features,
            layers=config.discriminator_layers,
            kernel_size=config.discriminator_kernel,
            norm=config.discriminator_norm,
            dtype=jnp.dtype(config.dtype),
            detail=config.discriminator_detail,
        ),
        loss=adversarial_loss(config.loss),
        crop=config.crop,
        look=None if paired_data else learnable_look(config.look),
        pixels_per_mm=config.pixels_per_mm,
        adversarial_weight=config.adversarial_weight,
        discriminator_weight=config.discriminator_weight,
        blurred_l1_weight=config.blurred_l1_weight,
        l1_weight=config.l1_weight,
        penalties=penalties,
    )


def build_optimizers(
    config: Config,
) -> tuple[optax.GradientTransformation, optax.GradientTransformation]:
    """The generator's and the discriminator's optimiser."""

    def build(rate: float) -> optax.GradientTransformation:
        schedule = make_schedule(config.schedule, rate, steps=config.steps)
        return make_optimizer(config.optimizer, schedule, b1=config.b1, b2=config.b2)

    return build(config.learning_rate), build(config.discriminator_learning_rate)
