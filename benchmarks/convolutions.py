"""Convolutions by their shapes; numbers only, no library."""

from collections.abc import Mapping
from typing import Final, NamedTuple

DIRECTIONS: Final = ("forward", "input gradient", "weight gradient")


class Convolution(NamedTuple):
    """A convolution, or the transpose of one, that some network of the benchmarks has.

    Attributes:
        transposed: whether it is a transposed one.
        batch: images.
        size: height and width of what it is given.
        inputs: channels of what it is given.
        outputs: channels of what it makes.
        kernel: side of its kernel.
        stride: distance of the windows; of a transposed one, of what neighbours paint.
        pads: zeros before and after on both axes; of a transposed one, rows that are cut off.
    """

    transposed: bool
    batch: int
    size: tuple[int, int]
    inputs: int
    outputs: int
    kernel: int
    stride: int
    pads: tuple[int, int]

    @property
    def result_size(self) -> tuple[int, int]:
        """Height and width of what it makes."""
        lo, hi = self.pads
        if self.transposed:
            height, width = ((n - 1) * self.stride + self.kernel - lo - hi for n in self.size)
        else:
            height, width = ((n + lo + hi - self.kernel) // self.stride + 1 for n in self.size)
        return height, width

    @property
    def flops(self) -> float:
        """Two for each tap, those that meet zeros included; alike in all directions."""
        height, width = self.size if self.transposed else self.result_size
        taps = self.kernel**2 * self.inputs * self.outputs
        return 2.0 * self.batch * height * width * taps

    @property
    def title(self) -> str:
        """Its shape in a few words."""
        stride = f"/s{self.stride}" if self.stride > 1 else ""
        kind = "T" if self.transposed else ""
        return (
            f"{self.kernel}x{self.kernel}{kind}{stride} {self.inputs}->{self.outputs}, "
            f"{self.size[0]}x{self.size[1]}, b{self.batch}"
        )


def from_json(value: list) -> Convolution:
    """What JSON made of a `Convolution`."""
    transposed, batch, size, inputs, outputs, kernel, stride, pads = value
    return Convolution(transposed, batch, tuple(size), inputs, outputs, kernel, stride, tuple(pads))


Uses = Mapping[Convolution, Mapping[str, tuple[str, ...]]]
"""Convolution -> direction -> the models whose step has it."""
