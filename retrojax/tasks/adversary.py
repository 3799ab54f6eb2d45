"""The critic's side of every task: a discriminator, its game, and its penalties.

Real and fake pass the discriminator separately: BatchNorm must not mix them. A conditional critic
is shown the condition beside the image; augmentation acts on both together.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Key, PyTree

from retrojax.losses import AdversarialLoss, Penalties, gradient_penalty, squared_norm
from retrojax.tasks.augmentation import diff_augment, policy_names
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
        remat: whether the critic's activations are computed again for gradients.
    """

    discriminator: nn.Module
    loss: AdversarialLoss
    penalties: Penalties = Penalties()
    weight: float = 1.0
    augment: str = ""
    remat: bool = False

    def __post_init__(self) -> None:
        """Refuses an unknown augmentation.

        Raises:
            ValueError: names it.
        """
        policy_names(self.augment)

    def judge(
        self,
        variables: Variables,
        images: Float[Array, "b h w c"],
        condition: Float[Array, "b h w s"] | None,
        key: Key[Array, ""],
        probability: Array | float = 1.0,
    ) -> tuple[Array, dict[str, PyTree]]:
        """Logits of images in training mode, and the discriminator's new collections."""
        dropout_key, augment_key = jax.random.split(key)
        if self.augment:
            given = images if condition is None else jnp.concatenate([images, condition], -1)
            given = diff_augment(augment_key, given, policy=self.augment, probability=probability)
            channels = images.shape[-1]
            images = given[..., :channels]
            condition = None if condition is None else given[..., channels:]
        args = (images,) if condition is None else (images, condition)
        return apply_training(
            self.discriminator, variables, *args, key=dropout_key, remat=self.remat
        )

    def discriminator_loss(
        self,
        variables: Variables,
        real: Float[Array, "b h w c"],
        fake: Float[Array, "b h w c"],
        key: Key[Array, ""],
        condition: Float[Array, "b h w s"] | None = None,
        *,
        penalty_factor: Array | float = 1.0,
        probability: Array | float = 1.0,
    ) -> tuple[Array, Aux]:
        """The discriminator's loss on real and generated images, plus its penalties.

        Penalties differentiate the image as it is, through the augmentation; their critic value is
        the mean of the logit map.

        Args:
            variables: the discriminator's.
            real: real images in [-1, 1].
            fake: generated ones, stopped by the caller.
            key: of dropout, augmentation and mixing weights.
            condition: shown beside the image; None = none.
            penalty_factor: multiplies the weights of R1 and R2.
            probability: of each augmentation, per example.
        """
        judge_key, penalty_key = jax.random.split(key)
        fake_key, real_key = jax.random.split(judge_key)
        weights = self.penalties

        def judged(
            variables: Variables, images: Array, key: Array, weight: float
        ) -> tuple[Array, Array, dict[str, PyTree]]:
            """Logits, R1's or R2's value of each image (0 without weight), and collections."""

            def judge(images: Array) -> tuple[Array, dict[str, PyTree]]:
                return self.judge(variables, images, condition, key, probability)

            if not weight:
                logits, collections = judge(images)
                return logits, jnp.zeros(images.shape[0]), collections
            # The penalty's gradient goes back through this very pass.
            logits, pullback, collections = jax.vjp(judge, images, has_aux=True)
            (gradients,) = pullback(jnp.full_like(logits, images.shape[0] / logits.size))
            return logits, squared_norm(gradients), collections

        fake_logits, r2, collections = judged(variables, fake, fake_key, weights.r2)
        newer = {"params": variables["params"], **collections}
        real_logits, r1, collections = judged(newer, real, real_key, weights.r1)
        adversarial = global_mean(self.loss.discriminator(real_logits, fake_logits))
        metrics = {
            "d/adversarial": adversarial,
            "d/real_logits": real_logits.mean(),
            "d/fake_logits": fake_logits.mean(),
        }
        total = self.weight * adversarial
        for name, weight, values in (("r1", weights.r1, r1), ("r2", weights.r2, r2)):
            if weight:
                metrics[f"d/{name}"] = global_mean(values)
                total += penalty_factor * weight / 2 * metrics[f"d/{name}"]
        if weights.gradient:

            def critic(images: Array) -> Array:
                logits, _ = self.judge(variables, images, condition, real_key, probability)
                return logits.mean(axis=tuple(range(1, logits.ndim)))

            value = global_mean(gradient_penalty(critic, penalty_key, real, fake))
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
        *,
        probability: Array | float = 1.0,
    ) -> tuple[Array, dict[str, PyTree]]:
        """The generator's adversarial loss, without weight, and the discriminator's collections.

        Real images are judged only for losses that need them.
        """
        fake_key, real_key = jax.random.split(key)
        fake_logits, collections = self.judge(variables, fake, condition, fake_key, probability)
        real_logits = fake_logits
        if self.loss.uses_real:
            newer = {"params": variables["params"], **collections}
            real_logits, collections = self.judge(newer, real, condition, real_key, probability)
        return global_mean(self.loss.generator(real_logits, fake_logits)), collections


@dataclass(frozen=True, kw_only=True)
class AdversarialTask:
    """What every task is made of: two networks and the game between them.

    Attributes:
        generator: the network that makes images.
        discriminator: the network of every critic.
        loss: the adversarial game.
        discriminator_weight: of each critic's adversarial loss.
        penalties: gradient penalties on the critics.
        augment: policy of DiffAugment on what a critic is given; "" = none.
        remat: whether activations of all networks are computed again when gradients need them, see
            `apply_training`: less memory, more time, the same numbers.
    """

    generator: nn.Module
    discriminator: nn.Module
    loss: AdversarialLoss
    discriminator_weight: float = 1.0
    penalties: Penalties = Penalties()
    augment: str = ""
    remat: bool = False

    def __post_init__(self) -> None:
        """Refuses what one critic's side refuses.

        Raises:
            ValueError: names it.
        """
        _ = self.adversary

    @property
    def adversary(self) -> Adversary:
        """One critic's side."""
        return Adversary(
            self.discriminator,
            self.loss,
            self.penalties,
            self.discriminator_weight,
            self.augment,
            self.remat,
        )
