"""From a configuration to the objects of a run: networks, task, optimisers."""

from typing import Any

import jax.numpy as jnp
import optax
from flax import linen as nn

from experiments.config import (
    AnyConfig,
    GenerationConfig,
    LookConfig,
    RunConfig,
    TranslationConfig,
)
from retrojax.film import POSITIONED, Look, look
from retrojax.losses import DEFAULT_PENALTIES, Penalties, adversarial_loss
from retrojax.models import (
    DCGANDiscriminator,
    DCGANGenerator,
    DocumentDiscriminator,
    DocumentGenerator,
    EncoderDecoderGenerator,
    FullyConnectedDiscriminator,
    LookGenerator,
    MLPGenerator,
    PatchDiscriminator,
    PatchSampleF,
    PixelDiscriminator,
    R3GANDiscriminator,
    R3GANGenerator,
    ResNetGenerator,
    SinCUTDiscriminator,
    SinCUTGenerator,
    UNetGenerator,
)
from retrojax.tasks.contrastive import ContrastiveTask
from retrojax.tasks.domains import Domains
from retrojax.tasks.generation import GenerationTask
from retrojax.tasks.one_sided import OneSidedTask
from retrojax.tasks.paired import PairedTask
from retrojax.tasks.ramp import Ramp
from retrojax.tasks.unpaired import UnpairedTask
from retrojax.training.optimizers import epoch_schedule, make_optimizer, make_schedule
from retrojax.training.step import Halflife

TranslationTask = PairedTask | UnpairedTask | ContrastiveTask | OneSidedTask
AnyTask = TranslationTask | GenerationTask


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


def build_task(config: AnyConfig) -> AnyTask:
    """The task of a run; a look is rendered."""
    if isinstance(config, TranslationConfig):
        return build_translation_task(config)
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
        augment=config.augment,
        remat=config.remat,
    )


def build_generation_task(config: GenerationConfig) -> GenerationTask:
    """The task of a run that makes images from noise."""
    dtype = jnp.dtype(config.dtype)
    if config.generator == "document":
        generator: nn.Module = DocumentGenerator(base=config.size // 4, dtype=dtype)
    elif config.generator == "fully-connected":
        shape = (config.size, config.size, 3)
        generator = MLPGenerator(shape=shape, widths=(256, 512), latent_size=64)
    elif config.generator == "r3gan":
        generator = R3GANGenerator(**r3gan_options(config))
    else:
        generator = DCGANGenerator(features=config.features, dtype=dtype)
    if config.discriminator == "document":
        discriminator: nn.Module = DocumentDiscriminator(dtype=dtype)
    elif config.discriminator == "dcgan":
        discriminator = DCGANDiscriminator(width=config.features, dtype=dtype)
    elif config.discriminator == "r3gan":
        discriminator = R3GANDiscriminator(**r3gan_options(config))
    else:
        discriminator = FullyConnectedDiscriminator()
    ramp, probability = config.ramp_images, config.augment_probability
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
        remat=config.remat,
        penalty_ramp=Ramp(1.0, R3GAN_PENALTIES, ramp) if ramp else None,
        augment_ramp=_probability(probability, ramp) if config.augment else None,
    )


# R3GAN's schedules (Huang et al. 2024, and their code): what the value at the start is multiplied
# by in the end, and where Adam's b2 starts.
R3GAN_PENALTIES, R3GAN_RATE, R3GAN_B2 = 0.1, 0.25, 0.9


def _probability(probability: float, ramp: float) -> Ramp | None:
    if ramp:
        return Ramp(0.0, probability, ramp)
    return Ramp(probability, probability, 1.0) if probability < 1 else None


