"""What every run's configuration has, and how its fields are named on the command line."""

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

    augment: str = ""
    """DiffAugment on what the critic sees: default (= translation,cutout), or names out of color,
    translation and cutout with commas between; empty = none."""

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
    remat: bool = False
    """Compute activations again when gradients need them: less memory, more time (large images)."""
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
    compilation_cache: str = ""
    """Folder in which compiled programs are kept and looked for, for the next start; machines may
    share it; empty = everything is compiled anew."""
    profile: bool = False
    """Trace five steps after the first three into the run's profile/ (TensorBoard, Perfetto)."""

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


MAY_CHANGE = frozenset(
    {
        "steps",
        "run_dir",
        "parallel",
        "remat",
        "distributed",
        "coordinator",
        "num_processes",
        "process_id",
        "save_every_steps",
        "save_every_seconds",
        "sample_every_steps",
        "log_every_steps",
        "compilation_cache",
        "profile",
    }
)
"""Fields in which a resumed run may differ from what its folder says."""


def flag(name: str) -> str:
    """The command line's name of a field."""
    return f"--{name.replace('_', '-')}"


def as_dict(config: RunConfig) -> dict[str, str | int | float | None]:
    """The configuration as JSON values by field."""
    return {field.name: getattr(config, field.name) for field in fields(config)}
