"""The state of a game: one `TrainState` per player, data only.

No optimiser and no apply function lies in these trees: two equal states have equal tree
structures, so that stepping one with another's compiled step never retraces, and what is saved is
exactly what is stepped.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Key, PyTree

Variables = dict[str, Any]
"""Linen variables: `{"params": ..., **collections}`."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """One player.

    Attributes:
        params: what its optimiser changes, float32.
        opt_state: the optimiser's state for `params`.
        collections: every other Linen collection (BatchNorm statistics, image pool ...).
    """

    params: PyTree
    opt_state: PyTree
    collections: PyTree

    @property
    def variables(self) -> Variables:
        """The player's Linen variables."""
        return {"params": self.params, **self.collections}

    def with_collections(self, collections: PyTree) -> "TrainState":
        """The same player with other collections."""
        return TrainState(self.params, self.opt_state, collections)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GanState:
    """The pair of players and what the game needs besides.

    Attributes:
        generator: the generator's state.
        discriminator: the discriminator's state.
        ema: averaged generator params, or None when averaging is off.
        step: number of completed updates, int32 [].
        key: root key of all randomness; never changes, each step folds its number in.
    """

    generator: TrainState
    discriminator: TrainState
    ema: PyTree
    # JAX builds trees of shapes and shardings too, so these are not annotated as arrays.
    step: PyTree
    key: PyTree

    @property
    def sampling_variables(self) -> Variables:
        """The generator to use: averaged params if there are any, with the live collections."""
        params = self.generator.params if self.ema is None else self.ema
        return {"params": params, **self.generator.collections}


def init_player(variables: Variables, optimizer: optax.GradientTransformation) -> TrainState:
    """Splits fresh variables into params and collections and starts the optimiser."""
    collections = {name: value for name, value in variables.items() if name != "params"}
    return TrainState(variables["params"], optimizer.init(variables["params"]), collections)


def init_state(
    key: Key[Array, ""],
    generator: Variables,
    discriminator: Variables,
    optimizers: "tuple[optax.GradientTransformation, optax.GradientTransformation]",
    *,
    ema: bool,
) -> GanState:
    """Builds the state before the first step.

    Args:
        key: root key of the run.
        generator: the generator's fresh variables.
        discriminator: the discriminator's.
        optimizers: the generator's and the discriminator's optimiser.
        ema: whether an average of the generator is kept. It starts as a copy: an alias of the
            params could not be donated.

    Returns:
        A `GanState` at step 0.
    """
    return GanState(
        generator=init_player(generator, optimizers[0]),
        discriminator=init_player(discriminator, optimizers[1]),
        ema=jax.tree.map(jnp.copy, generator["params"]) if ema else None,
        step=jnp.zeros((), jnp.int32),
        key=key,
    )
