"""The configuration of a run: frozen, complete, flat dataclasses; validated when built.

`RunConfig` is what every run has; one subclass for each kind of run adds the rest.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar, Literal

Loss = Literal["bce", "lsgan", "lsgan-document", "lsgan-pairwise", "hinge", "wgan", "relativistic"]
LookName = Literal[
    "sepia",
    "faded-print",
    "slide",
    "instant",
    "cross-process",
    "noir",
    "tungsten-cine",
    "expired",
    "cyanotype",
]


@dataclass(frozen=True)
class RunConfig:
    """What determines any run."""

    LEAST: ClassVar[dict[str, float]] = {
        "steps": 1, "batch_size": 1, "seed": 0, "discriminator_weight": 0,
        "ema_halflife_images": 0, "save_every_steps": 0, "save_every_seconds": 0,
        "sample_every_steps": 0, "log_every_steps": 1,
    }  # fmt: skip

    preset: str = "look"
    """Named set of defaults; every other flag overrides it."""
    loss: Loss = "lsgan"
    """Adversarial loss; the formulas stand at the end of this help."""
    data: str = "bundled"
    """bundled | folder:PATH | pairs:SOURCE,TARGET | tfds:NAME[:FEATURE]"""
    steps: int = 800
    """Length of the run in updates; may be raised to go on with a finished run."""
    batch_size: int = 16
    """Images per step over all devices."""
    seed: int = 0
    """Seed of weights, data order and all noise."""
    run_dir: str = ""
    """Folder of the run; empty = a folder in runs/ named by preset, loss, look and seed."""

    discriminator_weight: float = 1.0
    """Weight of the discriminator's adversarial loss."""
    r1: float | None = None
    """Gamma of R1 on real images; None = what belongs to the loss."""
    r2: float | None = None
    """Gamma of R2 on generated images; None = what belongs to the loss."""
    gradient_penalty: float | None = None
    """Lambda of the gradient penalty; None = what belongs to the loss (wgan: 10)."""

    optimizer: Literal["adam", "sgd"] = "adam"
    """Optimiser of both players."""
    learning_rate: float = 2e-4
    """The generator's learning rate."""
    discriminator_learning_rate: float = 5e-4
    """The discriminator's learning rate."""
    b1: float = 0.5
    """Adam's first decay."""
    b2: float = 0.99
    """Adam's second decay."""
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    """Learning rate: constant, or down to 0 over the second half."""
    order: Literal["alternating", "simultaneous"] = "alternating"
    """Whether the generator meets the discriminator just updated, or the old one."""
    ema_halflife_images: float = 3000.0
    """Half-life of the generator's average in images; 0 = no average."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Computation type of the networks; parameters, norms and losses are float32."""

    save_every_steps: int = 0
    """Updates between checkpoints; 0 = by time only."""
    save_every_seconds: float = 60.0
    """Seconds between checkpoints; 0 = by steps only."""
    sample_every_steps: int = 250
    """Updates between sample pictures; 0 = only at the end."""
    log_every_steps: int = 10
    """Updates between lines of metrics.jsonl."""

    def __post_init__(self) -> None:
        """Checks what needs no file and no device.

        Raises:
            ValueError: names the flag, its value and the constraint.
        """
        for name, least in self.LEAST.items():
            if not getattr(self, name) >= least:
                raise ValueError(
                    f"{flag(name)} must be at least {least}, not {getattr(self, name)}"
                )
        for name in ("learning_rate", "discriminator_learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{flag(name)} must be above 0, not {getattr(self, name)}")
        for name in ("b1", "b2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{flag(name)} must lie in [0, 1), not {getattr(self, name)}")

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return Path(self.run_dir or f"runs/{self.preset}-{self.loss}-{self.seed}")


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


@dataclass(frozen=True)
class GenerationConfig(RunConfig):
    """Everything that determines a run that makes images from noise."""

    LEAST: ClassVar[dict[str, float]] = RunConfig.LEAST | {
        "size": 16, "margin": 0, "photo_size": 32, "features": 1,
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
    augment: str = ""
    """DiffAugment on what the critic sees: color, translation, cutout, separated by commas."""

    generator: Literal["document", "fully-connected", "dcgan"] = "document"
    """Network that makes the picture."""
    discriminator: Literal["document", "fully-connected", "dcgan"] = "document"
    """Network that judges it."""
    features: int = 64
    """Width of the dcgan networks; the others have their own."""

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


AnyConfig = LookConfig | GenerationConfig

MAY_CHANGE = frozenset(
    {
        "steps",
        "run_dir",
        "save_every_steps",
        "save_every_seconds",
        "sample_every_steps",
        "log_every_steps",
    }
)
"""Fields in which a resumed run may differ from what its folder says."""


def flag(name: str) -> str:
    """The command line's name of a field."""
    return f"--{name.replace('_', '-')}"


def as_dict(config: RunConfig) -> dict[str, str | int | float | None]:
    """The configuration as JSON values by field."""
    return {field.name: getattr(config, field.name) for field in fields(config)}
