"""Reconstruction terms for tasks with a target: L1, L1 between blurred images, L2.

Contract: float images [b, h, w, c] of equal shape in [-1, 1]; one float32 value per image out.
"""

from functools import reduce
from operator import add

import jax.numpy as jnp
from jaxtyping import Array, Float


def l1(images: Float[Array, "b h w c"], targets: Float[Array, "b h w c"]) -> Float[Array, "b"]:
    """Mean absolute difference of each image and its target (pix2pix, arXiv:1611.07004, eq. 3).

    Raises:
        ValueError: for images and targets of different shapes.
    """
    return jnp.abs(_difference(images, targets)).mean(axis=(1, 2, 3))


def l2(images: Float[Array, "b h w c"], targets: Float[Array, "b h w c"]) -> Float[Array, "b"]:
    """Mean squared difference of each image and its target.

    Its best constant is the mean of the targets, L1's is their median: of thin dark strokes in
    places that differ, a median is blank.

    Raises:
        ValueError: for images and targets of different shapes.
    """
    return jnp.square(_difference(images, targets)).mean(axis=(1, 2, 3))


def _difference(images: Array, targets: Array) -> Array:
    if images.shape != targets.shape:
        raise ValueError(f"images {images.shape} and targets {targets.shape} must be equal shapes")
    return images.astype(jnp.float32) - targets.astype(jnp.float32)


def blur(images: Float[Array, "b h w c"], *, size: int = 5) -> Float[Array, "b h2 w2 c"]:
    """Separable binomial blur without padding, so that no border value is invented.

    Args:
        images: [b, h, w, c].
        size: odd number of taps; the standard deviation is sqrt(size - 1) / 2 pixels.

    Returns:
        [b, h - size + 1, w - size + 1, c].

    Raises:
        ValueError: if `size` is not a positive odd number or the image is smaller than it.
    """
    if size < 1 or size % 2 == 0:
        raise ValueError(f"size must be a positive odd number of taps, not {size}")
    if min(images.shape[1:3]) < size:
        raise ValueError(f"images of {images.shape[1:3]} px are smaller than the blur of {size} px")
    taps = [1.0]
    for _ in range(size - 1):
        taps = [a + b for a, b in zip([0.0, *taps], [*taps, 0.0], strict=True)]
    total = sum(taps)
    # Shifted slices: a depthwise convolution is many times slower on CPU.
    rows = images.shape[1] - size + 1
    images = reduce(add, (tap / total * images[:, i : i + rows] for i, tap in enumerate(taps)))
    columns = images.shape[2] - size + 1
    return reduce(add, (tap / total * images[:, :, i : i + columns] for i, tap in enumerate(taps)))


def blurred_l1(
    images: Float[Array, "b h w c"], targets: Float[Array, "b h w c"], *, size: int = 5
) -> Float[Array, "b"]:
    """L1 between blurred images: holds colour and tone, leaves fine texture to the adversary.

    The blur is linear, so the difference is blurred, once.
    """
    return jnp.abs(blur(_difference(images, targets), size=size)).mean(axis=(1, 2, 3))
