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
        "steps": 1, "batch_size": 1, "seed": 0, "discriminator_weight": 0, "discriminator_steps": 1,
        "accumulate": 1,
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
    discriminator_steps: int = 1
    """Updates of the discriminator for one of the generator (WGAN-GP as published: 5)."""
    fresh_generator_batch: bool = False
    """Whether the generator's update has images of its own (R3GAN)."""
    parallel: Literal["jit", "pmap"] = "jit"
    """How devices share a step: the compiler splits the global batch, or each steps its share."""
    accumulate: int = 1
    """Micro-batches whose gradients are averaged into one update: less memory, the same batch."""
    distributed: bool = False
    """Join the other processes of a recognised cluster: Slurm, Open MPI, Kubernetes, TPU pod."""
    coordinator: str = ""
    """HOST:PORT of the first process, where no cluster is recognised; empty = one process."""
    num_processes: int | None = None
    """How many processes there are; goes with --coordinator."""
    process_id: int | None = None
    """Number of this process, from 0; goes with --coordinator."""
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
        self._check_processes()

    def _check_processes(self) -> None:
        count, number = self.num_processes, self.process_id
        if self.distributed and self.coordinator:
            raise ValueError(
                f"--distributed recognises the cluster, --coordinator={self.coordinator} says it; "
                "leave out one"
            )
        if not self.coordinator and not (count is None and number is None):
            raise ValueError(
                f"--num-processes={count} and --process-id={number} go with --coordinator=HOST:PORT"
            )
        if self.coordinator and (count is None or number is None or not 0 <= number < count):
            raise ValueError(
                f"--coordinator={self.coordinator} needs --num-processes=N and --process-id from 0 "
                f"to N - 1, not {count} and {number}"
            )
        if self.coordinator and not self.coordinator.rpartition(":")[2].isdigit():
            raise ValueError(f"--coordinator must be HOST:PORT, not {self.coordinator!r}")

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
    augment: str = ""
    """DiffAugment on what the critic sees: color, translation, cutout, separated by commas."""

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


