"""The paired task: source photographs, targets that show the look, a critic that sees both.

The objective is pix2pix's (Isola et al. 2017, arXiv:1611.07004, eq. 4) with any adversarial loss
and, for looks, a reconstruction term between *blurred* images: colour and tone are held to the
target while grain is left to the adversary. Plain L1 would average the grain away.
"""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt8

from retrojax.film import Look
from retrojax.losses import blurred_l1, l1, l2
from retrojax.models.look import LookOutput
from retrojax.tasks.adversary import AdversarialTask
from retrojax.tasks.augmentation import (
    centre_crop,
    flip_each,
    render_each,
    vary_colours,
)
from retrojax.tasks.task import Aux, Variables, apply_training, global_mean, noise_for

Batch = dict[str, Float[Array, "b h w 3"]]


@dataclass(frozen=True, kw_only=True)
class PairedTask(AdversarialTask):
    """Learns source -> target.

    Attributes:
        generator: a translation generator, `(source, noise, train=) -> image or LookOutput`.
        discriminator: a conditional critic, `(images, condition, train=) -> logits`.
        crop: side of the square that is learned from, in pixels; raw batches may be larger, so
            that light from beyond the crop's border is rendered right.
        look: rendered on the device from the sources; None when raw batches carry targets.
        pixels_per_mm: resolution of the photographs on a 24x36 mm frame, for the look.
        adversarial_weight: of the generator's adversarial loss; 0 trains without adversary.
        blurred_l1_weight: of L1 between blurred `clean` (or image) and target.
        l1_weight: of plain L1 between image and target (pix2pix: 100).
        l2_weight: of the squared error between image and target.
        blur_size: taps of the blur, see `losses.blur`.
        flip: whether pairs are mirrored at random.
    """

    crop: int
    look: Look | None
    pixels_per_mm: float
    adversarial_weight: float = 1.0
    blurred_l1_weight: float = 20.0
    l1_weight: float = 0.0
    l2_weight: float = 0.0
    blur_size: int = 5
    flip: bool = True

    def init(self, key: Key[Array, ""], batch: Batch) -> tuple[Variables, Variables]:
        """Fresh variables of both players for a prepared batch."""
        g_key, d_key, noise_key = jax.random.split(key, 3)
        source = batch["source"]
        generator = self.generator.init(g_key, source, self.noise(noise_key, source), train=False)
        discriminator = self.discriminator.init(d_key, batch["target"], source, train=False)
        return dict(generator), dict(discriminator)

    def noise(self, key: Key[Array, ""], source: Array) -> Array | None:
        """The generator's noise input, drawn per example; None if it takes none."""
        return noise_for(self.generator, key, source)

    def prepare(
        self,
        raw: dict[str, UInt8[Array | np.ndarray, "b side side 3"]],
        key: Key[Array, ""],
        step: Array | int = 0,
    ) -> Batch:
        """Flips, varies colours, renders the look, crops the centre and scales to [-1, 1].

        Args:
            raw: "source" and, for real pairs, "target": uint8 [b, side, side, 3], side >= crop.
            key: of this step's preparation.
            step: not used; nothing is scheduled.

        Returns:
            "source" and "target", float32 [b, crop, crop, 3] in [-1, 1].
        """
        flip_key, colour_key, render_key = jax.random.split(key, 3)
        images = {name: jnp.asarray(values, jnp.float32) / 255.0 for name, values in raw.items()}
        if self.flip:
            images = flip_each(flip_key, images)
        if self.look is not None:
            source = vary_colours(colour_key, images["source"])
            images = {"source": source, "target": self.render(render_key, source)}
        return {name: centre_crop(x, self.crop) * 2.0 - 1.0 for name, x in images.items()}

    def render(self, key: Key[Array, ""], source: Float[Array, "b h w 3"]) -> Array:
        """The look on a batch of photographs in [0, 1]."""
        assert self.look is not None
        return render_each(key, source, look=self.look, pixels_per_mm=self.pixels_per_mm)

    def without_grain(self) -> "PairedTask":
        """The same task with targets free of grain: what a mean over all seeds should be."""
        assert self.look is not None
        return replace(self, look=self.look.without("grain"))

    def generate(
        self, generator: Variables, batch: Batch, key: Key[Array, ""]
    ) -> tuple[LookOutput, Aux]:
        """The generator's picture with noise, and the one without where the network has it."""
        noise_key, dropout_key = jax.random.split(key)
        source = batch["source"]
        noise = self.noise(noise_key, source)
        output, collections = apply_training(
            self.generator, generator, source, noise, key=dropout_key, remat=self.remat
        )
        outputs = output if isinstance(output, LookOutput) else LookOutput(output, output)
        return jax.tree.map(lambda x: x.astype(jnp.float32), outputs), (collections, {})

    def discriminator_loss(
        self, discriminator: Variables, outputs: LookOutput, batch: Batch, key: Key[Array, ""]
    ) -> tuple[Array, Aux]:
        """Adversarial loss of D on real and generated targets, plus its penalties."""
        return self.adversary.discriminator_loss(
            discriminator, batch["target"], outputs.image, key, batch["source"]
        )

    def generator_loss(
        self, discriminator: Variables, outputs: LookOutput, batch: Batch, key: Key[Array, ""]
    ) -> tuple[Array, Aux]:
        """Adversarial loss of G plus reconstruction."""
        collections = {name: value for name, value in discriminator.items() if name != "params"}
        metrics: dict[str, Array] = {}
        total = jnp.zeros(())
        if self.adversarial_weight:
            adversarial, collections = self.adversary.generator_loss(
                discriminator, batch["target"], outputs.image, key, batch["source"]
            )
            metrics["g/adversarial"] = adversarial
            total += self.adversarial_weight * adversarial
        if self.blurred_l1_weight:
            per_image = blurred_l1(outputs.clean, batch["target"], size=self.blur_size)
            metrics["g/blurred_l1"] = global_mean(per_image)
            total += self.blurred_l1_weight * metrics["g/blurred_l1"]
        if self.l1_weight:
            metrics["g/l1"] = global_mean(l1(outputs.image, batch["target"]))
            total += self.l1_weight * metrics["g/l1"]
        if self.l2_weight:
            metrics["g/l2"] = global_mean(l2(outputs.image, batch["target"]))
            total += self.l2_weight * metrics["g/l2"]
        return total, (collections, metrics)

    def sample(
        self, generator: Variables, batch: dict[str, Any], key: Key[Array, ""]
    ) -> dict[str, Float[Array, "b h w 3"]]:
        """Evaluation mode: the picture with noise of this key, and the one without."""
        source = batch["source"]
        output = self.generator.apply(generator, source, self.noise(key, source), train=False)
        if isinstance(output, LookOutput):
            return {"image": output.image, "clean": output.clean}
        return {"image": jnp.asarray(output)}
