"""The protocol between a task and the joint step.

A task is a frozen dataclass whose methods are pure functions over the players' Linen variables
(`{"params": ..., **collections}`). The step knows nothing else about networks, data or losses.
"""

from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Key, PyTree

from retrojax.keys import normal_each
from retrojax.models.initializers import reinitialise
from retrojax.models.look import LookOutput

Variables = dict[str, Any]
Aux = tuple[dict[str, PyTree], dict[str, Array]]
"""The new collections of the player passed in, and metrics (float32 scalars)."""


@runtime_checkable
class Task(Protocol):
    """What the joint step needs from a task; `raw` is a host batch, uint8, global batch first."""

    def init(self, key: Key[Array, ""], batch: PyTree) -> tuple[Variables, Variables]:
        """Fresh variables of the generator and the discriminator for a prepared batch."""
        ...

    def prepare(self, raw: PyTree, key: Key[Array, ""], step: Array | int = 0) -> PyTree:
        """Host batch -> float batch, on the device: crop, flip, normalise, render the look.

        `step` is the number of completed updates: what is scheduled goes into the batch.
        """
        ...

    def generate(self, generator: Variables, batch: PyTree, key: Key[Array, ""]) -> Any:
        """Everything that needs the generator's params, once: `(outputs, Aux)`, float32 leaves."""
        ...

    def discriminator_loss(
        self, discriminator: Variables, outputs: PyTree, batch: PyTree, key: Key[Array, ""]
    ) -> tuple[Array, Aux]:
        """The discriminator's scalar loss on stopped outputs; Aux carries its collections."""
        ...

    def generator_loss(
        self, discriminator: Variables, outputs: PyTree, batch: PyTree, key: Key[Array, ""]
    ) -> tuple[Array, Aux]:
        """The generator's scalar loss as a function of its outputs; Aux carries D's collections."""
        ...

    def sample(
        self, generator: Variables, batch: PyTree, key: Key[Array, ""]
    ) -> dict[str, Float[Array, "b h w c"]]:
        """Images in evaluation mode, by name, in [-1, 1]."""
        ...


def apply_training(
    module: nn.Module,
    variables: Variables,
    *args: Any,
    key: Key[Array, ""],
    remat: bool = False,
    **options: Any,
) -> tuple[Any, dict[str, PyTree]]:
    """Applies a module in training mode.

    Args:
        module: a Linen module whose call takes `train`.
        variables: its variables.
        *args: the call's positional arguments.
        key: key of its dropout masks.
        remat: whether its activations are computed again when a gradient needs them: stage by
            stage where the module has a field `remat` (see `models.stages`), else all at once.
        **options: further keywords of the call.

    Returns:
        The module's output and its new collections (all but params).
    """
    names = [name for name in variables if name != "params"]
    staged = remat and hasattr(module, "remat")
    network = module.clone(remat=True) if staged else module

    def run(variables: Variables, key: Array, *args: Any) -> tuple[Any, Any]:
        rngs = {"dropout": key}
        return network.apply(variables, *args, train=True, mutable=names, rngs=rngs, **options)

    run = jax.checkpoint(run) if remat and not staged else run
    output, changed = run(variables, key, *args)
    return output, {**{name: variables[name] for name in names}, **changed}


def reinitialised(key: Key[Array, ""], variables: Variables, scheme: str) -> Variables:
    """The same variables, params drawn anew by a scheme of `models.initializers`; "" = kept."""
    if not scheme:
        return variables
    return {**variables, "params": reinitialise(key, variables["params"], scheme)}


def picture(output: Any) -> Float[Array, "b h w c"]:
    """The image of a translation generator's output, float32; a `LookOutput` holds two."""
    image = output.image if isinstance(output, LookOutput) else output
    return image.astype(jnp.float32)


def noise_for(
    generator: nn.Module, key: Key[Array, ""], source: Float[Array, "b h w c"]
) -> Float[Array, "b h w n"] | None:
    """The noise input of a translation generator, drawn per example; None if it takes none."""
    channels = generator.noise_channels  # pyright: ignore[reportAttributeAccessIssue]
    return normal_each(key, (*source.shape[:3], channels)) if channels else None


def global_mean(per_image: Float[Array, "b"]) -> Array:
    """Mean over the batch.

    With a sharded batch the compiler makes it the global mean; replicas and micro-batches, of equal
    size, take their own, and the step averages them with the gradients.
    """
    return per_image.mean()
