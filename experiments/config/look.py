"""The configuration of a run that learns a look from pairs."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from experiments.config.base import LookName, RunConfig


@dataclass(frozen=True)
class LookConfig(RunConfig):
    """Everything that determines a run that learns a look from pairs."""

    LEAST: ClassVar[dict[str, float]] = RunConfig.LEAST | {
        "crop": 16, "margin": 0, "photo_size": 32, "generator_features": 1,
        "discriminator_features": 1, "discriminator_layers": 1, "discriminator_kernel": 1,
        "discriminator_detail": 0, "adversarial_weight": 0, "blurred_l1_weight": 0, "l1_weight": 0,
    }  # fmt: skip

    look: LookName = "faded-print"
    """Look rendered from the photographs; ignored for --data=pairs."""
    crop: int = 64
    """Side of the squares learned from, in pixels."""
    margin: int = 8
    """Pixels rendered around a crop, so that light from beyond its border counts."""
    photo_size: int = 512
    """Photographs are shrunk until their long side has this many pixels (36 mm of film)."""

    generator: Literal["look", "resnet", "unet"] = "look"
    """Network that makes the picture."""
    generator_features: int = 16
    """Width of the generator."""
    discriminator_features: int = 24
    """Width of the discriminator's first layer."""
    discriminator_layers: int = 2
    """Strided layers of the patch discriminator."""
    discriminator_kernel: int = 3
    """Kernel size in the discriminator (pix2pix: 4)."""
    discriminator_norm: Literal["none", "instance", "batch"] = "instance"
    """Normalisation in the discriminator."""
    discriminator_detail: float = 5.0
    """Amplification of fine detail in the discriminator's input; 0 = the picture alone."""

    adversarial_weight: float = 1.0
    """Weight of the generator's adversarial loss; 0 = trained without adversary."""
    blurred_l1_weight: float = 20.0
    """Weight of L1 between blurred pictures (colour and tone)."""
    l1_weight: float = 0.0
    """Weight of plain L1 (pix2pix: 100); it averages grain away."""

    def __post_init__(self) -> None:
        """Checks what needs no file and no device.

        Raises:
            ValueError: names the flag, its value and the constraint.
        """
        super().__post_init__()
        if self.generator == "look" and not self.blurred_l1_weight:
            raise ValueError(
                "--blurred-l1-weight must be above 0 for --generator=look, whose colours learn "
                "from it alone; or choose --generator=unet"
            )
        if not (self.adversarial_weight or self.blurred_l1_weight or self.l1_weight):
            raise ValueError(
                "--adversarial-weight, --blurred-l1-weight and --l1-weight are all 0: "
                "the generator would have nothing to learn from"
            )

    @property
    def folder(self) -> Path:
        """The run's folder."""
        default = f"runs/{self.preset}-{self.loss}-{self.look}-{self.seed}"
        return Path(self.run_dir or default)

    @property
    def window(self) -> int:
        """Side of the raw squares in pixels."""
        return self.crop + 2 * self.margin

    @property
    def pixels_per_mm(self) -> float:
        """Resolution of the photographs on a 24x36 mm frame."""
        return self.photo_size / 36.0
