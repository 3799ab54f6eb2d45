"""Fresh parameters for a network that exists: the schemes of pix2pix's and CUT's code by name.

Linen modules start as `retrojax.models.layers` says, which is scheme "normal". `reinitialise`
gives the other scheme without a field in every network.
"""

import math
import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key


def _normal(shape: tuple[int, ...]) -> float:
    return 0.02


def _xavier(shape: tuple[int, ...]) -> float:
    """Glorot's deviation with gain 0.02, from a kernel [..., in, out] or [..., out, in]."""
    fans = math.prod(shape[:-2]) * (shape[-2] + shape[-1])
    return 0.02 * math.sqrt(2 / fans)


SCHEMES: Mapping[str, Callable[[tuple[int, ...]], float]] = MappingProxyType(
    {"normal": _normal, "xavier": _xavier}
)
"""The standard deviation of a kernel of a shape: "normal" 0.02 (pix2pix, CycleGAN), "xavier"
0.02 sqrt(2 / (fan_in + fan_out)), not truncated (CUT)."""


def reinitialise(key: Key[Array, ""], params: Any, scheme: str) -> Any:
    """Draws new parameters of the same shapes and types.

    Kernels N(0, deviation of the scheme), biases 0, scales of norms N(1, 0.02), as `init_weights`
    in the code of pix2pix and CUT. For networks made of convolutions, dense layers and norms: not
    for those that scale their weights at run time (SinCUT, R3GAN).

    Args:
        key: a leaf draws from `fold_in(key, CRC-32 of its path)`, whatever else there is.
        params: parameters of one network, or a dictionary of several.
        scheme: a name in `SCHEMES`.

    Returns:
        A tree of the same structure.

    Raises:
        ValueError: for an unknown scheme, or a leaf not named kernel, bias or scale.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"unknown scheme {scheme!r}; choose one of {', '.join(SCHEMES)}")

    def draw(path: tuple[Any, ...], leaf: Array) -> Array:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        kind = name.rpartition("/")[2]
        if kind == "bias":
            return jnp.zeros_like(leaf)
        if kind not in ("kernel", "scale"):
            raise ValueError(
                f"{name} is neither kernel, bias nor scale: scheme {scheme!r} does not say how it "
                "starts; leave this network as it was made"
            )
        values = jax.random.normal(
            jax.random.fold_in(key, zlib.crc32(name.encode())), leaf.shape, leaf.dtype
        )
        return 1.0 + 0.02 * values if kind == "scale" else SCHEMES[scheme](leaf.shape) * values

    return jax.tree_util.tree_map_with_path(draw, params)
