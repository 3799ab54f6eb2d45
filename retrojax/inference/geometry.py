"""What a generator asks of the size of its input, and how far it looks."""

from typing import NamedTuple

from flax import linen as nn

from retrojax.models import LATENT_GENERATORS
from retrojax.models.look import LookGenerator
from retrojax.models.resnet import ResNetGenerator
from retrojax.models.unet import UNetGenerator


class Geometry(NamedTuple):
    """Sizes in pixels.

    Attributes:
        multiple: height and width must be multiples of this.
        reach: an input pixel farther away than this has no influence on an output pixel, but
            through instance normalisation, which looks at the whole input.
    """

    multiple: int
    reach: int


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
        return Geometry(4, 2 * 3 + 2 * (1 + 2 + 1) + 2 * 4 * module.blocks)
    if isinstance(module, UNetGenerator):
        # Level l has a 4x4 layer down and one up, each of which reaches 2 steps of 2^(l-1).
        return Geometry(2**module.levels, sum(4 * 2**level for level in range(module.levels)))
    if isinstance(module, tuple(LATENT_GENERATORS.values())):
        raise ValueError(
            f"a {type(module).__name__} makes images from noise and changes no photograph; "
            "use retrojax generate"
        )
    raise ValueError(
        f"{type(module).__name__} is no generator of retrojax: its reach and multiple are unknown"
    )
