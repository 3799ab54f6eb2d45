"""Which network a state dictionary of PyTorch's originals belongs to, from its keys and shapes."""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from retrojax.inference.torch_names import LAYERS

# Rate of the originals where they have dropout.
DROPOUT = 0.5
# Halvings of the deepest network that is believed; 256 pixels have 8.
_DEEPEST = 12
# One key that only this architecture has, as a pattern.
_SIGNS = MappingProxyType(
    {
        "resnet": r"model\.\d+\.conv_block\.1\.weight",
        "unet": r"model\.model\.0\.weight",
        "patchgan": r"model\.0\.weight",
        "pixelgan": r"net\.0\.weight",
    }
)


class Detected(NamedTuple):
    """What a state dictionary says of the network it belongs to.

    Attributes:
        name: in `LAYERS`.
        options: fields of the module.
        channels: of the input.
    """

    name: str
    options: Mapping[str, Any]
    channels: int


def detect(state: Mapping[str, np.ndarray]) -> Detected:
    """Finds the architecture and its size from keys and shapes.

    Dropout of a U-Net leaves no trace: pix2pix's 0.5 is taken.

    Args:
        state: name -> array, with or without "module." before each name.

    Raises:
        ValueError: the keys are those of no network in `LAYERS`.
    """
    state = plain(state)
    for name, sign in _SIGNS.items():
        if any(re.fullmatch(sign, key) for key in state):
            return _DETECTORS[name](state)
    if "mlp_0.0.weight" in state:
        raise ValueError(
            "these are the projection heads (PatchSampleF) that CUT trains beside its generator "
            "and that change no photograph; give latest_net_G.pth"
        )
    raise ValueError(
        f"keys such as {listed(state)} belong to none of {', '.join(LAYERS)}; give a generator or "
        "discriminator of CycleGAN, pix2pix or CUT"
    )


def plain(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A state dictionary without the "module." that DataParallel puts before each name."""
    wrapped = all(key.startswith("module.") for key in state)
    return {key.removeprefix("module.") if wrapped else key: x for key, x in state.items()}


def listed(keys: Iterable[str]) -> str:
    """The first few keys, printable."""
    every = [key if key.isprintable() and len(key) < 80 else ascii(key)[:80] for key in keys]
    return ", ".join(every[:4]) + (f" and {len(every) - 4} more" if len(every) > 4 else "")


def _detect_resnet(state: Mapping[str, np.ndarray]) -> Detected:
    width, channels = _conv_shape(state, "model.1.weight")
    blocks = _places(state, r"model\.(\d+)\.conv_block\.1\.weight")
    first, last = blocks[0], _places(state, r"model\.(\d+)\.weight")[-1]
    second = state.get(f"model.{first}.conv_block.6.weight")
    options = {
        "features": width,
        "blocks": len(blocks),
        "norm": _norm_of(state, "model.1"),
        # Without dropout, 6 is the second norm.
        "dropout": DROPOUT if second is not None and second.ndim == 4 else 0.0,
        # Each filter takes a place of its own in the list.
        "antialias_down": first == 12,
        "antialias_up": last - first - len(blocks) == 9,
    }
    return Detected("resnet", options, channels)


def _detect_unet(state: Mapping[str, np.ndarray]) -> Detected:
    width, channels = _conv_shape(state, "model.model.0.weight")
    levels = sum(array.ndim == 4 for array in state.values()) // 2
    if not 2 <= levels <= _DEEPEST:
        raise ValueError(f"a U-Net of {levels} levels; 2 to {_DEEPEST} can be imported")
    norm = _norm_of(state, "model.model.0")
    options = {"features": width, "levels": levels, "norm": norm, "dropout": DROPOUT}
    return Detected("unet", options, channels)


def _detect_patchgan(state: Mapping[str, np.ndarray]) -> Detected:
    width, channels = _conv_shape(state, "model.0.weight")
    places = _places(state, r"model\.(\d+)\.weight")
    layers = len(places) - 2
    if not 1 <= layers <= _DEEPEST:
        raise ValueError(f"a PatchGAN of {layers} layers; 1 to {_DEEPEST} can be imported")
    norm = _norm_of(state, f"model.{places[1]}")
    options = {"features": width, "layers": layers, "norm": norm, "antialias": places[1] == 3}
    return Detected("patchgan", options, channels)


def _detect_pixelgan(state: Mapping[str, np.ndarray]) -> Detected:
    width, channels = _conv_shape(state, "net.0.weight")
    return Detected("pixelgan", {"features": width, "norm": _norm_of(state, "net.2")}, channels)


_DETECTORS = MappingProxyType(
    {
        "resnet": _detect_resnet,
        "unet": _detect_unet,
        "patchgan": _detect_patchgan,
        "pixelgan": _detect_pixelgan,
    }
)


def _conv_shape(state: Mapping[str, np.ndarray], key: str) -> tuple[int, int]:
    """(out, in) of a convolution's weight."""
    if key not in state or state[key].ndim != 4:
        raise ValueError(f"lacks the convolution {key}; give a whole state dictionary")
    return state[key].shape[0], state[key].shape[1]


def _places(state: Mapping[str, np.ndarray], pattern: str) -> list[int]:
    """Places of convolutions, ascending."""
    matches = ((re.fullmatch(pattern, key), array) for key, array in state.items())
    places = sorted(int(match[1]) for match, array in matches if match and array.ndim == 4)
    if not places:
        raise ValueError("lacks its convolutions; give a whole state dictionary")
    return places


def _norm_of(state: Mapping[str, np.ndarray], inner: str) -> str:
    """By what the originals write: weights of batch norm; biases before instance norm."""
    if any(key.endswith(".weight") and array.ndim == 1 for key, array in state.items()):
        return "batch"
    return "instance" if f"{inner}.bias" in state else "none"
