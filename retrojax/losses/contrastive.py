"""PatchNCE: a patch of the result should be recognised among the patches of its source.

Park et al. 2020 (arXiv:2007.15651), eqs. 3 and 4, as the authors' code (`PatchNCELoss`).
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from retrojax.portion import gathered


def patch_nce(
    queries: Float[Array, "b p c"],
    keys: Float[Array, "b p c"],
    *,
    temperature: float = 0.07,
    all_negatives: bool = False,
) -> Float[Array, "b"]:
    """Cross-entropy of finding each query's own key among the keys, for one layer's patches.

    Computed in float32 from cosines divided by the temperature. (The code fills its diagonal with
    -10, whose exponential is 0 in float32: the same number.)

    Args:
        queries: projected patches of the generated images, of length 1.
        keys: projected patches of the sources at the same places. They are targets: no gradient
            passes to them, they are stopped here.
        temperature: divides the cosines.
        all_negatives: the patches of all images are negatives (SinCUT's
            `nce_includes_all_negatives_from_minibatch`), not only those of the same image.

    Returns:
        The mean over each image's patches, one float32 per image. The mean over the batch and over
        layers is the paper's loss.

    Raises:
        ValueError: for queries and keys of different shapes, or a temperature of 0 or less.
    """
    if queries.shape != keys.shape:
        raise ValueError(f"queries {queries.shape} and keys {keys.shape} must have equal shapes")
    if temperature <= 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    batch, patches, width = queries.shape
    queries = queries.astype(jnp.float32)
    keys = jax.lax.stop_gradient(keys).astype(jnp.float32)
    own = (queries * keys).sum(-1) / temperature
    if all_negatives:
        queries = queries.reshape(1, batch * patches, width)
        keys = gathered(keys).reshape(1, -1, width)
    logits = jnp.einsum("bpc,bqc->bpq", queries, keys) / temperature
    losses = jax.nn.logsumexp(logits, axis=-1).reshape(batch, patches) - own
    return losses.mean(axis=1)


def patch_indices(
    key: Key[Array, ""], sizes: Sequence[int], patches: int
) -> tuple[Int[Array, "_p"], ...]:
    """Draws the places that PatchNCE compares: without replacement, alike for all images.

    Args:
        key: layer j draws from `fold_in(key, j)`, so layers are independent.
        sizes: number of pixels h * w of each layer's map.
        patches: places for each layer; fewer where the map has fewer pixels.

    Returns:
        For each layer min(patches, size) different numbers below its size, in random order.

    Raises:
        ValueError: if `patches` is below 1.
    """
    if patches < 1:
        raise ValueError(f"patches must be 1 or more, got {patches}")
    drawn = (
        jax.random.permutation(jax.random.fold_in(key, layer), size)
        for layer, size in enumerate(sizes)
    )
    return tuple(order[:patches] for order in drawn)
