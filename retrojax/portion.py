"""Which examples of the global batch a function is given.

Tasks are written as if they saw the global batch. Under `jit` they do. A replica of `pmap`, or one
micro-batch of several, holds only some examples; then the joint step says which, around what it
traces, and the few things that depend on a whole batch ask here: the keys of examples
(`retrojax.keys`), counts of images, the image pool, negatives from the whole batch. Nothing else
in a task knows of devices.

What is said holds while the function is traced, for the thread that traces it. A function that asks
must not be jitted by itself inside a step: JAX would take the trace of one portion for another's.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree


@dataclass(frozen=True)
class Portion:
    """One replica's, or one micro-batch's, share of each global batch.

    Attributes:
        axis_name: mapped axis of the replicas (`pmap`), each with as many examples; None = none.
        micro: number of this micro-batch: of a replica's contiguous examples it holds those from
            `micro` on in steps of `micros`.
        micros: how many micro-batches there are.
        beside: how many examples stand at each place of the batch, see `side_by_side`.
    """

    axis_name: str | None = None
    micro: int = 0
    micros: int = 1
    beside: int = 1

    @property
    def replicas(self) -> int:
        """Size of the mapped axis; 1 without one."""
        return 1 if self.axis_name is None else jax.lax.axis_size(self.axis_name)

    @property
    def replica(self) -> Array | int:
        """This replica's place on the axis."""
        return 0 if self.axis_name is None else jax.lax.axis_index(self.axis_name)


_WHOLE = Portion()
_PORTION: ContextVar[Portion] = ContextVar("portion", default=_WHOLE)


@contextmanager
def portion(held: Portion) -> Iterator[None]:
    """While active, functions that are traced are given this portion of the batch."""
    token = _PORTION.set(held)
    try:
        yield
    finally:
        _PORTION.reset(token)


def indices(count: int) -> Int[Array, "count"]:
    """Places in the global batch of the `count` examples at hand."""
    held = _PORTION.get()
    rows, each = jnp.arange(count), held.beside
    first = held.replica * (count // each * held.micros) + held.micro
    return (first + held.micros * (rows // each)) * each + rows % each


def side_by_side(
    function: Callable[[Array], Array], *batches: Float[Array, "b *rest"]
) -> tuple[Float[Array, "b *made"], ...]:
    """A function that treats each example by itself, on several batches at once.

    Args:
        function: of the examples of all batches. Example i of each lies beside example i of the
            others, so that devices with a share of each batch exchange nothing, and its keys are
            the same in the whole batch and in a portion of it.
        *batches: of equal shapes.

    Returns:
        What it made of each batch.
    """
    sets = len(batches)
    examples = jnp.stack(batches, axis=1)
    with portion(replace(_PORTION.get(), beside=sets)):
        made = function(examples.reshape(-1, *examples.shape[2:]))
    made = made.reshape(-1, sets, *made.shape[1:])
    return tuple(made[:, number] for number in range(sets))


def global_count(count: int) -> int:
    """Examples of the global batch, of which `count` are at hand."""
    held = _PORTION.get()
    return count * held.micros * held.replicas


def gathered(tree: PyTree) -> PyTree:
    """The examples of all replicas, in the order of the global batch; leading axes grow."""
    axis_name = _PORTION.get().axis_name
    if axis_name is None:
        return tree
    return jax.tree.map(lambda x: jax.lax.all_gather(x, axis_name, tiled=True), tree)


def own(tree: PyTree) -> PyTree:
    """This replica's share of what was gathered."""
    held = _PORTION.get()
    if held.axis_name is None:
        return tree

    def share(x: Array) -> Array:
        count = x.shape[0] // held.replicas
        return jax.lax.dynamic_slice_in_dim(x, held.replica * count, count)

    return jax.tree.map(share, tree)
