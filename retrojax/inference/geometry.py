"""What a generator asks of the size of its input, and how far it looks."""

from typing import NamedTuple

from flax import linen as nn

from retrojax.models import DISCRIMINATORS, LATENT_GENERATORS
from retrojax.models.encoder_decoder import EncoderDecoderGenerator
from retrojax.models.look import LookGenerator
from retrojax.models.resnet import ResNetGenerator
from retrojax.models.sincut import SinCUTGenerator
from retrojax.models.unet import UNetGenerator


class Geometry(NamedTuple):
    """Sizes in pixels.

    Attributes:
        multiple: height and width must be multiples of this.
        reach: an input pixel farther away than this has no influence on an output pixel, but
            through instance normalisation, which looks at the whole input.
        size: the only height and width that it takes; None = every multiple.
    """

    multiple: int
    reach: int
    size: int | None = None


def geometry(module: nn.Module) -> Geometry:
    """The geometry of a generator.

    Raises:
        ValueError: not one of the classes in `retrojax.models.GENERATORS`.
    """
    if isinstance(module, LookGenerator):
        return Geometry(1, module.reach)
    if isinstance(module, ResNetGenerator):
        # Two 7x7 layers, four 3x3 layers that change the scale, and in each block two 3x3 layers
        # at a quarter of the scale, where a step is 4 pixels.
        reach = 2 * 3 + 2 * (1 + 2 + 1) + 2 * 4 * module.blocks
        # A blur reaches one step. Interpolation and its 3x3 layer reach three steps of the finer
        # scale, a transposed one reaches one.
        reach += (1 + 2) * module.antialias_down + (3 - 1) * (1 + 2) * module.antialias_up
        return Geometry(4, reach)
    if isinstance(module, SinCUTGenerator):
        # Two 3x3 layers in each block of encoder and decoder, at half the scale; a blur and a 3x3
        # layer on the way to it and back.
        return Geometry(2, 2 * 2 * 2 * module.blocks + 4 + 4)
    if isinstance(module, UNetGenerator):
        # Level l has a 4x4 layer down and one up, each of which reaches 2 steps of 2^(l-1).
        return Geometry(2**module.levels, sum(4 * 2**level for level in range(module.levels)))
    if isinstance(module, EncoderDecoderGenerator):
        return Geometry(module.size, module.size, module.size)
    if isinstance(module, tuple(LATENT_GENERATORS.values())):
        raise ValueError(
            f"a {type(module).__name__} makes images from noise and changes no photograph; "
            "use retrojax generate"
        )
    if isinstance(module, tuple(DISCRIMINATORS.values())):
        raise ValueError(
            f"a {type(module).__name__} judges photographs and changes none; give the generator "
            "that was trained with it"
        )
    raise ValueError(
        f"{type(module).__name__} is no generator of retrojax: its reach and multiple are unknown"
    )
