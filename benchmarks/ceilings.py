"""What a machine's ceilings are measured with, alike in every system: sizes and a clock."""

import time
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

WARMUP: Final = 1
ROUNDS: Final = 5


class Plain(NamedTuple):
    """A 3x3 convolution that keeps its map's size."""

    batch: int
    side: int
    inputs: int
    outputs: int

    @property
    def flops(self) -> float:
        """Two for each tap, those that meet the border's zeros included."""
        return 2.0 * self.batch * self.side**2 * 9 * self.inputs * self.outputs


_MATMUL_SIDE: Final = {"cpu": 2048}
_CONVOLUTIONS: Final = {
    "cpu": (Plain(4, 64, 64, 64), Plain(8, 32, 128, 128), Plain(8, 16, 256, 256))
}
_LARGE: Final = (Plain(64, 64, 256, 256), Plain(64, 32, 512, 512))


def matmul_side(platform: str) -> int:
    """Side of the square matrices that are multiplied."""
    return _MATMUL_SIDE.get(platform, 8192)


def convolutions(platform: str) -> tuple[Plain, ...]:
    """Convolutions of which the fastest is the ceiling."""
    return _CONVOLUTIONS.get(platform, _LARGE)


def median_seconds(run: Callable[[], object]) -> float:
    """The median time of a few calls of something that waits for its result."""
    seconds = []
    for _ in range(WARMUP + ROUNDS):
        begin = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begin)
    return float(np.median(seconds[WARMUP:]))
