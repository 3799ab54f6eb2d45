"""A boundary that XLA's fusion respects, on CPU too.

XLA fuses cheap operations into everything that reads them, and computes them there again: sums of
16 arrays, for each of a map's readers. On CPU `lax.optimization_barrier` is taken out before
fusion; what holds is a call that is not inlined.
"""

from collections.abc import Callable

import jax
from jax.experimental.xla_metadata import set_xla_metadata
from jaxtyping import PyTree


def unfused(function: Callable[..., PyTree], *arrays: PyTree) -> PyTree:
    """The function's value, computed once and by itself.

    Args:
        function: of arrays, or of trees of them. Its own operations are fused with one another.
        arrays: what it is given, each computed before.
    """

    def inside(*arrays: PyTree) -> PyTree:
        with set_xla_metadata(inlineable="true"):
            return function(*arrays)

    with set_xla_metadata(inlineable="false"):
        return jax.jit(inside)(*arrays)
