"""The joint step: both players' updates as one function `(state, raw batch) -> (state, metrics)`.

The generator runs forward once. Its outputs, stopped, train the discriminator; the gradient of the
generator's loss with respect to those outputs is then pulled back through the recorded forward
pass. So "the discriminator's loss does not train the generator" is a matter of structure.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree

from retrojax.tasks.task import Task
from retrojax.training.state import GanState, TrainState

Order = Literal["alternating", "simultaneous"]
Metrics = dict[str, Array]
Step = Callable[[GanState, PyTree], tuple[GanState, Metrics]]


def apply_gradients(
    player: TrainState, gradients: PyTree, optimizer: optax.GradientTransformation
) -> TrainState:
    """One optimiser update of one player; collections stay as they are."""
    updates, opt_state = optimizer.update(gradients, player.opt_state, player.params)
    return TrainState(optax.apply_updates(player.params, updates), opt_state, player.collections)


def average(
    ema: PyTree, params: PyTree, *, images_seen: Array, batch: int, halflife: float
) -> PyTree:
    """Exponential moving average with a half-life in images, ramped up at the start.

    The half-life in force is `min(halflife, 0.05 * images_seen)` (Karras et al. 2020,
    arXiv:2006.06676, and their code's ramp), so that the average forgets the initial weights.

    Args:
        ema: the average before this step.
        params: the generator's new params.
        images_seen: images seen including this step's.
        batch: images of this step.
        halflife: in images, above 0.

    Returns:
        The new average: `decay * ema + (1 - decay) * params`, `decay = 0.5^(batch / half-life)`.
    """
    decay = 0.5 ** (batch / jnp.minimum(halflife, 0.05 * images_seen))
    return optax.incremental_update(params, ema, 1 - decay)


def make_step(
    task: Task,
    optimizers: tuple[optax.GradientTransformation, optax.GradientTransformation],
    *,
    order: Order = "alternating",
    ema_halflife_images: float = 0.0,
) -> Step:
    """Builds the joint step of a task.

    Args:
        task: what is learned.
        optimizers: the generator's and the discriminator's optimiser.
        order: "alternating": the generator meets the discriminator just updated, on the same
            fakes. "simultaneous": it meets the discriminator's old params (with the newest
            collections).
        ema_halflife_images: half-life of the generator's average in images; 0 = no average.

    Returns:
        A pure function `(state, raw) -> (state, metrics)`; `raw` is what `task.prepare` takes,
        with the global batch as leading axis. Metrics are float32 scalars.

    Raises:
        ValueError: for an unknown order.
    """
    if order not in ("alternating", "simultaneous"):
        raise ValueError(f"unknown order {order!r}; choose one of alternating, simultaneous")
    g_optimizer, d_optimizer = optimizers

    def step(state: GanState, raw: PyTree) -> tuple[GanState, Metrics]:
        # The second fold is the number of the micro-batch.
        key = jax.random.fold_in(jax.random.fold_in(state.key, state.step), 0)
        prepare_key, generate_key, d_key, g_key = jax.random.split(key, 4)
        batch = task.prepare(raw, prepare_key)
        g, d = state.generator, state.discriminator

        def generate(params: PyTree) -> tuple[PyTree, Any]:
            return task.generate({"params": params, **g.collections}, batch, generate_key)

        outputs, pullback, (g_collections, generate_metrics) = jax.vjp(
            generate, g.params, has_aux=True
        )
        stopped = jax.lax.stop_gradient(outputs)

        def discriminator_loss(params: PyTree) -> tuple[Array, Any]:
            variables = {"params": params, **d.collections}
            return task.discriminator_loss(variables, stopped, batch, d_key)

        d_gradients, (d_collections, d_metrics) = jax.grad(discriminator_loss, has_aux=True)(
            d.params
        )
        new_d = apply_gradients(
            TrainState(d.params, d.opt_state, d_collections), d_gradients, d_optimizer
        )

        critic = new_d.params if order == "alternating" else d.params

        def generator_loss(outputs: PyTree) -> tuple[Array, Any]:
            variables = {"params": critic, **new_d.collections}
            return task.generator_loss(variables, outputs, batch, g_key)

        cotangent, (d_collections, g_metrics) = jax.grad(generator_loss, has_aux=True)(outputs)
        (g_gradients,) = pullback(cotangent)
        new_g = apply_gradients(
            TrainState(g.params, g.opt_state, g_collections), g_gradients, g_optimizer
        )
        new_d = TrainState(new_d.params, new_d.opt_state, d_collections)

        ema = state.ema
        if ema_halflife_images > 0:
            size = jax.tree.leaves(batch)[0].shape[0]
            ema = average(
                ema,
                new_g.params,
                images_seen=(state.step + 1) * size,
                batch=size,
                halflife=ema_halflife_images,
            )
        metrics = {**generate_metrics, **d_metrics, **g_metrics}
        metrics["g/gradient_norm"] = optax.tree.norm(g_gradients)
        metrics["d/gradient_norm"] = optax.tree.norm(d_gradients)
        return GanState(new_g, new_d, ema, state.step + 1, state.key), metrics

    return step
