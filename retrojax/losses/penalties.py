"""Gradient penalties on the discriminator.

Contract: a critic is a function `images [b, h, w, c] -> [b]`, one float32 per image. For a patch
discriminator this is the *mean* of its map (summing m logits would scale a penalty by m^2). It
must not mix the examples of a batch: with BatchNorm in D the gradients below are not per image.
Each penalty returns one float32 per image, without weights; the caller applies weight and mean.
Only the judged image is differentiated; a conditioning source is bound inside the critic.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from retrojax.keys import fold_each

Critic = Callable[[Float[Array, "b h w c"]], Float[Array, "b"]]


class Penalties(NamedTuple):
    """Weights of the penalties in D's loss; 0 = off.

    Attributes:
        r1: gamma of `gamma / 2 * |grad D(real)|^2`.
        r2: gamma of `gamma / 2 * |grad D(fake)|^2`.
        gradient: lambda of `lambda * (|grad D(mixed)| - 1)^2`.
    """

    r1: float = 0.0
    r2: float = 0.0
    gradient: float = 0.0


# Penalties that belong to a loss unless the user says otherwise; absent = none.
DEFAULT_PENALTIES: Mapping[str, Penalties] = MappingProxyType(
    {
        "wgan": Penalties(gradient=10.0),
        "relativistic": Penalties(r1=1.0, r2=1.0),
    }
)


def _image_gradients(critic: Critic, images: Array) -> Array:
    """Gradient of each image's own critic value, float32."""
    return jax.grad(lambda x: critic(x).sum())(images).astype(jnp.float32)


def zero_centred_penalty(critic: Critic, images: Float[Array, "b h w c"]) -> Float[Array, "b"]:
    """Squared norm of the critic's gradient at each image: R1 on real, R2 on generated images.

    Mescheder et al. 2018 (arXiv:1801.04406), eq. 9, without its gamma / 2.

    Args:
        critic: see the module's contract.
        images: real images for R1, generated ones for R2, [b, h, w, c].

    Returns:
        Sum over h, w, c of the squared gradient, one float32 per image.
    """
    return squared_norm(_image_gradients(critic, images))


def squared_norm(gradients: Float[Array, "b h w c"]) -> Float[Array, "b"]:
    """Sum over h, w, c of the squares, one float32 per image."""
    return jnp.square(gradients.astype(jnp.float32)).sum(axis=(1, 2, 3))


def gradient_penalty(
    critic: Critic,
    key: Key[Array, ""],
    real: Float[Array, "b h w c"],
    fake: Float[Array, "b h w c"],
) -> Float[Array, "b"]:
    """Two-sided penalty on the gradient's norm between real and fake images.

    Gulrajani et al. 2017 (arXiv:1704.00028), eq. 3, without its lambda.

    Args:
        critic: see the module's contract.
        key: draws the mixing weight of each pair, uniform in [0, 1], from `fold_in(key, index)`.
        real: real images, [b, h, w, c].
        fake: generated images of the same shape.

    Returns:
        (norm - 1)^2, one float32 per image.

    Raises:
        ValueError: for real and fake images of different shapes.
    """
    if real.shape != fake.shape:
        raise ValueError(f"real {real.shape} and fake {fake.shape} must have the same shape")
    weight = jax.vmap(jax.random.uniform)(fold_each(key, real.shape[0]))[:, None, None, None]
    gradients = _image_gradients(critic, weight * real + (1 - weight) * fake)
    # The epsilon keeps the square root differentiable where the gradient vanishes.
    norm = jnp.sqrt(jnp.square(gradients).sum(axis=(1, 2, 3)) + 1e-12)
    return jnp.square(norm - 1)
