"""Features read in the middle of a generator, for losses that compare patches (PatchNCE)."""

from collections.abc import Callable, Sequence

from flax import linen as nn
from jaxtyping import Array, Float

Layer = Callable[[Float[Array, "..."]], Float[Array, "..."]]
"""A function of one map, [b, h, w, c]."""

Features = tuple[Float[Array, "..."], ...]
"""Maps [b, h, w, c], each of its own size."""


def run_layers(
    layers: Sequence[Layer],
    x: Float[Array, "..."],
    *,
    taps: Sequence[int] = (),
    encode_only: bool = False,
) -> Float[Array, "..."] | tuple[Float[Array, "..."], Features] | Features:
    """Runs layers one after the other and keeps what some of them return.

    A map that a ReLU follows is kept as that ReLU leaves it: PyTorch's code works in place, so
    what it has kept of a norm is overwritten. (A ReLU that is not run overwrites nothing.)

    Args:
        layers: functions of one map.
        x: what the first is given.
        taps: indices of the layers whose results are kept.
        encode_only: stop after the last of `taps`.

    Returns:
        The last layer's result; with taps, (result, features); with `encode_only`, features alone.
        Features come in the order of `taps`.

    Raises:
        ValueError: for a tap that is no index of a layer, or `encode_only` without taps.
    """
    if encode_only and not taps:
        raise ValueError("encode_only returns the features at taps: name at least one tap")
    wrong = [tap for tap in taps if not 0 <= tap < len(layers)]
    if wrong:
        raise ValueError(f"no layer {wrong[0]} to tap; this network has 0 to {len(layers) - 1}")
    kept = {}
    for index, layer in enumerate(layers[: max(taps) + 1] if encode_only else layers):
        x = layer(x)
        if index in taps:
            kept[index] = x
        if layer is nn.relu and index - 1 in kept:
            kept[index - 1] = x
    features = tuple(kept[tap] for tap in taps)
    if encode_only:
        return features
    return (x, features) if taps else x
