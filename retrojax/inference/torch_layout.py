"""State dictionaries of PyTorch's originals <-> our modules and variables.

Contract: pure functions. `from_torch(to_torch(module, variables))` is the same module with the same
bits. A state dictionary that does not fit is a `ValueError` that names its keys.

Kernels: a convolution's (out, in, k, k) becomes [k, k, in, out] and a transposed one's
(in, out, k, k) becomes [k, k, out, in], by one transposition. Batch norm's running statistics
become the collection `batch_stats`. Instance norm has no weights; the running statistics that
PyTorch < 0.4 wrote for it are dropped, as are counters of batches and CUT's constant filters.
"""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from retrojax.inference.shapes import variable_shapes
from retrojax.inference.torch_detect import DROPOUT, Detected, detect, listed, plain
from retrojax.inference.torch_names import LAYERS, Layer
from retrojax.models import DISCRIMINATORS, GENERATORS, PatchDiscriminator

_CLASSES = MappingProxyType({name: {**GENERATORS, **DISCRIMINATORS}[name] for name in LAYERS})
# A filter of n taps is their outer product; an "up filter" is four times as strong.
_TAPS = MappingProxyType({"down filter": (1, 2, 1), "up filter": (1, 3, 3, 1)})
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class Imported(NamedTuple):
    """A network of ours, with the weights of a state dictionary.

    Attributes:
        name: in `retrojax.models.GENERATORS` or `DISCRIMINATORS`.
        options: fields of the module.
        variables: {"params": ..., "batch_stats": ... with batch norm}, numpy float32.
    """

    name: str
    options: Mapping[str, Any]
    variables: Mapping[str, Any]

    @property
    def judges(self) -> bool:
        """Whether it is a discriminator."""
        return self.name in DISCRIMINATORS


def from_torch(
    state: Mapping[str, np.ndarray],
    *,
    architecture: str | None = None,
    norm: str | None = None,
    dropout: bool | None = None,
    noise_channels: int = 0,
) -> Imported:
    """Our network with the weights of a state dictionary.

    Args:
        state: name -> float32 array, with or without "module." before each name.
        architecture: a name in `LAYERS` that it must be; None = whichever it is.
        norm: "instance", "batch" or "none"; None = by the originals' rule: convolutions have a
            bias before instance norm only. With "instance", missing biases are taken as 0.
        dropout: whether a U-Net was trained with dropout; None = yes. Other networks show it.
        noise_channels: how many of a generator's input channels are noise, after the photograph.

    Raises:
        ValueError: it fits no architecture or not the wanted one, keys are missing or left over,
            shapes are wrong, it is not for colour photographs, or it holds NaN or infinity.
    """
    state = plain(state)
    found = detect(state)
    if architecture not in (None, found.name):
        raise ValueError(
            f"keys such as {listed(state)} are those of {found.name}, not {architecture}; "
            f"give --architecture {found.name} or none"
        )
    options = _with_flags(found, norm=norm, dropout=dropout, noise_channels=noise_channels)
    module = _CLASSES[found.name](**options)
    shapes = variable_shapes(module, channels=found.channels)
    layers = tuple(LAYERS[found.name](module))
    sources = _sources(layers, shapes)
    missing = set(sources.values()) - set(state)
    if norm == "instance":
        zeros = {
            t: np.zeros(shapes[o].shape, np.float32) for o, t in sources.items() if t in missing
        }
        state |= {key: array for key, array in zeros.items() if array.ndim == 1}
        missing -= set(state)
    extra = set(state) - set(sources.values()) - _unused(layers, state)
    if missing or extra:
        lacks = [f"lacks {listed(sorted(missing))}"] if missing else []
        has = [f"has {listed(sorted(extra))}, for which there is no place"] if extra else []
        raise ValueError(
            f"looks like {_words(found.name, options)}, but {' and '.join(lacks + has)}; only the "
            "networks of CycleGAN, pix2pix and CUT can be imported, and whole files of them"
        )
    flat = {ours: _ours(state[theirs]) for ours, theirs in sources.items()}
    for ours, theirs in sources.items():
        if flat[ours].shape != shapes[ours].shape:
            wanted = _theirs(np.empty(shapes[ours].shape, np.bool_)).shape
            raise ValueError(
                f"{theirs} has shape {state[theirs].shape}, {_words(found.name, options)} needs "
                f"{wanted}; it belongs to another network"
            )
        if not np.isfinite(flat[ours]).all():
            raise ValueError(f"{theirs} holds NaN or infinity; use an earlier checkpoint")
    return Imported(found.name, options, unflatten_dict(flat, sep="/"))


