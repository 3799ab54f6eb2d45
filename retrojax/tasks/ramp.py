"""Values that change over the images seen."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array


@dataclass(frozen=True)
class Ramp:
    """From `start` to `end` along half a cosine, then `end` (R3GAN, Huang et al. 2024).

    Attributes:
        start: value at the first image.
        end: value from `images` on.
        images: length in images seen, above 0.
    """

    start: float
    end: float
    images: float

    def __call__(self, images_seen: Array | float) -> Array:
        """The value in force, float32: start + (end - start) (1 - cos(pi n / images)) / 2."""
        share = jnp.clip(jnp.asarray(images_seen, jnp.float32) / self.images, 0.0, 1.0)
        return self.start + (self.end - self.start) * (1.0 - jnp.cos(jnp.pi * share)) / 2.0
