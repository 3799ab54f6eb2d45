"""Losses: pure functions on arrays. No modules, no optimisers.

Adversarial losses and penalties return one float32 value per image; the caller takes the mean.
"""

from retrojax.losses.adversarial import ADVERSARIAL_LOSSES, AdversarialLoss, adversarial_loss
from retrojax.losses.contrastive import patch_indices, patch_nce
from retrojax.losses.penalties import (
    DEFAULT_PENALTIES,
    Penalties,
    gradient_penalty,
    squared_norm,
    zero_centred_penalty,
)
from retrojax.losses.reconstruction import blur, blurred_l1, l1, l2

__all__ = [
    "ADVERSARIAL_LOSSES",
    "DEFAULT_PENALTIES",
    "AdversarialLoss",
    "Penalties",
    "adversarial_loss",
    "blur",
    "blurred_l1",
    "gradient_penalty",
    "l1",
    "l2",
    "patch_indices",
    "patch_nce",
    "squared_norm",
    "zero_centred_penalty",
]
