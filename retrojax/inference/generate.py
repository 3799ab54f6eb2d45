"""Images from noise with a trained generator."""

import jax
import numpy as np
from jaxtyping import UInt8

from retrojax.inference.bundle import Bundle
from retrojax.keys import normal_each
from retrojax.models import DISCRIMINATORS, LATENT_GENERATORS

_AT_ONCE = 64


def generate(bundle: Bundle, *, count: int, seed: int) -> UInt8[np.ndarray, "count h w c"]:
    """Makes images; image i depends on the seed and i alone.

    Args:
        bundle: a trained noise-to-image generator.
        count: how many, at least 1.
        seed: 0 to 2**32 - 1; another seed gives other images.

    Returns:
        uint8 sRGB.

    Raises:
        ValueError: for a model that changes or judges photographs or makes them by class, or a
            number out of range.
    """
    module = bundle.module
    if isinstance(module, tuple(DISCRIMINATORS.values())):
        raise ValueError(f"a {type(module).__name__} judges images and makes none")
    if not isinstance(module, tuple(LATENT_GENERATORS.values())):
        raise ValueError(
            f"a {type(module).__name__} changes photographs and makes none from noise; "
            "use retrojax stylize"
        )
    if getattr(module, "classes", 0):
        raise ValueError(
            f"this {type(module).__name__} makes images of {module.classes} classes, which only "
            "code can ask for: load_bundle(...).module.apply(variables, z, labels)"
        )
    if count < 1:
        raise ValueError(f"count must be at least 1, not {count}")
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must lie between 0 and 2**32 - 1, not {seed}")
    latents = normal_each(jax.random.key(seed), (count, module.latent_size))
    draw = jax.jit(lambda z: module.apply(bundle.variables, z, train=False))
    images = np.concatenate(
        [np.asarray(draw(latents[i : i + _AT_ONCE])) for i in range(0, count, _AT_ONCE)]
    )
    return np.rint((images.clip(-1, 1) / 2 + 0.5) * 255).astype(np.uint8)
