"""From a configuration to the objects of a run: networks, task, optimisers."""

import jax.numpy as jnp
import optax
from flax import linen as nn

from experiments.config import AnyConfig, GenerationConfig, LookConfig, RunConfig
from retrojax.film import POSITIONED, Look, look
from retrojax.losses import DEFAULT_PENALTIES, Penalties, adversarial_loss
from retrojax.models import (
    DCGANDiscriminator,
    DCGANGenerator,
    DocumentDiscriminator,
    DocumentGenerator,
    FullyConnectedDiscriminator,
    LookGenerator,
    MLPGenerator,
    PatchDiscriminator,
    ResNetGenerator,
    UNetGenerator,
)
from retrojax.tasks.generation import GenerationTask
from retrojax.tasks.paired import PairedTask
from retrojax.training.optimizers import make_optimizer, make_schedule


def build_generator(config: LookConfig) -> nn.Module:
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


def build_penalties(config: RunConfig) -> Penalties:
    """The penalties that belong to the loss, unless the configuration has others."""
    penalties = DEFAULT_PENALTIES.get(config.loss, Penalties())
    chosen = {"r1": config.r1, "r2": config.r2, "gradient": config.gradient_penalty}
    return penalties._replace(**{k: v for k, v in chosen.items() if v is not None})


def build_task(config: AnyConfig) -> PairedTask | GenerationTask:
    """The task of a run; a look is rendered."""
    if isinstance(config, GenerationConfig):
        return build_generation_task(config)
    return build_paired_task(config, paired_data=False)


def build_paired_task(config: LookConfig, *, paired_data: bool) -> PairedTask:
    """The task of a run that learns a look.

    Args:
        config: the run's configuration.
        paired_data: whether the data brings targets; if not, the look is rendered.
    """
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
        penalties=build_penalties(config),
    )


def build_generation_task(config: GenerationConfig) -> GenerationTask:
    """The task of a run that makes images from noise."""
    dtype = jnp.dtype(config.dtype)
    if config.generator == "document":
        generator: nn.Module = DocumentGenerator(base=config.size // 4, dtype=dtype)
    elif config.generator == "fully-connected":
        shape = (config.size, config.size, 3)
        generator = MLPGenerator(shape=shape, widths=(256, 512), latent_size=64)
    else:
        generator = DCGANGenerator(features=config.features, dtype=dtype)
    if config.discriminator == "document":
        discriminator: nn.Module = DocumentDiscriminator(dtype=dtype)
    elif config.discriminator == "dcgan":
        discriminator = DCGANDiscriminator(width=config.features, dtype=dtype)
    else:
        discriminator = FullyConnectedDiscriminator()
    return GenerationTask(
        generator=generator,
        discriminator=discriminator,
        loss=adversarial_loss(config.loss),
        size=config.size,
        look=None if config.look == "none" else learnable_look(config.look),
        pixels_per_mm=config.pixels_per_mm,
        flip=config.flip,
        discriminator_weight=config.discriminator_weight,
        penalties=build_penalties(config),
        augment=config.augment,
    )


def module_options(module: nn.Module) -> dict[str, object]:
    """A module's fields as JSON values; Linen's own fields and the type are left out."""
    names = set(type(module).__dataclass_fields__) - {"parent", "name", "dtype", "axis_name"}
    return {name: getattr(module, name) for name in sorted(names)}


def build_optimizers(
    config: RunConfig,
) -> tuple[optax.GradientTransformation, optax.GradientTransformation]:
    """The generator's and the discriminator's optimiser."""

    def build(rate: float) -> optax.GradientTransformation:
        schedule = make_schedule(config.schedule, rate, steps=config.steps)
        return make_optimizer(config.optimizer, schedule, b1=config.b1, b2=config.b2)

    return build(config.learning_rate), build(config.discriminator_learning_rate)
