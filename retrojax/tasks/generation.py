"""The generation task: noise -> image, an unconditional critic, any adversarial loss.

The game of Goodfellow et al. 2014 (arXiv:1406.2661). The latent is standard normal, drawn per
example. Real images come as raw squares: whole small images, or crops of photographs that are
given a look on the device.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt8

from retrojax.film import Look
from retrojax.keys import normal_each
from retrojax.portion import global_count
from retrojax.tasks.adversary import AdversarialTask
from retrojax.tasks.augmentation import (
    centre_crop,
    flip_each,
    render_each,
    vary_colours,
)
from retrojax.tasks.ramp import Ramp
from retrojax.tasks.task import Aux, Variables, apply_training

Batch = dict[str, Float[Array, "..."]]


@dataclass(frozen=True, kw_only=True)
class GenerationTask(AdversarialTask):
    """Learns to make images from noise.

    Attributes:
        generator: `(z, train=) -> images`, with a `latent_size`.
        discriminator: an unconditional critic, `(images, train=) -> logits`.
        size: side of the square images in pixels; raw batches may be larger.
        look: rendered on the device before anything is learned; None = images as they are.
        pixels_per_mm: resolution of the photographs on a 24x36 mm frame, for the look.
        flip: whether real images are mirrored at random.
        penalty_ramp: factor of R1 and R2 over the images seen; None = 1.
        augment_ramp: probability of each augmentation over the images seen; None = 1.
    """

    size: int
    look: Look | None = None
    pixels_per_mm: float = 512 / 36
    flip: bool = True
    penalty_ramp: Ramp | None = None
    augment_ramp: Ramp | None = None

    def init(self, key: Key[Array, ""], batch: Batch) -> tuple[Variables, Variables]:
        """Fresh variables of both players for a prepared batch."""
        g_key, d_key, z_key = jax.random.split(key, 3)
        real = batch["real"]
        generator = self.generator.init(g_key, self.latent(z_key, real.shape[0]), train=False)
        return dict(generator), dict(self.discriminator.init(d_key, real, train=False))

    def latent(self, key: Key[Array, ""], count: int) -> Float[Array, "count latent"]:
        """Standard normal latents, drawn per example."""
        return normal_each(key, (count, self.generator.latent_size))

    def prepare(
        self,
        raw: Mapping[str, UInt8[Array | np.ndarray, "b side side c"]],
        key: Key[Array, ""],
        step: Array | int = 0,
    ) -> Batch:
        """Flips, renders the look if there is one, crops the centre and scales to [-1, 1].

        Args:
            raw: "source": uint8 [b, side, side, c], side >= size.
            key: of this step's preparation.
            step: number of completed updates, for what is ramped.

        Returns:
            "real", float32 [b, size, size, c] in [-1, 1]; "penalty_factor" and "probability", [],
            where they are ramped.
        """
        flip_key, colour_key, render_key = jax.random.split(key, 3)
        images = jnp.asarray(raw["source"], jnp.float32) / 255.0
        if self.flip:
            images = flip_each(flip_key, {"source": images})["source"]
        if self.look is not None:
            images = vary_colours(colour_key, images)
            images = render_each(
                render_key, images, look=self.look, pixels_per_mm=self.pixels_per_mm
            )
        real = centre_crop(images, self.size) * 2.0 - 1.0
        images_seen = jnp.asarray(step, jnp.float32) * global_count(real.shape[0])
        return {"real": real, **self.ramped(images_seen)}

    def ramped(self, images_seen: Array) -> dict[str, Float[Array, ""]]:
        """What is scheduled, by its name in the batch."""
        ramps = {"penalty_factor": self.penalty_ramp, "probability": self.augment_ramp}
        return {name: ramp(images_seen) for name, ramp in ramps.items() if ramp is not None}

    def generate(
        self, generator: Variables, batch: Batch, key: Key[Array, ""]
    ) -> tuple[Float[Array, "b h w c"], Aux]:
        """As many images as the batch has."""
        z_key, dropout_key = jax.random.split(key)
        z = self.latent(z_key, batch["real"].shape[0])
        fake, collections = apply_training(
            self.generator, generator, z, key=dropout_key, remat=self.remat
        )
        return fake.astype(jnp.float32), (collections, {})

    def discriminator_loss(
        self, discriminator: Variables, outputs: Array, batch: Batch, key: Key[Array, ""]
    ) -> tuple[Array, Aux]:
        """Adversarial loss of D on real and generated images, plus its penalties."""
        return self.adversary.discriminator_loss(
            discriminator,
            batch["real"],
            outputs,
            key,
            penalty_factor=batch.get("penalty_factor", 1.0),
            probability=batch.get("probability", 1.0),
        )

    def generator_loss(
        self, discriminator: Variables, outputs: Array, batch: Batch, key: Key[Array, ""]
    ) -> tuple[Array, Aux]:
        """Adversarial loss of G."""
        value, collections = self.adversary.generator_loss(
            discriminator,
            batch["real"],
            outputs,
            key,
            probability=batch.get("probability", 1.0),
        )
        return value, (collections, {"g/adversarial": value})

    def sample(
        self, generator: Variables, batch: dict[str, Any], key: Key[Array, ""] | None = None
    ) -> dict[str, Float[Array, "b h w c"]]:
        """Evaluation mode: images of `batch["latent"]` [b, latent]; nothing is drawn, so no key."""
        images = self.generator.apply(generator, batch["latent"], train=False)
        return {"image": jnp.asarray(images)}
