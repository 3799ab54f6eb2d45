"""Linen modules: generators, discriminators and the layers they share."""

from types import MappingProxyType

from retrojax.models.dcgan import DCGANDiscriminator, DCGANGenerator
from retrojax.models.document import (
    DocumentDiscriminator,
    DocumentGenerator,
    FullyConnectedDiscriminator,
    discriminator_probability,
)
from retrojax.models.look import LookGenerator
from retrojax.models.mlp import MLPGenerator
from retrojax.models.patchgan import PatchDiscriminator
from retrojax.models.resnet import ResNetGenerator
from retrojax.models.unet import UNetGenerator

GENERATORS = MappingProxyType(
    {"look": LookGenerator, "resnet": ResNetGenerator, "unet": UNetGenerator}
)
"""Generators that change a photograph."""

LATENT_GENERATORS = MappingProxyType(
    {"document": DocumentGenerator, "dcgan": DCGANGenerator, "fully-connected": MLPGenerator}
)
"""Generators that make an image from noise, of length `latent_size`."""

__all__ = [
    "GENERATORS",
    "LATENT_GENERATORS",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "DocumentDiscriminator",
    "DocumentGenerator",
    "FullyConnectedDiscriminator",
    "LookGenerator",
    "MLPGenerator",
    "PatchDiscriminator",
    "ResNetGenerator",
    "UNetGenerator",
    "discriminator_probability",
]
