"""Features read in the middle of a generator, for losses that compare patches (PatchNCE)."""

from collections.abc import Callable, Sequence
from functools import partial

from flax import linen as nn
from jaxtyping import Array, Float

from retrojax.models.stages import run_stage

Layer = Callable[[Float[Array, "..."]], Float[Array, "..."]]
"""A function of one map, [b, h, w, c]."""

Features = tuple[Float[Array, "..."], ...]
"""Maps [b, h, w, c], each of its own size."""


def run_layers(
    network: nn.Module,
    stages: Sequence[Sequence[Layer]],
    x: Float[Array, "..."],
    *,
    taps: Sequence[int] = (),
    encode_only: bool = False,
) -> Float[Array, "..."] | tuple[Float[Array, "..."], Features] | Features:
    """Runs a network's layers one after the other and keeps what some of them return.

    A map that a ReLU follows is kept as that ReLU leaves it: PyTorch's code works in place, so
    what it has kept of a norm is overwritten. (A ReLU that is not run overwrites nothing.)

    Args:
        network: the module whose call this is, see `run_stage`.
        stages: functions of one map, by stages; a ReLU is in the stage of what comes before it.
        x: what the first is given.
        taps: indices of the layers whose results are kept, counted over all stages.
        encode_only: stop after the last of `taps`.

    Returns:
        The last layer's result; with taps, (result, features); with `encode_only`, features alone.
        Features come in the order of `taps`.

    Raises:
        ValueError: for a tap that is no index of a layer, or `encode_only` without taps.
    """
    if encode_only and not taps:
        raise ValueError("encode_only returns the features at taps: name at least one tap")
    count = sum(map(len, stages))
    wrong = [tap for tap in taps if not 0 <= tap < count]
    if wrong:
        raise ValueError(f"no layer {wrong[0]} to tap; this network has 0 to {count - 1}")
    numbers = iter(range(max(taps) + 1 if encode_only else count))
    kept: dict[int, Array] = {}
    for stage in stages:
        # `zip` asks the layers first: no number is lost at the end of a stage.
        numbered = [(number, layer) for layer, number in zip(stage, numbers, strict=False)]
        x, found = run_stage(network, partial(_run, numbered, taps), x)
        kept |= found
    features = tuple(kept[tap] for tap in taps)
    if encode_only:
        return features
    return (x, features) if taps else x


def _run(
    numbered: Sequence[tuple[int, Layer]], taps: Sequence[int], x: Array
) -> tuple[Array, dict[int, Array]]:
    """One stage: its result, and what is tapped in it by the layers' numbers."""
    kept = {}
    for number, layer in numbered:
        x = layer(x)
        if number in taps:
            kept[number] = x
        if layer is nn.relu and number - 1 in kept:
            kept[number - 1] = x
    return x, kept
