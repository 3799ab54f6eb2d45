"""The same game as Flax's own examples would write it: stock layers, a jitted step for each player.

What it leaves away is what the product adds: convolutions whose derivatives are convolutions again,
one program for both players in which the generator runs forward once, and the donated state.
Networks, losses and initial weights are the product's; only `Conv`, `ConvTranspose` and the look
generator's radial convolution are computed by `flax.linen`'s layers, with the same parameters.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, PyTree

from benchmarks.contender import ProductContender, Step
from benchmarks.games import Game
from benchmarks.prepared import PreparedTask, build
from experiments.build import build_average, build_optimizers
from retrojax.models.layers import Conv, ConvTranspose
from retrojax.models.look import RadialConv, radial_basis
from retrojax.training.state import GanState, TrainState
from retrojax.training.step import apply_gradients, average


class FlaxContender(ProductContender):
    """Two jitted steps with stock layers."""

    def _compiled(self, game: Game, *, record: bool) -> Step:
        step = two_steps(game, record=record)
        # Traced and compiled at the first call, inside `compile`'s clock.
        begin = time.perf_counter()
        jax.block_until_ready(step(self.state, self.batches[0]))
        self.compile_seconds = time.perf_counter() - begin
        return step


def two_steps(game: Game, *, record: bool) -> Step:
    """A step in two programs, each of which runs the generator."""
    task, order = PreparedTask(build(game), record), game.config.order
    optimizers, halflife = build_optimizers(game.config), build_average(game.config)

    def keys(state: GanState) -> Array:
        """Those of the product's step, so that both draw the same."""
        return jax.random.split(jax.random.fold_in(jax.random.fold_in(state.key, state.step), 0), 4)

    @jax.jit
    def discriminator_step(state: GanState, batch: PyTree) -> tuple[TrainState, PyTree]:
        _, generate_key, d_key, _ = keys(state)
        d = state.discriminator

        def loss(params: PyTree) -> Any:
            outputs, _ = task.generate(state.generator.variables, batch, generate_key)
            variables = {"params": params, **d.collections}
            return task.discriminator_loss(variables, outputs, batch, d_key)

        gradients, (collections, said) = jax.grad(loss, has_aux=True)(d.params)
        new = TrainState(d.params, d.opt_state, collections)
        return apply_gradients(new, gradients, optimizers[1]), said

    @jax.jit
    def generator_step(state: GanState, critic: PyTree, batch: PyTree) -> Any:
        _, generate_key, _, g_key = keys(state)
        g, d = state.generator, state.discriminator

        def loss(params: PyTree) -> Any:
            outputs, (collections, drawn) = task.generate(
                {"params": params, **g.collections}, batch, generate_key
            )
            variables = {"params": critic, **d.collections}
            value, (d_collections, said) = task.generator_loss(variables, outputs, batch, g_key)
            return value, (collections, d_collections, drawn | said)

        gradients, (collections, d_collections, said) = jax.grad(loss, has_aux=True)(g.params)
        new = TrainState(g.params, g.opt_state, collections)
        new = apply_gradients(new, gradients, optimizers[0])
        ema = state.ema
        if ema is not None:
            count = game.config.batch_size
            seen = (state.step + 1) * count
            ema = average(ema, new.params, images_seen=seen, batch=count, halflife=halflife)
        return GanState(
            new, TrainState(d.params, d.opt_state, d_collections), ema, state.step + 1, state.key
        ), said

    def step(state: GanState, batch: PyTree) -> tuple[GanState, dict[str, Any]]:
        old = state.discriminator.params
        with nn.intercept_methods(stock_layers):
            d, d_said = discriminator_step(state, batch)
            state = GanState(state.generator, d, state.ema, state.step, state.key)
            critic = d.params if order == "alternating" else old
            state, g_said = generator_step(state, critic, batch)
        return state, d_said | g_said

    return step


def stock_layers(
    call: Callable[..., Any], args: tuple, kwargs: dict, context: nn.module.InterceptorContext
) -> Any:
    """Computes the product's convolutions by Flax's own layers; for `nn.intercept_methods`."""
    layer = context.module
    if context.method_name != "__call__" or layer.is_initializing():
        return call(*args, **kwargs)
    if isinstance(layer, Conv | ConvTranspose):
        return _stock(layer).apply({"params": layer.variables["params"]}, *args)
    if isinstance(layer, RadialConv):
        basis = radial_basis(layer.size)
        kernel = jnp.einsum("hwk,kio->hwio", basis, layer.variables["params"]["kernel"])
        size = (layer.size, layer.size)
        conv = nn.Conv(
            layer.features, size, padding="CIRCULAR", use_bias=False, dtype=layer.dtype, parent=None
        )
        return conv.apply({"params": {"kernel": kernel}}, *args)
    return call(*args, **kwargs)


def _stock(layer: Conv | ConvTranspose) -> nn.Conv | nn.ConvTranspose:
    """Flax's layer that is equal to one of the product's."""
    k, padding = layer.kernel_size, layer.padding
    options: dict[str, Any] = {
        "features": layer.features,
        "kernel_size": (k, k),
        "strides": (layer.stride, layer.stride),
        "use_bias": layer.use_bias,
        "dtype": layer.dtype,
        "parent": None,
    }
    if isinstance(padding, str):
        explicit: Any = padding.upper()
    else:
        pads = ((padding, padding),) * 2 if isinstance(padding, int) else padding
        explicit = pads
        if isinstance(layer, ConvTranspose):
            # Flax counts the zeros around the dilated input, the product the rows cut off.
            explicit = tuple((k - 1 - lo, k - 1 - hi) for lo, hi in pads)
    if isinstance(layer, ConvTranspose):
        return nn.ConvTranspose(padding=explicit, transpose_kernel=True, **options)
    return nn.Conv(padding=explicit, **options)
