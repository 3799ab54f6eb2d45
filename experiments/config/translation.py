"""The configuration of a run of the translation family: pix2pix, CycleGAN, CUT."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from experiments.config.base import LookName, RunConfig


@dataclass(frozen=True)
class TranslationConfig(RunConfig):
    """Everything that determines a run of the translation family: pix2pix, CycleGAN, CUT."""

    LEAST: ClassVar[dict[str, float]] = RunConfig.LEAST | {
        "steps": 0, "epochs_constant": 0, "epochs_decay": 0, "load_size": 0, "crop": 16,
        "margin": 0, "photo_size": 32, "zoom": 0.01, "features": 1, "blocks": 1, "levels": 1,
        "discriminator_features": 1, "discriminator_layers": 1, "discriminator_detail": 0,
        "adversarial_weight": 0, "l1_weight": 0, "l2_weight": 0, "cycle_weight": 0,
        "identity_weight": 0, "nce_weight": 0, "nce_patches": 1, "pool_size": 0,
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
    decay_uncropped: bool = False
    """Whether images are stretched to the crop's size itself while the rate decays (CUT)."""
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
    generator: Literal["resnet", "unet", "sincut", "look", "encoder-decoder"] = "resnet"
    """Network that makes the picture."""
    features: int = 64
    """Width of its first layer."""
    blocks: int = 9
    """Residual blocks of --generator=resnet."""
    levels: int = 8
    """Halvings of --generator=unet and encoder-decoder."""
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
    l2_weight: float = 0.0
    """Weight of the squared error to the target (paired)."""
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
        if self.schedule.startswith("epochs") and not self.epochs_constant + self.epochs_decay:
            raise ValueError(
                f"--schedule={self.schedule} needs --epochs-constant or --epochs-decay above 0"
            )
        if self.decay_uncropped and not (self.load_size and self.schedule.startswith("epochs")):
            raise ValueError(
                f"--decay-uncropped needs --load-size above 0 and a --schedule by epochs, not "
                f"{self.load_size} and {self.schedule}; leave it out with --no-decay-uncropped"
            )
        multiple = {
            "unet": 2**self.levels, "encoder-decoder": 2**self.levels,
            "resnet": 4, "sincut": 4, "look": 1,
        }[self.generator]  # fmt: skip
        if self.crop % multiple:
            raise ValueError(
                f"--crop must be a multiple of {multiple} for --generator={self.generator}, "
                f"not {self.crop}"
            )
        if self.l2_weight and self.method != "paired":
            raise ValueError(
                f"--l2-weight={self.l2_weight} needs a target, which --method={self.method} has "
                "not; choose --method=paired or leave it out"
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
