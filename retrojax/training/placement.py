"""Placement: where state and batches live, and the compilation of the step for those devices.

The step itself knows no devices. Here it is compiled in the global view: the batch is split over
a one-dimensional mesh, the state is the same on every device, and the compiler adds whatever
communication the mathematics needs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from retrojax.training.step import Step


@dataclass(frozen=True)
class Placement:
    """A mesh over devices and the two ways of lying on it."""

    mesh: Mesh

    @property
    def replicated(self) -> NamedSharding:
        """The whole value on every device."""
        return NamedSharding(self.mesh, PartitionSpec())

    @property
    def split(self) -> NamedSharding:
        """The leading (batch) axis divided among the devices."""
        return NamedSharding(self.mesh, PartitionSpec("data"))

    def put_state(self, state: PyTree) -> PyTree:
        """Copies a state to every device."""
        return jax.device_put(state, self.replicated)

    def put_batch(self, batch: PyTree) -> PyTree:
        """Divides a host batch among the devices."""
        return jax.device_put(batch, self.split)

    def compile(self, step: Step, state: PyTree, batch: PyTree) -> "jax.stages.Compiled":
        """Compiles the step for this mesh ahead of its first call; the state is donated.

        Args:
            step: a pure `(state, raw) -> (state, metrics)`.
            state: a state, or its shapes.
            batch: a raw batch, or its shapes.

        Returns:
            The compiled step; `lower` and `compile` are what takes the time, no data is touched.
        """
        jitted = jax.jit(
            step,
            donate_argnums=0,
            in_shardings=(self.replicated, self.split),
            out_shardings=(self.replicated, self.replicated),
        )
        return jitted.lower(state, batch).compile()


def make_placement(
    batch_size: int,
    devices: Sequence[jax.Device] | None = None,  # pyright: ignore[reportInvalidTypeForm]
) -> Placement:
    """A one-dimensional data-parallel mesh.

    Args:
        batch_size: the global batch, which the devices must divide.
        devices: the devices to use; None = all local ones.

    Raises:
        ValueError: if the number of devices does not divide the batch.
    """
    devices = jax.local_devices() if devices is None else devices
    if batch_size % len(devices):
        raise ValueError(
            f"a batch of {batch_size} cannot be divided among {len(devices)} devices; "
            f"choose a --batch-size that is a multiple of {len(devices)}"
        )
    # Auto axes: Explicit ones, jax's default, refuse dropout, scatter and many reshapes.
    mesh = jax.make_mesh(
        (len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=list(devices)
    )
    return Placement(mesh)
