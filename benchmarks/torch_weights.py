"""From the product's variables to PyTorch's parameters, by name."""

# The extra `bench` may be absent.
# pyright: reportMissingImports=false

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.handover import Arrays, flat

_NAMES = {
    "kernel": "weight",
    "scale": "weight",
    "mean": "running_mean",
    "var": "running_var",
    # `forward` is a method of every module.
    "forward": "to_target",
    "backward": "to_source",
}

# Stride and padding of a transposed convolution of a latent vector.
ONE_PIXEL = ((1, 1), (0, 0))


def give_weights(network: nn.Module, variables: Mapping[str, Any], *, mirrored: bool) -> None:
    """Sets every parameter and running statistic of a network.

    Args:
        network: its layers have the names that the product's have.
        variables: the product's, `{collection: {layer: {parameter: array}}}`.
        mirrored: whether the network is to see mirrored images, see `DocumentGenerator`.

    Raises:
        RuntimeError: if there is no array for a parameter, none for an array, or another shape.
    """
    own = network.state_dict()
    given = {}
    for path, array in flat(variables):
        _, *layers, leaf = path.split("/")
        name = ".".join(_NAMES.get(part, part) for part in (*layers, leaf))
        if mirrored:
            array = _mirrored(name, array, own)
        if leaf == "kernel" and array.ndim in (2, 4):
            # HWIO -> OIHW; the kernel of a transposed convolution is [h, w, out, in], PyTorch's
            # (in, out, h, w). Dense: (in, out) -> (out, in).
            array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
        given[name] = torch.from_numpy(np.ascontiguousarray(array))
    counters = {name: value for name, value in own.items() if name.endswith("num_batches_tracked")}
    network.load_state_dict({**given, **counters})


def channels_last(network: nn.Module) -> None:
    """Lays kernels out as convolutions on channels_last images read them.

    One that paints single pixels is left: a map of one pixel has no order, and of such a kernel's
    gradient torch.compile (2.11, GPU) expects another than cuDNN returns.
    """
    for layer in network.modules():
        pixel = isinstance(layer, nn.ConvTranspose2d) and (layer.stride, layer.padding) == ONE_PIXEL
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and not pixel:
            layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)


def images(arrays: Arrays, device: torch.device, *, mirrored: bool) -> dict[str, Tensor]:
    """Images NHWC -> NCHW in the memory format channels_last; other arrays as they are."""
    given = {}
    for name, array in arrays.items():
        if array.ndim == 4 and mirrored:
            array = array[:, ::-1, ::-1]
        tensor = torch.from_numpy(np.ascontiguousarray(array)).to(device)
        given[name] = tensor.permute(0, 3, 1, 2) if array.ndim == 4 else tensor
    return given


def _mirrored(name: str, array: np.ndarray, own: Mapping[str, Tensor]) -> np.ndarray:
    """A kernel upside down and right to left; of a dense layer that meets a map, its pixels."""
    if array.ndim == 4:
        return array[::-1, ::-1]
    if name.startswith("dense"):
        # The generator's units are a map [base, base, 256], row by row.
        return _turned(array, axis=array.ndim - 1, channels=256)
    if name == "logits.weight":
        return _turned(array, axis=0, channels=128)
    return array


def _turned(array: np.ndarray, *, axis: int, channels: int) -> np.ndarray:
    """Reverses the order of the pixels along a flattened axis [h, w, channels]."""
    pixels = np.moveaxis(array, axis, 0).reshape(-1, channels, *np.delete(array.shape, axis))
    return np.moveaxis(pixels[::-1].reshape(-1, *pixels.shape[2:]), 0, axis)