def to_torch(module: nn.Module, variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The state dictionary with which the original gives the same images or logits.

    Its class takes it with `strict=True`: batch norm's counters (0) and CUT's filters are there.
    Noise channels come after the photograph's in the input.

    Args:
        module: a network that PyTorch's originals have too.
        variables: its variables.

    Returns:
        Name -> float32 array, counters int64.

    Raises:
        ValueError: the module has no counterpart in PyTorch's originals.
    """
    names = [name for name, known in _CLASSES.items() if type(module) is known]
    if not names:
        raise ValueError(
            f"a {type(module).__name__} has no counterpart among PyTorch's originals; "
            f"only {', '.join(LAYERS)} can be exported"
        )
    if isinstance(module, PatchDiscriminator) and (module.kernel_size != 4 or module.detail):
        raise ValueError(
            f"the original PatchGAN has kernels of 4 and sees the image alone, not kernel_size="
            f"{module.kernel_size}, detail={module.detail}: it cannot be exported"
        )
    flat = flatten_dict(dict(variables), sep="/")
    layers = tuple(LAYERS[names[0]](module))
    theirs_of = {theirs: ours for ours, theirs in _sources(layers, flat).items()}
    state = {}
    for layer in layers:
        if layer.kind in _TAPS:
            state[f"{layer.theirs}.filt"] = _filter(layer, flat)
            continue
        for part in ("weight", "bias", *_STATISTICS[:2]):
            key = f"{layer.theirs}.{part}"
            if key in theirs_of:
                state[key] = _theirs(np.asarray(flat[theirs_of[key]], np.float32))
        if f"{layer.theirs}.running_var" in state:
            state[f"{layer.theirs}.num_batches_tracked"] = np.zeros((), np.int64)
    return state


def heads_from_torch(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Variables of `PatchSampleF` from CUT's `latest_net_F.pth`.

    Raises:
        ValueError: it is another network's.
    """
    flat = {}
    for key, array in plain(state).items():
        match = re.fullmatch(r"(mlp_\d+)\.([02])\.(weight|bias)", key)
        if not match or array.ndim != (2 if match[3] == "weight" else 1):
            raise ValueError(f"{key} is no layer of CUT's projection heads; give latest_net_F.pth")
        leaf = "kernel" if match[3] == "weight" else "bias"
        flat[f"params/{match[1]}_{int(match[2]) // 2}/{leaf}"] = np.ascontiguousarray(array.T)
    return unflatten_dict(flat, sep="/")


def heads_to_torch(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """CUT's `latest_net_F.pth` from variables of `PatchSampleF`."""
    state = {}
    for layer, leaves in variables["params"].items():
        head, _, place = layer.rpartition("_")
        for part, leaf in (("weight", "kernel"), ("bias", "bias")):
            array = np.asarray(leaves[leaf], np.float32)
            state[f"{head}.{2 * int(place)}.{part}"] = np.ascontiguousarray(array.T)
    return state


def _with_flags(
    found: Detected, *, norm: str | None, dropout: bool | None, noise_channels: int
) -> dict[str, Any]:
    """The detected options, with those that the keys do not show."""
    options = dict(found.options)
    if norm is not None:
        options["norm"] = norm
    if dropout is not None:
        shown = bool(options.get("dropout", False))
        if found.name != "unet" and dropout != shown:
            raise ValueError(
                f"the keys of this {found.name} show {'' if shown else 'no '}dropout; leave "
                "--dropout out"
            )
        options = {**options, "dropout": DROPOUT if dropout else 0.0} if shown else options
    if found.name in GENERATORS:
        if found.channels != 3 + noise_channels:
            raise ValueError(
                f"takes {found.channels} channels, not a photograph's 3 and {noise_channels} of "
                "noise; give a generator for colour photographs, and --noise-channels if it has any"
            )
        options["noise_channels"] = noise_channels
    elif noise_channels:
        raise ValueError(f"a {found.name} takes no noise; leave --noise-channels out")
    return options


def _sources(layers: Iterable[Layer], names: Iterable[str]) -> dict[str, str]:
    """Our variable -> their tensor, for the variables that are in `names`."""
    parts = {
        "conv": (("params", "kernel", "weight"), ("params", "bias", "bias")),
        "norm": (
            ("params", "scale", "weight"),
            ("params", "bias", "bias"),
            ("batch_stats", "mean", "running_mean"),
            ("batch_stats", "var", "running_var"),
        ),
    }
    known = set(names)
    return {
        f"{collection}/{layer.ours}/{leaf}": f"{layer.theirs}.{part}"
        for layer in layers
        for collection, leaf, part in parts.get(layer.kind, ())
        if f"{collection}/{layer.ours}/{leaf}" in known
    }


def _unused(layers: Iterable[Layer], state: Iterable[str]) -> set[str]:
    """Keys that may be there and say nothing."""
    norms = (layer.theirs for layer in layers if layer.kind == "norm")
    counted = {f"{norm}.{part}" for norm in norms for part in _STATISTICS}
    return counted | {key for key in state if key.endswith(".filt")}


def _filter(layer: Layer, flat: Mapping[str, Any]) -> np.ndarray:
    """CUT's constant filter: one for each channel, (channels, 1, n, n)."""
    kernel = flat[f"params/{layer.ours}/kernel"]
    channels = kernel.shape[3] if layer.kind == "down filter" else kernel.shape[2]
    taps = np.asarray(_TAPS[layer.kind], np.float32)
    return np.tile(np.outer(taps, taps)[None, None] / 16, (channels, 1, 1, 1))


def _ours(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array.transpose(2, 3, 1, 0)) if array.ndim == 4 else array


def _theirs(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array.transpose(3, 2, 0, 1)) if array.ndim == 4 else array


def _words(name: str, options: Mapping[str, Any]) -> str:
    return f"{name} ({', '.join(f'{key}={value}' for key, value in options.items())})"
