"""Parts of a network whose activations need not be kept.

A gradient needs the activations of the forward pass, which for large images take most of a device's
memory. A stage that is rematerialised keeps what it was given, and is run again when its gradient
is due: about one more forward pass, in the memory of one stage at a time.
"""

from collections.abc import Callable
from typing import Any

import jax
from flax import linen as nn


def run_stage(network: nn.Module, stage: Callable[..., Any], *inputs: Any) -> Any:
    """Runs a part of a network's call, rematerialised if the network says so.

    Args:
        network: the module whose call this is, with a field `remat`.
        stage: a function of arrays; the modules it applies are made inside it, by name. Randomness
            is the same both times.
        *inputs: arrays.
    """
    if not network.remat:  # pyright: ignore[reportAttributeAccessIssue]
        return stage(*inputs)
    return nn.remat(lambda _, *inputs: stage(*inputs))(network, *inputs)


def remat_saves_memory() -> bool:
    """Whether the compiler runs a stage again instead of keeping what the first time gave.

    XLA for CPU in jaxlib 0.10 takes both for one computation and merges them (0.12 does not).
    """
    return jax.default_backend() != "cpu" or jax.__version_info__ >= (0, 12)
