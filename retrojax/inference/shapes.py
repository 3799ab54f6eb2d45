"""The variables a module asks for, by name and shape; traced, never run."""

import math
from collections.abc import Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict

from retrojax.inference.geometry import geometry
from retrojax.models import DISCRIMINATORS, LATENT_GENERATORS


def variable_shapes(
    module: nn.Module, *, channels: int | None = None
) -> dict[str, jax.ShapeDtypeStruct]:
    """Names ("params/stem/kernel"), shapes and types of a module's variables.

    Args:
        module: a generator or a discriminator of `retrojax.models`.
        channels: of a discriminator's input, which no field of it says; None = 3. A generator
            takes 3 and its noise.

    Raises:
        ValueError, TypeError: the module cannot be built from its fields.
    """
    wanted = jax.eval_shape(module.init, jax.random.key(0), *_example(module, channels or 3))
    return cast("dict[str, Any]", flatten_dict(dict(wanted), sep="/"))


def input_channels(module: nn.Module, flat: Mapping[str, np.ndarray]) -> int | None:
    """Channels that a discriminator takes, alone or with a condition: its weights alone say.

    Args:
        module: the discriminator; None is the answer for other modules.
        flat: its variables by name.
    """
    first = flat.get("params/conv_0/kernel")
    if first is None or first.ndim != 4 or not isinstance(module, tuple(DISCRIMINATORS.values())):
        return None
    # With `detail`, half of what the kernel sees is made from the input.
    return first.shape[2] // (2 if getattr(module, "detail", 0.0) else 1)


def _example(module: nn.Module, channels: int) -> tuple[jax.ShapeDtypeStruct | None, ...]:
    """Shapes of an input that the module takes."""
    if isinstance(module, tuple(LATENT_GENERATORS.values())):
        return (jax.ShapeDtypeStruct((1, module.latent_size), jnp.float32),)
    if isinstance(module, tuple(DISCRIMINATORS.values())):
        side = max(64, getattr(module, "minimum_size", 1))
        return (jax.ShapeDtypeStruct((1, side, side, channels), jnp.float32),)
    multiple, _, size = geometry(module)
    side = size or math.lcm(multiple, 64)
    source = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    noisy = module.noise_channels  # pyright: ignore[reportAttributeAccessIssue]
    noise = jax.ShapeDtypeStruct((1, side, side, noisy), jnp.float32) if noisy else None
    return source, noise
