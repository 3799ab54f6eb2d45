"""Presets: each a short difference to the default configuration, in one table."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from experiments.config import AnyConfig, GenerationConfig, LookConfig, TranslationConfig

# What pix2pix, CycleGAN and CUT share: Adam 2e-4 (0.5, 0.999) for all networks, one image a step.
_TRANSLATION: Mapping[str, Any] = MappingProxyType(
    {
        "batch_size": 1,
        "learning_rate": 2e-4,
        "discriminator_learning_rate": 2e-4,
        "b1": 0.5,
        "b2": 0.999,
        "ema_halflife_images": 0.0,
        "sample_every_steps": 1000,
    }
)
# CUT's networks are CycleGAN's with blurs, and Glorot's initialisation; its critic's L1-free game
# has the weights of CycleGAN's code: our least squares have 1/2 in both losses, theirs in D's only.
_CUT: Mapping[str, Any] = MappingProxyType(
    {
        **_TRANSLATION,
        "method": "contrastive",
        "antialias": True,
        "initializer": "xavier",
        "schedule": "epochs-after",
        "decay_uncropped": True,
        "adversarial_weight": 2.0,
        "identity_weight": 0.0,
    }
)
# Their small sizes, for tests.
_SMALL: Mapping[str, Any] = MappingProxyType(
    {
        "features": 4,
        "discriminator_features": 4,
        "steps": 4,
        "load_size": 0,
        "decay_uncropped": False,
        "crop": 32,
        "photo_size": 128,
        "sample_every_steps": 0,
    }
)
_R3GAN: Mapping[str, Any] = MappingProxyType(
    {
        "loss": "relativistic",
        "generator": "r3gan",
        "discriminator": "r3gan",
        "fresh_generator_batch": True,
        "augment": "default",
        "learning_rate": 2e-4,
        "discriminator_learning_rate": 2e-4,
        "b1": 0.0,
        "b2": 0.99,
        "features": 768,
        "sample_every_steps": 1000,
    }
)

_PIX2PIX: Mapping[str, Any] = MappingProxyType(
    {
        **_TRANSLATION,
        "method": "paired",
        "loss": "bce",
        "generator": "unet",
        "norm": "batch",
        "dropout": 0.5,
        "discriminator_weight": 0.5,
        "identity_weight": 0.0,
    }
)
_CYCLEGAN: Mapping[str, Any] = MappingProxyType(
    {
        **_TRANSLATION,
        "method": "unpaired",
        "order": "simultaneous",
        "adversarial_weight": 2.0,
    }
)
_FASTCUT: Mapping[str, Any] = MappingProxyType(
    {
        **_CUT,
        "epochs_constant": 150,
        "epochs_decay": 50,
        "nce_weight": 10.0,
        "nce_identity": False,
        "flip_equivariance": True,
    }
)
_SINCUT: Mapping[str, Any] = MappingProxyType(
    {
        **_CUT,
        "loss": "bce",
        "generator": "sincut",
        "discriminator": "sincut",
        "antialias": False,
        "features": 80,
        "discriminator_features": 8,
        "blocks": 3,
        "initializer": "networks",
        "learning_rate": 2e-3,
        "discriminator_learning_rate": 2e-3,
        "b1": 0.0,
        "b2": 0.99,
        "batch_size": 16,
        "load_size": 0,
        "decay_uncropped": False,
        "crop": 64,
        "zoom": 1 / 3,
        "flip": False,
        "adversarial_weight": 1.0,
        "discriminator_weight": 0.5,
        "r1": 1.0,
        "nce_weight": 4.0,
        "nce_layers": "0,2,4",
        "nce_patches": 1,
        "nce_all_negatives": True,
        "identity_weight": 1.0,
        # 8 + 8 epochs of 100,000 crops.
        "steps": 16 * 100_000 // 16,
        "epochs_constant": 8,
        "epochs_decay": 8,
    }
)

# Ink is thin and lies elsewhere in every word: the mean, which is best by squared error, shows
# where it may be; the median, which is best by L1, is blank paper.
_TEXT: Mapping[str, Any] = MappingProxyType(
    {
        "method": "paired",
        "data": "words",
        "generator": "encoder-decoder",
        "levels": 3,
        "norm": "none",
        "initializer": "networks",
        "discriminator_layers": 2,
        "l1_weight": 0.0,
        "l2_weight": 100.0,
        "load_size": 0,
        "crop": 48,
        "flip": False,
        "learning_rate": 1e-3,
        "discriminator_learning_rate": 2e-4,
        "b1": 0.5,
        "schedule": "cosine",
    }
)

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
        # The translation family as published. All but the tiny ones want a GPU.
        "pix2pix": TranslationConfig(preset="pix2pix", **_PIX2PIX),
        "pix2pix-tiny": TranslationConfig(
            preset="pix2pix-tiny", **{**_PIX2PIX, **_SMALL}, levels=5, look="faded-print"
        ),
        "cyclegan": TranslationConfig(preset="cyclegan", **_CYCLEGAN),
        "cyclegan-tiny": TranslationConfig(
            preset="cyclegan-tiny", **{**_CYCLEGAN, **_SMALL}, blocks=1, look="faded-print"
        ),
        "cut": TranslationConfig(preset="cut", **_CUT, epochs_constant=200, epochs_decay=200),
        "cut-tiny": TranslationConfig(
            preset="cut-tiny",
            **{**_CUT, **_SMALL},
            nce_layers="0,4,8,12",
            blocks=1,
            look="faded-print",
        ),
        "fastcut": TranslationConfig(preset="fastcut", **_FASTCUT),
        "fastcut-tiny": TranslationConfig(
            preset="fastcut-tiny",
            **{**_FASTCUT, **_SMALL},
            nce_layers="0,4,8,12",
            blocks=1,
            look="faded-print",
        ),
        # One image a domain.
        "sincut": TranslationConfig(preset="sincut", **_SINCUT),
        "sincut-tiny": TranslationConfig(
            preset="sincut-tiny",
            **{**_SINCUT, **_SMALL, "steps": 2, "batch_size": 2, "crop": 64},
            look="faded-print",
        ),
        # R3GAN without classes, on CIFAR-10 and on a folder of faces.
        "r3gan-cifar10": GenerationConfig(
            preset="r3gan-cifar10",
            **_R3GAN,
            data="tfds:cifar10",
            size=32,
            steps=2 * 10**7 * 5 // 512,
            batch_size=512,
            r1=0.05,
            r2=0.05,
            augment_probability=0.55,
            ema_halflife_images=5e6,
            ramp_images=2e7,
        ),
        "r3gan-ffhq256": GenerationConfig(
            preset="r3gan-ffhq256",
            **_R3GAN,
            data="folder:ffhq256",
            size=256,
            steps=2 * 10**7 * 5 // 256,
            batch_size=256,
            r1=150.0,
            r2=150.0,
            augment_probability=0.3,
            ema_halflife_images=5e5,
            ramp_images=2e7,
        ),
        "r3gan-tiny": GenerationConfig(
            preset="r3gan-tiny",
            **{**_R3GAN, "features": 32, "sample_every_steps": 0},
            data="digits",
            size=16,
            flip=False,
            steps=4,
            batch_size=4,
            r1=0.05,
            r2=0.05,
            ema_halflife_images=100.0,
            ramp_images=1000.0,
        ),
        # A look from photographs and unrelated pictures that have it, in minutes on two CPU cores.
        "retro-unpaired": TranslationConfig(
            preset="retro-unpaired",
            method="one-sided",
            look="faded-print",
            generator="look",
            features=16,
            discriminator_features=24,
            discriminator_layers=2,
            discriminator_detail=5.0,
            # Instance norm would hide from the critic how bright and how colourful a picture is.
            norm="none",
            initializer="networks",
            l1_weight=0.1,
            r1=0.02,
            steps=400,
            batch_size=16,
            load_size=0,
            crop=64,
            margin=8,
            photo_size=512,
            discriminator_learning_rate=5e-4,
            schedule="cosine",
            sample_every_steps=200,
        ),
        # Printed words, English to Russian, in minutes on two CPU cores.
        "text": TranslationConfig(
            preset="text",
            **_TEXT,
            features=16,
            discriminator_features=8,
            steps=2500,
            batch_size=32,
            sample_every_steps=500,
        ),
        "text-tiny": TranslationConfig(
            preset="text-tiny",
            **_TEXT,
            sample_every_steps=0,
            features=2,
            discriminator_features=2,
            steps=4,
            batch_size=4,
        ),
        # The general networks on the look's task.
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
