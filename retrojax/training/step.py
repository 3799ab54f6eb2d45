"""The joint step: both players' updates as one function `(state, raw batch) -> (state, metrics)`.

The generator runs forward once. Its outputs, stopped, train the discriminator; the gradient of the
generator's loss with respect to those outputs is then pulled back through the recorded forward
pass. So "the discriminator's loss does not train the generator" is a matter of structure.

With gradient accumulation a recorded pass would hold every micro-batch's activations until the
discriminator is updated; there the generator runs forward a second time instead.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree

from retrojax.portion import Portion, global_count, portion
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


Halflife = float | Callable[[Array], Array]
"""A half-life in images, or a function of the images seen."""


def average(
    ema: PyTree, params: PyTree, *, images_seen: Array, batch: int, halflife: Halflife
) -> PyTree:
    """Exponential moving average with a half-life in images, ramped up at the start.

    A number is ramped: the half-life in force is `min(halflife, 0.05 * images_seen)` (Karras et al.
    2020, arXiv:2006.06676, and their code's ramp), so that the average forgets the initial weights.
    A function is taken as it is; where it is 0 the average is the params.

    Args:
        ema: the average before this step.
        params: the generator's new params.
        images_seen: images seen including this step's.
        batch: images of this step.
        halflife: in images, above 0, or a function from images seen to it.

    Returns:
        The new average: `decay * ema + (1 - decay) * params`, `decay = 0.5^(batch / half-life)`.
    """
    if callable(halflife):
        images = jnp.maximum(halflife(images_seen), 1e-8)
    else:
        images = jnp.minimum(halflife, 0.05 * images_seen)
    return optax.incremental_update(params, ema, 1 - 0.5 ** (batch / images))


def rounds(discriminator_steps: int, fresh_generator_batch: bool) -> int:
    """Batches that one joint step takes."""
    return discriminator_steps + fresh_generator_batch


def _part(raw: PyTree, index: int, count: int) -> PyTree:
    """Part `index` of `count`: every count-th example, so that each device holds its share."""
    if count == 1:
        return raw
    return jax.tree.map(lambda x: x.reshape(-1, count, *x.shape[1:])[:, index], raw)


def _on_axis(task: Task, state: GanState, axis_name: str) -> Task:
    """The task with modules that take their batch's statistics over all replicas.

    Raises:
        ValueError: for a network with running statistics that knows no `axis_name`: each replica
            would go by its own few examples.
    """
    assert is_dataclass(task) and not isinstance(task, type)
    changes = {
        field.name: getattr(task, field.name).clone(axis_name=axis_name)
        for field in fields(task)
        if hasattr(getattr(task, field.name), "axis_name")
    }
    for name, player in (("generator", state.generator), ("discriminator", state.discriminator)):
        if "batch_stats" in player.collections and name not in changes:
            raise ValueError(
                f"the {name} {type(getattr(task, name)).__name__} has batch statistics, but no "
                "field axis_name to take them over all devices; choose --parallel=jit"
            )
    return replace(task, **changes)


@dataclass(frozen=True)
class _Played:
    """The generator's forward pass on one micro-batch.

    Attributes:
        micro: its number.
        batch: prepared.
        outputs: of the generator.
        before: the generator's collections before the pass.
        pullback: from cotangents of the outputs to gradients; None if the pass was not recorded.
    """

    micro: int
    batch: PyTree
    outputs: PyTree
    before: PyTree
    pullback: Any


def make_step(
    task: Task,
    optimizers: tuple[optax.GradientTransformation, optax.GradientTransformation],
    *,
    order: Order = "alternating",
    ema_halflife_images: Halflife = 0.0,
    discriminator_steps: int = 1,
    fresh_generator_batch: bool = False,
    accumulate: int = 1,
    axis_name: str | None = None,
) -> Step:
    """Builds the joint step of a task.

    Args:
        task: what is learned.
        optimizers: the generator's and the discriminator's optimiser.
        order: "alternating": the generator meets the discriminator just updated, on the same
            fakes. "simultaneous": it meets the discriminator's old params (with the newest
            collections).
        ema_halflife_images: half-life of the generator's average in images, see `average`; 0 = no
            average.
        discriminator_steps: updates of the discriminator before the generator's, each on a batch
            and fakes of its own (WGAN-GP: 5).
        fresh_generator_batch: whether the generator's update has a batch and fakes of its own
            (R3GAN), or those of the discriminator's last update.
        accumulate: micro-batches over which each update's gradients are averaged; micro-batch i is
            every accumulate-th example from i on. The result is that of the whole batch, in less
            memory and with one more forward pass of the generator, unless examples meet inside the
            networks or the task: BatchNorm takes the statistics of a micro-batch and averages them
            `accumulate` times as often, the image pool is asked in the order of the micro-batches,
            and "negatives from the whole batch" are those of the micro-batch.
        axis_name: mapped axis whose replicas share the batch (`pmap`); None: the global view.

    Returns:
        A pure function `(state, raw) -> (state, metrics)`; `raw` is what `task.prepare` takes,
        with `rounds(...)` global batches as leading axis: batch i is every rounds-th example from
        i on. Metrics are float32 scalars, of the last update of each player.

    Raises:
        ValueError: for an unknown order, or no discriminator step or micro-batch; when traced with
            an axis, for a network whose batch statistics know no axis.
    """
    if order not in ("alternating", "simultaneous"):
        raise ValueError(f"unknown order {order!r}; choose one of alternating, simultaneous")
    for name, least in (("discriminator_steps", discriminator_steps), ("accumulate", accumulate)):
        if least < 1:
            raise ValueError(f"{name} must be at least 1, not {least}")
    g_optimizer, d_optimizer = optimizers
    count = rounds(discriminator_steps, fresh_generator_batch)
    portions = [Portion(axis_name, micro, accumulate) for micro in range(accumulate)]

    def over_replicas(tree: PyTree) -> PyTree:
        """The one mean of gradients and metrics."""
        return tree if axis_name is None else jax.lax.pmean(tree, axis_name)

    def step(state: GanState, raw: PyTree) -> tuple[GanState, Metrics]:
        game = task if axis_name is None else _on_axis(task, state, axis_name)
        key = jax.random.fold_in(state.key, state.step)
        metrics: Metrics = {}

        def play(index: int, g: TrainState) -> tuple[list[_Played], Array, TrainState]:
            """Round `index`: its micro-batches' forward passes, its keys, G's state."""
            keys = jax.random.split(jax.random.fold_in(key, index), 4)
            played, said = [], _Sum()
            for micro, held in enumerate(portions):
                with portion(held):
                    part = _part(_part(raw, index, count), micro, accumulate)
                    batch = game.prepare(part, keys[0], state.step)

                    def generate(params: PyTree, batch: PyTree = batch, g: TrainState = g) -> Any:
                        return game.generate({"params": params, **g.collections}, batch, keys[1])

                    if accumulate == 1:
                        outputs, pullback, aux = jax.vjp(generate, g.params, has_aux=True)
                    else:
                        (outputs, aux), pullback = generate(g.params), None
                played.append(_Played(micro, batch, outputs, g.collections, pullback))
                g = g.with_collections(aux[0])
                said.add(aux[1])
            metrics.update(said.mean())
            return played, keys, g

        def again(played: _Played, keys: Array, params: PyTree) -> tuple[PyTree, Any]:
            """The recorded forward pass of a micro-batch, made now if it was not before."""
            if played.pullback is not None:
                return played.outputs, played.pullback

            def generate(params: PyTree) -> PyTree:
                variables = {"params": params, **played.before}
                return game.generate(variables, played.batch, keys[1])[0]

            return jax.vjp(generate, params)

        def learn(d: TrainState, played: list[_Played], d_key: Array) -> tuple[TrainState, PyTree]:
            """The discriminator's update, and its gradients."""
            total, said = _Sum(), _Sum()
            for one in played:
                outputs = total.after(jax.lax.stop_gradient(one.outputs))

                def loss(
                    params: PyTree, d: TrainState = d, one: _Played = one, outputs: PyTree = outputs
                ) -> tuple[Array, Any]:
                    variables = {"params": params, **d.collections}
                    return game.discriminator_loss(variables, outputs, one.batch, d_key)

                with portion(portions[one.micro]):
                    gradients, aux = jax.grad(loss, has_aux=True)(d.params)
                d = d.with_collections(aux[0])
                total.add(gradients)
                said.add(aux[1])
            metrics.update(said.mean())
            gradients = over_replicas(total.mean())
            return apply_gradients(d, gradients, d_optimizer), gradients

        g, d = state.generator, state.discriminator
        for index in range(discriminator_steps):
            played, keys, g = play(index, g)
            d, d_gradients = learn(d, played, keys[2])
        if fresh_generator_batch:
            played, keys, g = play(discriminator_steps, g)

        critic = d.params if order == "alternating" else state.discriminator.params
        params = g.params
        if accumulate > 1:
            # Keeps the compiler from merging the second forward pass with the first, and so from
            # holding its activations while the discriminator learns.
            params, d_gradients = jax.lax.optimization_barrier((params, d_gradients))
        total, said = _Sum(), _Sum()
        for one in played:
            with portion(portions[one.micro]):
                outputs, pullback = again(one, keys, total.after(params))

                def loss(
                    outputs: PyTree, d: TrainState = d, one: _Played = one
                ) -> tuple[Array, Any]:
                    variables = {"params": critic, **d.collections}
                    return game.generator_loss(variables, outputs, one.batch, keys[3])

                cotangent, aux = jax.grad(loss, has_aux=True)(outputs)
            d = d.with_collections(aux[0])
            total.add(pullback(cotangent)[0])
            said.add(aux[1])
        metrics.update(said.mean())
        g_gradients, metrics = over_replicas((total.mean(), metrics))
        g = apply_gradients(g, g_gradients, g_optimizer)

        ema = state.ema
        if ema is not None:
            with portion(Portion(axis_name)):
                size = global_count(jax.tree.leaves(raw)[0].shape[0] // count)
            ema = average(
                ema,
                g.params,
                images_seen=(state.step + 1) * size,
                batch=size,
                halflife=ema_halflife_images,
            )
        metrics["g/gradient_norm"] = optax.tree.norm(g_gradients)
        metrics["d/gradient_norm"] = optax.tree.norm(d_gradients)
        return GanState(g, d, ema, state.step + 1, state.key), metrics

    return step


class _Sum:
    """A sum over micro-batches while a step is traced."""

    def __init__(self) -> None:
        self._total: PyTree = None
        self._count = 0

    def add(self, tree: PyTree) -> None:
        """Adds one micro-batch's share."""
        self._total = tree if not self._count else jax.tree.map(jnp.add, self._total, tree)
        self._count += 1

    def after(self, tree: PyTree) -> PyTree:
        """The same values, to be had only when what was added so far is there.

        So micro-batches are worked on one after the other, each in the memory of the one before.
        """
        if not self._count:
            return tree
        tree, self._total = jax.lax.optimization_barrier((tree, self._total))
        return tree

    def mean(self) -> PyTree:
        """The mean over what was added."""
        if self._count == 1:
            return self._total
        return jax.tree.map(lambda x: x / self._count, self._total)
