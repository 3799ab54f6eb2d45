"""The games whose joint step is timed beside other systems': numbers only, no library."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from experiments.config import AnyConfig, GenerationConfig, TranslationConfig
from experiments.presets import preset

CHECKED_STEPS: Final = 5
"""Steps of every system whose losses must be equal."""


@dataclass(frozen=True)
class Game:
    """One joint step, and how large it is.

    Attributes:
        model: the name it is chosen by, and its preset's.
        config: networks, losses, weights, optimisers and batch of its run.
        drops: whether networks that have dropout use it.
    """

    model: str
    config: AnyConfig
    drops: bool = True

    @property
    def size(self) -> int:
        """Side of the images that the networks see, in pixels."""
        return self.config.size if isinstance(self.config, GenerationConfig) else self.config.crop

    @property
    def checked(self) -> "Game":
        """The game whose losses are compared: float32, without dropout, a tenth of the rates.

        Adam's first steps follow the sign of every gradient, and rounding is the sign of the
        smallest: at DCGAN's full rate two orders of the same sums part by 7e-4 in four steps.
        """
        config = replace(
            self.config,
            dtype="float32",
            learning_rate=self.config.learning_rate / 10,
            discriminator_learning_rate=self.config.discriminator_learning_rate / 10,
        )
        return replace(self, config=config, drops=False)

    @property
    def title(self) -> str:
        """What is timed, in a line."""
        c = self.config
        return (
            f"{self.model}, batch {c.batch_size}, {self.size}x{self.size} pixels, {c.dtype}, loss "
            f"{c.loss}, {c.order}, {c.optimizer}"
        )


# Model -> what differs from its preset: sizes that two cores can bear.
GAMES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "document": {},
        "dcgan64": {},
        "pix2pix": {"crop": 128, "batch_size": 2},
        "cyclegan": {"crop": 128},
        "look": {},
    }
)


def game(
    model: str,
    *,
    size: int | None = None,
    batch_size: int | None = None,
    features: int | None = None,
    blocks: int | None = None,
    dtype: str | None = None,
) -> Game:
    """A game out of `GAMES`, changed where something is given; its learning rate is constant.

    Args:
        model: a name in `GAMES`.
        size: side of the images in pixels; pix2pix has as many levels as lead to one pixel.
        batch_size: images per step.
        features: width of both networks.
        blocks: residual blocks of "cyclegan".
        dtype: computation type of the networks.

    Raises:
        ValueError: for an unknown name, or something that the networks cannot have.
    """
    if model not in GAMES:
        raise ValueError(f"unknown model {model!r}; choose one of {', '.join(GAMES)}")
    if features is not None and model == "document":
        raise ValueError("--features: the document's networks have widths of their own")
    if blocks is not None and model != "cyclegan":
        raise ValueError("--blocks goes with --model=cyclegan")
    base = preset(model)
    given = {
        "batch_size": batch_size,
        "dtype": dtype,
        "blocks": blocks,
        "size" if isinstance(base, GenerationConfig) else "crop": size,
        **dict.fromkeys(_widths(model), features),
    }
    changes: dict[str, Any] = {**GAMES[model], "schedule": "constant"}
    changes |= {name: value for name, value in given.items() if value is not None}
    if isinstance(base, TranslationConfig):
        # Batches come prepared: nothing is loaded.
        changes["load_size"] = 0
        # What a full pool gives back is drawn: until then the losses can be compared.
        images = CHECKED_STEPS * changes.get("batch_size", base.batch_size)
        changes["pool_size"] = max(base.pool_size, images) if base.pool_size else 0
    if model == "pix2pix":
        changes["levels"] = _levels(changes["crop"])
    return Game(model, replace(base, **changes))


def _widths(model: str) -> tuple[str, ...]:
    """The fields that say how wide the networks are."""
    return {
        "dcgan64": ("features",),
        "look": ("generator_features", "discriminator_features"),
    }.get(model, ("features", "discriminator_features"))


def _levels(size: int) -> int:
    """As many halvings as lead to one pixel: 8 from 256, 7 from 128.

    Raises:
        ValueError: if none lead there.
    """
    if size < 32 or size & (size - 1):
        raise ValueError(
            f"--size must be a power of two of at least 32 for --model=pix2pix, not {size}"
        )
    return size.bit_length() - 1
