"""Placement: where state and batches live, and the compilation of the step for those devices.

The step itself knows no devices. Under "jit" it is compiled in the global view: the batch is split
over a one-dimensional mesh, the state is the same on every device, and the compiler adds whatever
communication the mathematics needs. Under "pmap" each device runs the step on its share of the
batch, and the step says what is communicated: one mean of gradients and metrics, the statistics of
BatchNorm, the gather of the image pool (and of negatives from the whole batch).

In both the state lies on the mesh as one replicated copy, so that a checkpoint of one is a
checkpoint of the other. `jax.pmap` is in maintenance mode upstream (since JAX 0.10 it is
`jit(shard_map)`); it is offered because people ask for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from retrojax.training.step import Step

Parallel = Literal["jit", "pmap"]
AXIS = "data"


@dataclass(frozen=True)
class Placement:
    """A mesh over devices, of all processes, and the two ways of lying on it.

    Attributes:
        mesh: one-dimensional; the devices of a process lie side by side.
        parallel: "jit": the step sees the global batch; "pmap": each device its share.
    """

    mesh: Mesh
    parallel: Parallel = "jit"

    @property
    def axis_name(self) -> str | None:
        """What `make_step` is to be told: the axis of the replicas, None in the global view."""
        return AXIS if self.parallel == "pmap" else None

    @property
    def replicated(self) -> NamedSharding:
        """The whole value on every device."""
        return NamedSharding(self.mesh, PartitionSpec())

    @property
    def split(self) -> NamedSharding:
        """The leading axis divided among the devices."""
        return NamedSharding(self.mesh, PartitionSpec(AXIS))

    @property
    def _stacked(self) -> bool:
        """Whether a batch has a leading axis of the devices, as `jax.pmap` wants it."""
        return self.parallel == "pmap" and jax.process_count() == 1

    def put_state(self, state: PyTree) -> PyTree:
        """Copies a state, the same in every process, to every device."""
        if jax.process_count() == 1:
            return jax.device_put(state, self.replicated)
        local = list(self.mesh.local_mesh.devices.flat)

        def put(x: PyTree) -> jax.Array:
            copies = [jax.device_put(x, device) for device in local]
            return jax.make_array_from_single_device_arrays(x.shape, self.replicated, copies)

        return jax.tree.map(put, state)

    def put_batch(self, batch: PyTree) -> PyTree:
        """Divides a host batch among the devices.

        Args:
            batch: this process's share of the global batch, contiguous; the whole of it where there
                is one process.
        """
        if self._stacked:
            batch = jax.tree.map(lambda x: x.reshape(self.mesh.size, -1, *x.shape[1:]), batch)
        if jax.process_count() == 1:
            return jax.device_put(batch, self.split)

        def put(x: PyTree) -> jax.Array:
            return jax.make_array_from_process_local_data(self.split, np.asarray(x))

        return jax.tree.map(put, batch)

    def compile(self, step: Step, state: PyTree, batch: PyTree) -> "jax.stages.Compiled":
        """Compiles the step for this mesh ahead of its first call, see `lower`."""
        return self.lower(step, state, batch).compile()

    def lower(self, step: Step, state: PyTree, batch: PyTree) -> "jax.stages.Lowered":
        """Traces and lowers the step for this mesh; the state will be donated.

        Args:
            step: a pure `(state, raw) -> (state, metrics)`, built with this `axis_name`.
            state: a state, or its shapes.
            batch: a raw global batch as the host has it, or its shapes.

        Returns:
            The step, to be compiled, then called with what `put_state` and `put_batch` give. No
            data is touched.
        """
        batch = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), batch)
        if self._stacked:
            replicas = jax.pmap(
                step,
                axis_name=AXIS,
                in_axes=(None, 0),
                out_axes=(None, None),
                donate_argnums=0,
                devices=list(self.mesh.devices.flat),
            )

            def stacked(x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
                share = x.shape[0] // self.mesh.size
                return jax.ShapeDtypeStruct((self.mesh.size, share, *x.shape[1:]), x.dtype)

            return replicas.lower(state, jax.tree.map(stacked, batch))
        if self.parallel == "pmap":
            # What pmap is made of. With several processes pmap itself would turn every array from
            # a process's own into a global one, which a replicated state already is.
            step = jax.shard_map(
                step,
                mesh=self.mesh,
                in_specs=(PartitionSpec(), PartitionSpec(AXIS)),
                out_specs=PartitionSpec(),
                check_vma=False,
            )
        jitted = jax.jit(
            step,
            donate_argnums=0,
            in_shardings=(self.replicated, self.split),
            out_shardings=(self.replicated, self.replicated),
        )
        return jitted.lower(state, batch)

    def one_copy(self, tree: PyTree) -> PyTree:
        """A replicated tree as the first device of this process has it; nothing is moved.

        What is computed from it involves this process alone.
        """
        return jax.tree.map(lambda x: x.addressable_data(0), tree)


def make_placement(
    batch_size: int,
    devices: Sequence[jax.Device] | None = None,  # pyright: ignore[reportInvalidTypeForm]
    *,
    parallel: Parallel = "jit",
    accumulate: int = 1,
) -> Placement:
    """A one-dimensional data-parallel mesh.

    Args:
        batch_size: the global batch, which the devices must divide, and each device's share the
            micro-batches.
        devices: the devices to use; None = all there are, of all processes.
        parallel: see `Placement`.
        accumulate: micro-batches of an update, see `make_step`.

    Raises:
        ValueError: if the devices and micro-batches do not divide the batch.
    """
    devices = jax.devices() if devices is None else devices
    if batch_size % (len(devices) * accumulate):
        if batch_size % len(devices):
            shares, among = len(devices), f"{len(devices)} devices"
        else:
            shares = len(devices) * accumulate
            among = f"{len(devices)} devices x {accumulate} micro-batches (--accumulate)"
        raise ValueError(
            f"a batch of {batch_size} cannot be divided among {among}; "
            f"choose a --batch-size that is a multiple of {shares}"
        )
    ordered = sorted(devices, key=lambda device: (device.process_index, device.id))
    # Auto axes: Explicit ones, jax's default, refuse dropout, scatter and many reshapes.
    mesh = Mesh(np.array(ordered), (AXIS,), axis_types=(AxisType.Auto,))
    return Placement(mesh, parallel)
