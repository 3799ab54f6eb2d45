"""One convolution at a time by PyTorch, as a contender in a process of its own."""

# The extra `bench` may be absent.
# pyright: reportMissingImports=false

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.convolutions import Convolution, from_json
from benchmarks.torch_speed import allow_what_jax_does


class TorchOperations:
    """Times what it is told to."""

    def __init__(self) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        allow_what_jax_does()

    def prepare(self, convolution: list, direction: str, dtype: str) -> float:
        """Runs an operation on random arrays; returns the seconds of one call, when warm."""
        shape = from_json(convolution)
        sizes = tensor_shapes(shape)
        self.arrays = tuple(
            torch.randn(size).to(
                self.device, getattr(torch, dtype), memory_format=torch.channels_last
            )
            for size in sizes
        )
        self.run = operation(shape, direction)
        self.time(2)
        return self.time(1)

    @torch.no_grad()
    def time(self, calls: int) -> float:
        """Mean seconds of a call; each is waited for."""
        begin = time.perf_counter()
        for _ in range(calls):
            self.run(*self.arrays)
            if self.device.type == "cuda":
                torch.cuda.synchronize()
        return (time.perf_counter() - begin) / calls


def tensor_shapes(shape: Convolution) -> tuple[tuple[int, ...], ...]:
    """Shapes of the input [b, i, h, w], the kernel and the result's gradient."""
    k, inputs, outputs = shape.kernel, shape.inputs, shape.outputs
    ends = (inputs, outputs) if shape.transposed else (outputs, inputs)
    return (
        (shape.batch, inputs, *shape.size),
        (*ends, k, k),
        (shape.batch, outputs, *shape.result_size),
    )


def operation(shape: Convolution, direction: str) -> Callable[[Tensor, Tensor, Tensor], Any]:
    """A function of the input, the kernel and the result's gradient.

    Where pads differ, it sees mirrored images: PyTorch can only have the larger pad first.

    Raises:
        ValueError: for a padding that PyTorch's convolutions do not have.
    """
    larger, smaller = max(shape.pads), min(shape.pads)
    extra = larger - smaller if shape.transposed else 0
    if not shape.transposed and any(
        (n + 2 * larger - shape.kernel) // shape.stride + 1 != m
        for n, m in zip(shape.size, shape.result_size, strict=True)
    ):
        raise ValueError(f"PyTorch has no convolution with pads {shape.pads}: {shape.title}")
    stride, pads, extras = (shape.stride,) * 2, (larger,) * 2, (extra,) * 2
    if direction == "forward" and shape.transposed:
        return lambda x, w, g: F.conv_transpose2d(x, w, None, stride, pads, extras)
    if direction == "forward":
        return lambda x, w, g: F.conv2d(x, w, None, stride, pads)
    wanted = [direction == "input gradient", direction == "weight gradient", False]
    place = wanted.index(True)
    backward = torch.ops.aten.convolution_backward
    return lambda x, w, g: backward(
        g, x, w, None, stride, pads, (1, 1), shape.transposed, extras, 1, wanted
    )[place]
