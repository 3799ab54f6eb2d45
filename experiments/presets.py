"""Presets: each a short difference to the default configuration, in one table."""

from collections.abc import Mapping
from types import MappingProxyType

from experiments.config import AnyConfig, GenerationConfig, LookConfig

PRESETS: Mapping[str, AnyConfig] = MappingProxyType(
    {
        # The main job: a look in minutes on two CPU cores.
        "look": LookConfig(),
        # The same path in seconds, for tests and continuous integration.
        "tiny": LookConfig(
            preset="tiny",
            steps=30,
            batch_size=4,
            crop=32,
            generator_features=8,
            discriminator_features=8,
            sample_every_steps=20,
        ),
        # The source document's system: its networks at 32x32, its cross-entropy, its Adam 1e-4. One
        # of its 50 epochs is 800 crops of the bundled photographs, about as many as lie in them
        # side by side.
        "document": GenerationConfig(
            preset="document",
            loss="bce",
            look="faded-print",
            take="crops",
            steps=50 * 13,
            batch_size=64,
            learning_rate=1e-4,
            discriminator_learning_rate=1e-4,
            b1=0.9,
            b2=0.999,
            schedule="constant",
            ema_halflife_images=0.0,
        ),
        # The same path in seconds.
        "document-tiny": GenerationConfig(
            preset="document-tiny",
            loss="bce",
            data="digits",
            size=16,
            flip=False,
            steps=10,
            batch_size=8,
            sample_every_steps=0,
        ),
        # The document's networks on handwritten digits.
        "digits": GenerationConfig(
            preset="digits",
            data="digits",
            size=16,
            flip=False,
            steps=1500,
            batch_size=32,
            discriminator_learning_rate=2e-4,
            b2=0.999,
            sample_every_steps=500,
        ),
        # A hundred aligned faces: dense layers learn them in minutes, and R1 + R2 with moving
        # pictures keep the critic from learning them by heart.
        "faces": GenerationConfig(
            preset="faces",
            data="faces",
            loss="relativistic",
            generator="fully-connected",
            discriminator="fully-connected",
            augment="translation",
            r1=0.05,
            r2=0.05,
            steps=3000,
            batch_size=32,
            discriminator_learning_rate=2e-4,
            b1=0.0,
            sample_every_steps=500,
        ),
        # DCGAN as published, for a GPU and many images (--data=tfds:celeb_a --take=whole).
        "dcgan64": GenerationConfig(
            preset="dcgan64",
            loss="bce",
            generator="dcgan",
            discriminator="dcgan",
            take="crops",
            size=64,
            steps=20_000,
            batch_size=64,
            discriminator_learning_rate=2e-4,
            b2=0.999,
            schedule="constant",
            ema_halflife_images=0.0,
            sample_every_steps=1000,
        ),
        "dcgan64-tiny": GenerationConfig(
            preset="dcgan64-tiny",
            loss="bce",
            generator="dcgan",
            discriminator="dcgan",
            take="crops",
            size=64,
            features=4,
            steps=4,
            batch_size=4,
            sample_every_steps=0,
        ),
        # The general networks on the same task.
        "unet": LookConfig(preset="unet", generator="unet"),
        "resnet": LookConfig(preset="resnet", generator="resnet"),
    }
)


def preset(name: str) -> AnyConfig:
    """Returns the named preset.

    Raises:
        ValueError: for an unknown name; the message lists the known ones.
    """
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
