"""Linen modules: generators, discriminators and the layers they share."""

from types import MappingProxyType

from retrojax.models.look import LookGenerator
from retrojax.models.patchgan import PatchDiscriminator
from retrojax.models.resnet import ResNetGenerator
from retrojax.models.unet import UNetGenerator

GENERATORS = MappingProxyType(
    {"look": LookGenerator, "resnet": ResNetGenerator, "unet": UNetGenerator}
)

__all__ = [
    "GENERATORS",
    "LookGenerator",
    "PatchDiscriminator",
    "ResNetGenerator",
    "UNetGenerator",
]
