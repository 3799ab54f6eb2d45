"""`MLPGenerator`: fully connected, for points in the plane and small, aligned images."""

import math
from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float


class MLPGenerator(nn.Module):
    """Noise -> anything: dense layers with ReLU, none at the end; no norm; Flax's initializers.

    Attributes:
        shape: of one example, (2,) for points in the plane.
        widths: of the hidden layers.
        latent_size: length of z.
    """

    shape: Sequence[int]
    widths: Sequence[int] = (128, 128)
    latent_size: int = 2

    @nn.compact
    def __call__(
        self, z: Float[Array, "b latent"], *, train: bool = False
    ) -> Float[Array, "b *shape"]:
        """Makes examples.

        Args:
            z: standard normal, [b, latent_size].
            train: nothing here depends on it.

        Returns:
            Unbounded numbers, [b, *shape], float32.
        """
        x = z
        for i, width in enumerate(self.widths):
            x = nn.relu(nn.Dense(width, name=f"dense_{i}")(x))
        x = nn.Dense(math.prod(self.shape), name="output")(x)
        return x.reshape(-1, *self.shape).astype(jnp.float32)
