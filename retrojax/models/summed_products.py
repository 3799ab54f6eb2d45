"""Products summed over rows, a.T @ b, in the order of the factors that is fastest on CPU.

XLA hands a product whose first factor lies the other way to a kernel that reaches two thirds of
its usual speed where both factors are wide. There the factor is turned around beforehand.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from retrojax.models.unfused import unfused

# Columns of both factors from which on turning costs less than it saves.
WIDE = 256


def summed_product(a: Float[Array, "n p"], b: Float[Array, "n q"]) -> Float[Array, "p q"]:
    """The sum over n of the outer products of the rows, in float32 at least."""
    wide = jnp.promote_types(a.dtype, jnp.float32)
    turned = a.T
    if min(a.shape[1], b.shape[1]) >= WIDE:
        # Apart: otherwise XLA takes the turning back into the product.
        turned = unfused(jnp.transpose, a)
    return jnp.matmul(turned, b, preferred_element_type=wide)
