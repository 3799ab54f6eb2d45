"""`PatchSampleF`: the projection head of CUT, from features of a generator to points on a sphere.

Park et al. 2020 (arXiv:2007.15651), layer by layer as the authors' PyTorch code (`PatchSampleF`
with `use_mlp`).
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from retrojax.models.layers import NORMAL


class PatchSampleF(nn.Module):
    """Takes places out of each map; a dense layer, ReLU and a dense layer; length 1.

    The layers of map j are `mlp_{j}_0` and `mlp_{j}_1`: every map has its own.

    Attributes:
        features: width of both layers.
        dtype: computation type of the layers; parameters and results are float32.
    """

    features: int = 256
    dtype: Any = None

    @nn.compact
    def __call__(
        self,
        features: Sequence[Float[Array, "b _h _w _c"]],
        indices: Sequence[Int[Array, "_p"]],
    ) -> tuple[Float[Array, "b _p f"], ...]:
        """Projects patches.

        Args:
            features: maps of a generator, each of its own size: `ResNetGenerator`'s at `taps`.
            indices: the places for each map, numbers below h * w, row after row; the same for all
                images. For queries and keys to be compared, pass both the same
                (`retrojax.losses.patch_indices`).

        Returns:
            For each map its projected places: float32 of length 1, or 0 where the layers give 0.

        Raises:
            ValueError: if there are not as many index arrays as maps.
        """
        if len(features) != len(indices):
            raise ValueError(
                f"{len(features)} maps but {len(indices)} arrays of indices: pass one for each map"
            )
        options = {"kernel_init": NORMAL, "dtype": self.dtype}
        projected = []
        for j, (x, places) in enumerate(zip(features, indices, strict=True)):
            x = x.reshape(x.shape[0], -1, x.shape[-1])[:, places]
            x = nn.relu(nn.Dense(self.features, name=f"mlp_{j}_0", **options)(x))
            x = nn.Dense(self.features, name=f"mlp_{j}_1", **options)(x).astype(jnp.float32)
            projected.append(_normalised(x))
        return tuple(projected)


def _normalised(x: Array) -> Array:
    """Divides by |x| + 1e-7 along the last axis; 0 stays 0, with finite gradients."""
    squared = jnp.square(x).sum(-1, keepdims=True)
    # The root's slope at 0 is infinite: a pixel of zeros and biases of 0 would give NaN.
    length = jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1.0)), 0.0)
    return x / (length + 1e-7)
