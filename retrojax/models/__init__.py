"""Linen modules: generators, discriminators and the layers they share."""

from types import MappingProxyType

from retrojax.models.contrastive import PatchSampleF
from retrojax.models.dcgan import DCGANDiscriminator, DCGANGenerator
from retrojax.models.document import (
    DocumentDiscriminator,
    DocumentGenerator,
    FullyConnectedDiscriminator,
    discriminator_probability,
)
from retrojax.models.encoder_decoder import EncoderDecoderGenerator
from retrojax.models.initializers import reinitialise
from retrojax.models.look import LookGenerator
from retrojax.models.mlp import MLPGenerator
from retrojax.models.patchgan import PatchDiscriminator, PixelDiscriminator
from retrojax.models.r3gan import R3GANDiscriminator, R3GANGenerator
from retrojax.models.resnet import ResNetGenerator
from retrojax.models.sincut import SinCUTDiscriminator, SinCUTGenerator
from retrojax.models.unet import UNetGenerator

GENERATORS = MappingProxyType(
    {
        "look": LookGenerator,
        "resnet": ResNetGenerator,
        "unet": UNetGenerator,
        "sincut": SinCUTGenerator,
        "encoder-decoder": EncoderDecoderGenerator,
    }
)
"""Generators that change a photograph."""

LATENT_GENERATORS = MappingProxyType(
    {
        "document": DocumentGenerator,
        "dcgan": DCGANGenerator,
        "fully-connected": MLPGenerator,
        "r3gan": R3GANGenerator,
    }
)
"""Generators that make an image from noise, of length `latent_size`."""

DISCRIMINATORS = MappingProxyType({"patchgan": PatchDiscriminator, "pixelgan": PixelDiscriminator})
"""Discriminators that judge a photograph, alone or with the one it came from."""

__all__ = [
    "DISCRIMINATORS",
    "GENERATORS",
    "LATENT_GENERATORS",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "DocumentDiscriminator",
    "DocumentGenerator",
    "EncoderDecoderGenerator",
    "FullyConnectedDiscriminator",
    "LookGenerator",
    "MLPGenerator",
    "PatchDiscriminator",
    "PatchSampleF",
    "PixelDiscriminator",
    "R3GANDiscriminator",
    "R3GANGenerator",
    "ResNetGenerator",
    "SinCUTDiscriminator",
    "SinCUTGenerator",
    "UNetGenerator",
    "discriminator_probability",
    "reinitialise",
]