def r3gan_options(config: GenerationConfig) -> dict[str, Any]:
    """Channels from 4x4 pixels up to the image: equal up to 32x32, then halved at each doubling.

    Of the stages the last 3 compute in `dtype`, 4 above 32x32 pixels.
    """
    stages = config.size.bit_length() - 2
    return {
        "widths": tuple(config.features // 2 ** max(0, stage - 3) for stage in range(stages)),
        "narrow_stages": 3 if config.size <= 32 else 4,
        "dtype": jnp.dtype(config.dtype),
    }


# Of SinCUT's discriminator at 64, 32, 16, 8 and 4 pixels, in units of its `ndf`.
SINCUT_WIDTHS = (4, 8, 16, 32, 48)


def build_translation_generator(config: TranslationConfig) -> nn.Module:
    """The generator of a run of the translation family."""
    dtype = jnp.dtype(config.dtype)
    if config.generator == "resnet":
        return ResNetGenerator(
            features=config.features,
            blocks=config.blocks,
            norm=config.norm,
            dropout=config.dropout,
            antialias_down=config.antialias,
            antialias_up=config.antialias,
            dtype=dtype,
        )
    if config.generator == "unet":
        return UNetGenerator(
            features=config.features,
            levels=config.levels,
            norm=config.norm,
            dropout=config.dropout,
            dtype=dtype,
        )
    if config.generator == "sincut":
        return SinCUTGenerator(features=config.features, blocks=config.blocks, dtype=dtype)
    if config.generator == "encoder-decoder":
        return EncoderDecoderGenerator(
            size=config.crop, features=config.features, levels=config.levels, dtype=dtype
        )
    return LookGenerator(lut_size=5, features=config.features, joint=True, dtype=dtype)


def build_translation_task(config: TranslationConfig) -> TranslationTask:
    """The task of a run of the translation family."""
    dtype = jnp.dtype(config.dtype)
    look = None if config.look == "none" else learnable_look(config.look)
    if config.discriminator == "patch":
        discriminator: nn.Module = PatchDiscriminator(
            features=config.discriminator_features,
            layers=config.discriminator_layers,
            norm=config.norm,
            antialias=config.antialias,
            detail=config.discriminator_detail,
            dtype=dtype,
        )
    elif config.discriminator == "pixel":
        discriminator = PixelDiscriminator(
            features=config.discriminator_features, norm=config.norm, dtype=dtype
        )
    else:
        discriminator = SinCUTDiscriminator(
            widths=tuple(config.discriminator_features * n for n in SINCUT_WIDTHS), dtype=dtype
        )
    initializer = "" if config.initializer == "networks" else config.initializer
    shared: dict[str, Any] = {
        "generator": build_translation_generator(config),
        "discriminator": discriminator,
        "loss": adversarial_loss(config.loss),
        "adversarial_weight": config.adversarial_weight,
        "discriminator_weight": config.discriminator_weight,
        "penalties": build_penalties(config),
        "augment": config.augment,
        "remat": config.remat,
    }
    if config.method == "paired":
        return PairedTask(
            crop=config.crop,
            look=look,
            pixels_per_mm=config.pixels_per_mm,
            blurred_l1_weight=0.0,
            l1_weight=config.l1_weight,
            l2_weight=config.l2_weight,
            flip=config.flip,
            **shared,
        )
    shared["domains"] = Domains(config.crop, look, config.pixels_per_mm, config.flip)
    if config.method == "unpaired":
        return UnpairedTask(
            cycle_weight=config.cycle_weight,
            identity_weight=config.identity_weight,
            pool_size=config.pool_size,
            initializer=initializer,
            **shared,
        )
    if config.method == "one-sided":
        return OneSidedTask(source_l1_weight=config.l1_weight, initializer=initializer, **shared)
    return ContrastiveTask(
        head=PatchSampleF(dtype=dtype),
        layers=tuple(int(layer) for layer in config.nce_layers.split(",")),
        patches=config.nce_patches,
        nce_weight=config.nce_weight,
        identity=config.nce_identity,
        identity_l1_weight=config.identity_weight,
        flip_equivariance=config.flip_equivariance,
        all_negatives=config.nce_all_negatives,
        initializer=initializer,
        **shared,
    )


def module_options(module: nn.Module) -> dict[str, object]:
    """A module's fields as JSON values, but Linen's own and those of training alone."""
    hidden = {"parent", "name", "dtype", "axis_name", "remat"}
    names = set(type(module).__dataclass_fields__) - hidden
    return {name: getattr(module, name) for name in sorted(names)}


def build_optimizers(
    config: RunConfig,
) -> tuple[optax.GradientTransformation, optax.GradientTransformation]:
    """The generator's and the discriminator's optimiser."""
    images = getattr(config, "ramp_images", 0.0)

    def build(rate: float) -> optax.GradientTransformation:
        b2: float | optax.Schedule = config.b2
        if images:
            schedule: optax.Schedule = _per_step(Ramp(rate, rate * R3GAN_RATE, images), config)
            b2 = _per_step(Ramp(R3GAN_B2, config.b2, images), config)
        elif isinstance(config, TranslationConfig) and config.schedule.startswith("epochs"):
            schedule = epoch_schedule(
                rate,
                steps_per_epoch=steps_per_epoch(config),
                constant=config.epochs_constant,
                decay=config.epochs_decay,
                before_epoch=config.schedule == "epochs-before",
            )
        else:
            schedule = make_schedule(config.schedule, rate, steps=config.steps)
        return make_optimizer(config.optimizer, schedule, b1=config.b1, b2=b2)

    return build(config.learning_rate), build(config.discriminator_learning_rate)


def steps_per_epoch(config: TranslationConfig) -> int:
    """Updates in an epoch of the learning rate's schedule."""
    return max(1, config.steps // (config.epochs_constant + config.epochs_decay))


def build_average(config: AnyConfig) -> Halflife:
    """Half-life of the generator's average in images, or how it grows over the images seen."""
    images = getattr(config, "ramp_images", 0.0)
    if images and config.ema_halflife_images:
        return Ramp(0.0, config.ema_halflife_images, images)
    return config.ema_halflife_images


def _per_step(ramp: Ramp, config: RunConfig) -> optax.Schedule:
    """A ramp over images seen as a schedule over updates."""
    return lambda count: ramp(jnp.asarray(count, jnp.float32) * config.batch_size)
