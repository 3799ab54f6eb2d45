"""Which convolutions the games' networks have, by running their initialisation on shapes alone."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
from flax import linen as nn

from benchmarks.convolutions import DIRECTIONS, Convolution, Uses
from benchmarks.games import Game
from benchmarks.prepared import build, random_batches
from retrojax.models.conv import same_pads
from retrojax.models.layers import Conv, ConvTranspose

CONVOLUTIONS = (Conv, ConvTranspose)

# Models whose generator starts with a convolution and is not differentiated by its input.
ENTERED = ("dcgan64", "pix2pix")


def record(games: Iterable[Game]) -> Uses:
    """The distinct convolutions of games, and which models' steps have them in which direction.

    The gradient with respect to a generator's input is left out where a convolution is first to
    meet it: no step has it, but for CycleGAN's, which goes through both generators.
    """
    uses: dict[Convolution, dict[str, tuple[str, ...]]] = {}
    for game in games:
        for network, convolutions in networks(game).items():
            for place, convolution in enumerate(convolutions):
                entry = place == 0 and network == "generator" and game.model in ENTERED
                for direction in DIRECTIONS:
                    if not (entry and direction == "input gradient"):
                        models = uses.setdefault(convolution, {}).get(direction, ())
                        uses[convolution][direction] = tuple(dict.fromkeys([*models, game.model]))
    return uses


def networks(game: Game) -> dict[str, list[Convolution]]:
    """Every call of a convolution, in order, of a game's "generator" and "discriminator"."""
    task = build(game)
    found: dict[str, list[Convolution]] = {"generator": [], "discriminator": []}

    def note(
        call: Callable[..., Any], args: tuple, kwargs: dict, context: nn.module.InterceptorContext
    ) -> Any:
        layer = network = context.module
        if context.method_name == "__call__" and isinstance(layer, CONVOLUTIONS):
            while isinstance(network.parent, nn.Module):
                network = network.parent
            mine = type(network) is type(task.generator)
            found["generator" if mine else "discriminator"].append(_shape(layer, args[0].shape))
        return call(*args, **kwargs)

    (batch,) = random_batches(game, count=1)
    with nn.intercept_methods(note):
        jax.eval_shape(task.init, jax.random.key(0), batch)
    return found


def _shape(layer: Conv | ConvTranspose, given: tuple[int, ...]) -> Convolution:
    batch, height, width, inputs = given
    k, stride, transposed = layer.kernel_size, layer.stride, isinstance(layer, ConvTranspose)
    if layer.padding == "same" and transposed:
        pads = ((k - stride) // 2, k - stride - (k - stride) // 2)
    elif layer.padding == "same":
        pads = same_pads((height, width), (k, k), stride)[0]
    elif layer.padding == "valid":
        pads = (0, 0)
    else:
        pads = (layer.padding,) * 2 if isinstance(layer.padding, int) else layer.padding[0]
    size, (lo, hi) = (height, width), pads
    return Convolution(transposed, batch, size, inputs, layer.features, k, stride, (lo, hi))
