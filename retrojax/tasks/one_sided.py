"""The one-sided task: unpaired domains, one generator, and the least change that pleases a critic.

SimGAN's objective (Shrivastava et al. 2017, arXiv:1612.07828, eq. 4): an adversarial loss and a
self-regularisation, the L1 between what is made and what it was made from. For generators that keep
the content by their structure, as `LookGenerator` does: neither cycles nor features are needed.
The L1 is taken between blurred images, so that grain costs nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Key, UInt8

from retrojax.losses import blurred_l1
from retrojax.tasks.adversary import AdversarialTask
from retrojax.tasks.domains import Domains
from retrojax.tasks.task import (
    Aux,
    Variables,
    apply_training,
    global_mean,
    noise_for,
    picture,
    reinitialised,
)

Batch = dict[str, Float[Array, "b h w 3"]]


@dataclass(frozen=True, kw_only=True)
class OneSidedTask(AdversarialTask):
    """Learns source -> target without pairs, one way only.

    Attributes:
        generator: a translation generator; a `LookGenerator` must be `joint`.
        discriminator: an unconditional critic, `(images, train=) -> logits`.
        domains: how raw images become those of the two domains.
        adversarial_weight: of the generator's adversarial loss.
        source_l1_weight: of L1 between the blurred output and its blurred source.
        initializer: of all weights, see `models.initializers`; "" = as the networks say.
    """

    domains: Domains
    adversarial_weight: float = 1.0
    source_l1_weight: float = 1.0
    initializer: str = ""

    def init(self, key: Key[Array, ""], batch: Batch) -> tuple[Variables, Variables]:
        """Fresh variables of both players for a prepared batch."""
        g_key, d_key, noise_key = jax.random.split(key, 3)
        source = batch["source"]
        noise = noise_for(self.generator, noise_key, source)
        generator = dict(self.generator.init(g_key, source, noise, train=False))
        discriminator = dict(self.discriminator.init(d_key, source, train=False))
        return (
            reinitialised(g_key, generator, self.initializer),
            reinitialised(d_key, discriminator, self.initializer),
        )

    def prepare(
        self,
        raw: Mapping[str, UInt8[Array | np.ndarray, "b side side 3"]],
        key: Key[Array, ""],
        step: Array | int = 0,
    ) -> Batch:
        """Images of both domains, see `Domains.prepare`; nothing is scheduled."""
        return self.domains.prepare(raw, key)

    def generate(
        self, generator: Variables, batch: Batch, key: Key[Array, ""]
    ) -> tuple[Float[Array, "b h w 3"], Aux]:
        """What the generator makes of the sources."""
        noise_key, dropout_key = jax.random.split(key)
        noise = noise_for(self.generator, noise_key, batch["source"])
        output, collections = apply_training(
            self.generator,
            generator,
            batch["source"],
            noise,
            key=dropout_key,
            remat=self.remat,
        )
        return picture(output), (collections, {})

    def discriminator_loss(
        self, discriminator: Variables, outputs: Array, batch: Batch, key: Key[Array, ""]
    ) -> tuple[Array, Aux]:
        """Adversarial loss of D on target images and fakes, plus its penalties."""
        return self.adversary.discriminator_loss(discriminator, batch["target"], outputs, key)

    def generator_loss(
        self, discriminator: Variables, outputs: Array, batch: Batch, key: Key[Array, ""]
    ) -> tuple[Array, Aux]:
        """Adversarial loss of G plus the self-regularisation."""
        adversarial, collections = self.adversary.generator_loss(
            discriminator, batch["target"], outputs, key
        )
        metrics = {
            "g/adversarial": adversarial,
            "g/source_l1": global_mean(blurred_l1(outputs, batch["source"])),
        }
        total = self.adversarial_weight * adversarial
        total += self.source_l1_weight * metrics["g/source_l1"]
        return total, (collections, metrics)

    def sample(
        self, generator: Variables, batch: dict[str, Any], key: Key[Array, ""]
    ) -> dict[str, Float[Array, "b h w 3"]]:
        """Evaluation mode: "image" from "source"."""
        noise = noise_for(self.generator, key, batch["source"])
        return {"image": picture(self.generator.apply(generator, batch["source"], noise))}