@dataclass(frozen=True)
class TranslationConfig(RunConfig):
    """Everything that determines a run of the translation family: pix2pix, CycleGAN, CUT."""

    LEAST: ClassVar[dict[str, float]] = RunConfig.LEAST | {
        "steps": 0, "epochs_constant": 0, "epochs_decay": 0, "load_size": 0, "crop": 16,
        "margin": 0, "photo_size": 32, "zoom": 0.01, "features": 1, "blocks": 1, "levels": 1,
        "discriminator_features": 1, "discriminator_layers": 1, "discriminator_detail": 0,
        "adversarial_weight": 0, "l1_weight": 0, "cycle_weight": 0, "identity_weight": 0,
        "nce_weight": 0, "nce_patches": 1, "pool_size": 0,
    }  # fmt: skip

    preset: str = "cyclegan"
    """Named set of defaults; every other flag overrides it."""
    method: Literal["paired", "unpaired", "contrastive", "one-sided"] = "unpaired"
    """pix2pix's objective, CycleGAN's, CUT's, or SimGAN's (an adversary, and L1 to the source)."""
    data: str = "bundled"
    """unpaired:SOURCE,TARGET | pairs:SOURCE,TARGET | bundled | folder:PATH | tfds:NAME[:FEATURE]"""
    look: LookName | Literal["none"] = "none"
    """Look rendered on the targets of data that has none of its own."""
    steps: int = 0
    """Length of the run in updates; 0 = what the epochs take."""
    epochs_constant: int = 100
    """Epochs at the full learning rate, for --schedule=epochs-before and epochs-after."""
    epochs_decay: int = 100
    """Epochs in which the learning rate goes down to 0."""
    schedule: Literal["constant", "linear", "cosine", "epochs-before", "epochs-after"] = (
        "epochs-before"
    )
    """Learning rate: by epochs, stepped before each (pix2pix, CycleGAN) or after (CUT)."""
    load_size: int = 286
    """Images are stretched to squares of this side, then cropped; 0 = taken as they are."""
    crop: int = 256
    """Side of the squares learned from, in pixels."""
    margin: int = 0
    """Pixels rendered around a crop, so that light from beyond its border counts."""
    photo_size: int = 1024
    """Images are shrunk until their long side has this many pixels."""
    flip: bool = True
    """Whether images are mirrored at random."""
    zoom: float = 1.0
    """Below 1: images are shrunk at random down to this factor (SinCUT: 1/3)."""
    augment: str = ""
    """DiffAugment on what the critic sees: color, translation, cutout, separated by commas."""

    generator: Literal["resnet", "unet", "sincut", "look"] = "resnet"
    """Network that makes the picture."""
    features: int = 64
    """Width of its first layer."""
    blocks: int = 9
    """Residual blocks of --generator=resnet."""
    levels: int = 8
    """Halvings of --generator=unet."""
    norm: Literal["none", "instance", "batch"] = "instance"
    """Normalisation in the generator and the patch discriminator."""
    dropout: float = 0.0
    """Rate of dropout in the generator."""
    antialias: bool = False
    """Whether resnet and patch networks blur before they change the scale (CUT)."""
    discriminator: Literal["patch", "pixel", "sincut"] = "patch"
    """Network that judges it."""
    discriminator_features: int = 64
    """Width of its first layer."""
    discriminator_layers: int = 3
    """Strided layers of the patch discriminator."""
    discriminator_detail: float = 0.0
    """Amplification of fine detail in its input; 0 = the picture alone."""
    initializer: Literal["normal", "xavier", "networks"] = "normal"
    """Initial weights: N(0, 0.02), Glorot's with gain 0.02, or as each network says."""

    adversarial_weight: float = 1.0
    """Weight of the generator's adversarial loss."""
    l1_weight: float = 100.0
    """Weight of L1 to the target (paired), or to the source (one-sided; between blurred images)."""
    cycle_weight: float = 10.0
    """Weight of the cycles (unpaired)."""
    identity_weight: float = 5.0
    """Weight of the identity: L1 (unpaired), or L1 beside PatchNCE (contrastive; SinCUT)."""
    pool_size: int = 50
    """Fakes kept for each critic (unpaired); 0 = the newest only."""
    nce_weight: float = 1.0
    """Weight of PatchNCE (contrastive)."""
    nce_identity: bool = True
    """Whether targets are compared with what the generator makes of them (CUT yes, FastCUT no)."""
    nce_layers: str = "0,4,8,12,16"
    """Layers of the generator that are compared."""
    nce_patches: int = 256
    """Patches of each layer that are compared."""
    nce_all_negatives: bool = False
    """Whether patches of the whole batch are negatives (SinCUT)."""
    flip_equivariance: bool = False
    """Whether sources are mirrored in half of the steps and compared unmirrored (FastCUT)."""

    def __post_init__(self) -> None:
        """Checks what needs no file and no device.

        Raises:
            ValueError: names the flag, its value and the constraint.
        """
        super().__post_init__()
        if not 0 < self.zoom <= 1:
            raise ValueError(f"--zoom must be above 0 and at most 1, not {self.zoom}")
        if 0 < self.load_size < self.window:
            raise ValueError(
                f"--load-size={self.load_size} is smaller than the crop of {self.window} pixels "
                "with its margin; choose a smaller --crop"
            )
        if self.look != "none" and self.load_size:
            raise ValueError(
                f"--look={self.look} needs --load-size=0: a look has the scale of a photograph, "
                "which stretching to a square changes"
            )
        multiple = {"unet": 2**self.levels, "resnet": 4, "sincut": 4, "look": 1}[self.generator]
        if self.crop % multiple:
            raise ValueError(
                f"--crop must be a multiple of {multiple} for --generator={self.generator}, "
                f"not {self.crop}"
            )
        if self.discriminator == "sincut" and self.crop != 64:
            raise ValueError(f"--crop must be 64 for --discriminator=sincut, not {self.crop}")
        if self.method == "contrastive" and self.generator not in ("resnet", "sincut"):
            raise ValueError(
                f"--method=contrastive compares features of the generator, which "
                f"--generator={self.generator} does not show; choose resnet or sincut"
            )
        if not all(part.isdigit() for part in self.nce_layers.split(",")):
            raise ValueError(
                f"--nce-layers must be numbers with commas between, not {self.nce_layers!r}"
            )
        if self.method == "contrastive" and self.identity_weight and not self.nce_identity:
            raise ValueError(
                f"--identity-weight={self.identity_weight} needs --nce-identity: the generator "
                "meets no target otherwise; set it to 0"
            )

    @property
    def window(self) -> int:
        """Side of the raw squares in pixels."""
        return self.crop + 2 * self.margin

    @property
    def pixels_per_mm(self) -> float:
        """Resolution of the photographs on a 24x36 mm frame."""
        return self.photo_size / 36.0


AnyConfig = LookConfig | GenerationConfig | TranslationConfig

MAY_CHANGE = frozenset(
    {
        "steps",
        "run_dir",
        "parallel",
        "distributed",
        "coordinator",
        "num_processes",
        "process_id",
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
