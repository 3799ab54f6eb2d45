"""Adversarial losses: what the discriminator and the generator minimise.

Contract: both functions of a pair take `(real_logits, fake_logits)`, raw logits of equal shape
`[b, ...]` (one number or a patch map per image, never probabilities), in any float type, and
return one float32 value per image: the mean over that image's map. Real and fake are paired by
batch index and position. Callers take the mean over the batch and apply weights.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

LossFunction = Callable[[Float[Array, "b *map"], Float[Array, "b *map"]], Float[Array, "b"]]


class AdversarialLoss(NamedTuple):
    """A game: two losses of one signature, and its formulas as text.

    Attributes:
        discriminator: `(real_logits, fake_logits) -> [b]` float32, minimised by D.
        generator: `(real_logits, fake_logits) -> [b]` float32, minimised by G.
        uses_real: whether `generator` reads the real logits (relativistic losses do); if not,
            callers may pass the fake logits twice and save a pass of D over the real images.
        formula: both formulas for people, r = real logit, f = fake logit.
    """

    discriminator: LossFunction
    generator: LossFunction
    uses_real: bool
    formula: str


def _per_image(values: Callable[[Array, Array], Array]) -> LossFunction:
    """Checks shapes, computes `values(r, f)` in float32 and averages over each image's map."""

    def loss(real_logits: Array, fake_logits: Array) -> Array:
        if real_logits.shape != fake_logits.shape:
            raise ValueError(
                f"real_logits {real_logits.shape} and fake_logits {fake_logits.shape} must have "
                "the same shape: they are paired by batch index and position"
            )
        pointwise = values(real_logits.astype(jnp.float32), fake_logits.astype(jnp.float32))
        return pointwise.reshape(pointwise.shape[0], -1).mean(axis=1)

    return loss


softplus = jax.nn.softplus
sigmoid = jax.nn.sigmoid
relu = jax.nn.relu

# Goodfellow et al. 2014 (arXiv:1406.2661), eq. 1, with the non-saturating generator loss of its
# section 3; terms summed, without 1/2.
BCE = AdversarialLoss(
    discriminator=_per_image(lambda r, f: softplus(-r) + softplus(f)),
    generator=_per_image(lambda r, f: softplus(-f)),
    uses_real=False,
    formula="D: softplus(-r) + softplus(f)    G: softplus(-f)",
)

# Mao et al. 2017 (arXiv:1611.04076), eq. 9: a = 0, b = c = 1, with 1/2 in both losses. CycleGAN's
# code halves only D's; its weights belong to the task.
LSGAN = AdversarialLoss(
    discriminator=_per_image(lambda r, f: 0.5 * (r - 1) ** 2 + 0.5 * f**2),
    generator=_per_image(lambda r, f: 0.5 * (f - 1) ** 2),
    uses_real=False,
    formula="D: 1/2 (r - 1)^2 + 1/2 f^2    G: 1/2 (f - 1)^2",
)

# The source document's two formulas as written: L_D = E[(D(x) - D(G(z)))^2], L_G = E[D(G(z))], with
# D = sigmoid(logit), both minimised. A constant D is optimal and G lowers its own score: kept
# because it can be studied, not because it works.
LSGAN_DOCUMENT = AdversarialLoss(
    discriminator=_per_image(lambda r, f: (sigmoid(r) - sigmoid(f)) ** 2),
    generator=_per_image(lambda r, f: sigmoid(f)),
    uses_real=False,
    formula="D: (sigmoid(r) - sigmoid(f))^2    G: sigmoid(f)",
)

# The document's idea repaired by a margin m = 1: relativistic paired least squares
# (Jolicoeur-Martineau 2018, arXiv:1807.00734).
LSGAN_PAIRWISE = AdversarialLoss(
    discriminator=_per_image(lambda r, f: (r - f - 1) ** 2),
    generator=_per_image(lambda r, f: (f - r - 1) ** 2),
    uses_real=True,
    formula="D: (r - f - 1)^2    G: (f - r - 1)^2",
)

# Lim and Ye 2017 (arXiv:1705.02894); Miyato et al. 2018 (arXiv:1802.05957), eqs. 16 and 17.
HINGE = AdversarialLoss(
    discriminator=_per_image(lambda r, f: relu(1 - r) + relu(1 + f)),
    generator=_per_image(lambda r, f: -f),
    uses_real=False,
    formula="D: relu(1 - r) + relu(1 + f)    G: -f",
)

# Arjovsky et al. 2017 (arXiv:1701.07875), eq. 2; meant with a gradient penalty (Gulrajani et al.).
WGAN = AdversarialLoss(
    discriminator=_per_image(lambda r, f: f - r),
    generator=_per_image(lambda r, f: -f),
    uses_real=False,
    formula="D: f - r    G: -f",
)

# Jolicoeur-Martineau 2018 (arXiv:1807.00734); with R1 and R2 this is R3GAN (Huang et al. 2024,
# arXiv:2501.05441), eq. 2.
RELATIVISTIC = AdversarialLoss(
    discriminator=_per_image(lambda r, f: softplus(f - r)),
    generator=_per_image(lambda r, f: softplus(r - f)),
    uses_real=True,
    formula="D: softplus(f - r)    G: softplus(r - f)",
)

ADVERSARIAL_LOSSES: Mapping[str, AdversarialLoss] = MappingProxyType(
    {
        "bce": BCE,
        "lsgan": LSGAN,
        "lsgan-document": LSGAN_DOCUMENT,
        "lsgan-pairwise": LSGAN_PAIRWISE,
        "hinge": HINGE,
        "wgan": WGAN,
        "relativistic": RELATIVISTIC,
    }
)


def adversarial_loss(name: str) -> AdversarialLoss:
    """Returns the named loss.

    Raises:
        ValueError: for an unknown name; the message lists the known ones.
    """
    if name not in ADVERSARIAL_LOSSES:
        raise ValueError(f"unknown loss {name!r}; choose one of {', '.join(ADVERSARIAL_LOSSES)}")
    return ADVERSARIAL_LOSSES[name]
