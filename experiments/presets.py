"""Presets: each a short difference to the default configuration, in one table."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from experiments.config import Config

PRESETS: Mapping[str, Config] = MappingProxyType(
    {
        # The main job: a look in minutes on two CPU cores.
        "look": Config(),
        # The same path in seconds, for tests and continuous integration.
        "tiny": Config(
            preset="tiny",
            steps=30,
            batch_size=4,
            crop=32,
            generator_features=8,
            discriminator_features=8,
            sample_every_steps=20,
        ),
        # The general networks on the same task.
        "unet": replace(Config(), preset="unet", generator="unet", generator_features=16),
        "resnet": replace(Config(), preset="resnet", generator="resnet", generator_features=16),
    }
)


def preset(name: str) -> Config:
    """Returns the named preset.

    Raises:
        ValueError: for an unknown name; the message lists the known ones.
    """
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
