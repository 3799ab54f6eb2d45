"""The critic's side of every task: a discriminator, its game, and its penalties.

Real and fake pass the discriminator separately: BatchNorm must not mix them. A conditional critic
is shown the condition beside the image; augmentation acts on both together.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Key, PyTree

from retrojax.losses import AdversarialLoss, Penalties, gradient_penalty, zero_centred_penalty
from retrojax.tasks.augmentation import diff_augment
from retrojax.tasks.task import Aux, Variables, apply_training, global_mean


@dataclass(frozen=True)
class Adversary:
    """How one discriminator judges.

    Attributes:
        discriminator: `(images, [condition,] train=) -> logits`.
        loss: the adversarial game.
        penalties: gradient penalties on the discriminator.
        weight: of the discriminator's adversarial loss.
        augment: policy of DiffAugment on what the critic is given, see `diff_augment`; "" = none.
    """

    discriminator: nn.Module
    loss: AdversarialLoss
    penalties: Penalties = Penalties()
    weight: float = 1.0
    augment: str = ""

    def judge(
        self,
        variables: Variables,
        images: Float[Array, "b h w c"],
        condition: Float[Array, "b h w s"] | None,
        key: Key[Array, ""],
    ) -> tuple[Array, dict[str, PyTree]]:
        """Logits of images in training mode, and the discriminator's new collections."""
        dropout_key, augment_key = jax.random.split(key)
        if self.augment:
            given = images if condition is None else jnp.concatenate([images, condition], -1)
            given = diff_augment(augment_key, given, policy=self.augment)
            channels = images.shape[-1]
            images = given[..., :channels]
            condition = None if condition is None else given[..., channels:]
        args = (images,) if condition is None else (images, condition)
        return apply_training(self.discriminator, variables, *args, key=dropout_key)

    def discriminator_loss(
        self,
        variables: Variables,
        real: Float[Array, "b h w c"],
        fake: Float[Array, "b h w c"],
        key: Key[Array, ""],
        condition: Float[Array, "b h w s"] | None = None,
    ) -> tuple[Array, Aux]:
        """The discriminator's loss on real and generated images, plus its penalties.

        Penalties differentiate the image as it is, through the augmentation; their critic value is
        the mean of the logit map.
        """
        judge_key, penalty_key = jax.random.split(key)
        fake_key, real_key = jax.random.split(judge_key)
        fake_logits, collections = self.judge(variables, fake, condition, fake_key)
        newer = {"params": variables["params"], **collections}
        real_logits, collections = self.judge(newer, real, condition, real_key)
        adversarial = global_mean(self.loss.discriminator(real_logits, fake_logits))
        metrics = {
            "d/adversarial": adversarial,
            "d/real_logits": real_logits.mean(),
            "d/fake_logits": fake_logits.mean(),
        }
        total = self.weight * adversarial

        def critic(images: Array, key: Key[Array, ""]) -> Array:
            logits, _ = self.judge(variables, images, condition, key)
            return logits.mean(axis=tuple(range(1, logits.ndim)))

        # Each penalty draws what its images' logits above have drawn: XLA then keeps one pass.
        judged_real, judged_fake = partial(critic, key=real_key), partial(critic, key=fake_key)
        weights = self.penalties
        if weights.r1:
            metrics["d/r1"] = global_mean(zero_centred_penalty(judged_real, real))
            total += weights.r1 / 2 * metrics["d/r1"]
        if weights.r2:
            metrics["d/r2"] = global_mean(zero_centred_penalty(judged_fake, fake))
            total += weights.r2 / 2 * metrics["d/r2"]
        if weights.gradient:
            value = global_mean(gradient_penalty(judged_real, penalty_key, real, fake))
            metrics["d/gradient_penalty"] = value
            total += weights.gradient * value
        return total, (collections, metrics)

    def generator_loss(
        self,
        variables: Variables,
        real: Float[Array, "b h w c"],
        fake: Float[Array, "b h w c"],
        key: Key[Array, ""],
        condition: Float[Array, "b h w s"] | None = None,
    ) -> tuple[Array, dict[str, PyTree]]:
        """The generator's adversarial loss, without weight, and the discriminator's collections.

        Real images are judged only for losses that need them.
        """
        fake_key, real_key = jax.random.split(key)
        fake_logits, collections = self.judge(variables, fake, condition, fake_key)
        real_logits = fake_logits
        if self.loss.uses_real:
            newer = {"params": variables["params"], **collections}
            real_logits, collections = self.judge(newer, real, condition, real_key)
        return global_mean(self.loss.generator(real_logits, fake_logits)), collections
