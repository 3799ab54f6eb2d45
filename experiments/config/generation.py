"""The configuration of a run that makes images from noise."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from experiments.config.base import LookName, RunConfig


@dataclass(frozen=True)
class GenerationConfig(RunConfig):
    """Everything that determines a run that makes images from noise."""

    LEAST: ClassVar[dict[str, float]] = RunConfig.LEAST | {
        "size": 16, "margin": 0, "photo_size": 32, "features": 1, "ramp_images": 0,
    }  # fmt: skip

    preset: str = "document"
    """Named set of defaults; every other flag overrides it."""
    data: str = "bundled"
    """bundled | digits | faces | folder:PATH | tfds:NAME[:FEATURE]"""
    look: LookName | Literal["none"] = "none"
    """Look rendered on the images before they are learned; none = as they are."""
    take: Literal["crops", "whole"] = "whole"
    """Whether random squares of the images are learned, or whole images scaled to --size."""
    size: int = 32
    """Side of the images made, in pixels."""
    margin: int = 8
    """Pixels rendered around a crop, so that light from beyond its border counts."""
    photo_size: int = 512
    """Photographs are shrunk until their long side has this many pixels (36 mm of film)."""
    flip: bool = True
    """Whether images may be mirrored left to right (not for writing)."""
    augment_probability: float = 1.0
    """Probability of each augmentation; with --ramp-images the one at the end."""
    ramp_images: float = 0.0
    """Images over which R3GAN's schedules run: augmentation and average from 0 up, R1 and R2 down
    to a tenth, learning rates to a quarter, Adam's b2 from 0.9 to --b2; 0 = nothing changes."""

    generator: Literal["document", "fully-connected", "dcgan", "r3gan"] = "document"
    """Network that makes the picture."""
    discriminator: Literal["document", "fully-connected", "dcgan", "r3gan"] = "document"
    """Network that judges it."""
    features: int = 64
    """Width of the dcgan networks, and of r3gan at 4x4 pixels; the others have their own."""

    def __post_init__(self) -> None:
        """Checks what needs no file and no device.

        Raises:
            ValueError: names the flag, its value and the constraint.
        """
        super().__post_init__()
        if self.generator == "document" and self.size % 4:
            raise ValueError(
                f"--size must be a multiple of 4 for --generator=document, not {self.size}"
            )
        if "dcgan" in (self.generator, self.discriminator) and self.size != 64:
            raise ValueError(f"--size must be 64 for the dcgan networks, not {self.size}")
        if "r3gan" in (self.generator, self.discriminator) and self.size & (self.size - 1):
            raise ValueError(f"--size must be a power of 2 for the r3gan networks, not {self.size}")
        if not 0 <= self.augment_probability <= 1:
            raise ValueError(
                f"--augment-probability must lie in [0, 1], not {self.augment_probability}"
            )
        if self.look != "none" and self.take == "whole":
            raise ValueError(
                f"--look={self.look} needs --take=crops: a look has the scale of a photograph, "
                "which a whole image shrunk to a few pixels has lost"
            )

    @property
    def window(self) -> int:
        """Side of the raw squares in pixels."""
        return self.size if self.take == "whole" else self.size + 2 * self.margin

    @property
    def pixels_per_mm(self) -> float:
        """Resolution of the photographs on a 24x36 mm frame."""
        return self.photo_size / 36.0
