"""The unpaired task: two generators and two critics on two unrelated sets of images.

CycleGAN (Zhu et al. 2017, arXiv:1703.10593), eqs. 1 to 3 and the identity term of section 5.2, with
any adversarial loss. A generation is `forward` (source -> target) and `backward`; the critic
`target` judges what `forward` makes, the critic `source` what `backward` makes (in the authors'
PyTorch code G_A, G_B, D_A, D_B). Both generators are one player, both critics the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt8

from retrojax.losses import l1
from retrojax.portion import side_by_side
from retrojax.tasks.adversary import AdversarialTask
from retrojax.tasks.domains import Domains
from retrojax.tasks.image_pool import empty_pool, recall
from retrojax.tasks.players import collections_of, merged, split
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
DIRECTIONS = ("forward", "backward")
SIDES = ("target", "source")


@dataclass(frozen=True, kw_only=True)
class UnpairedTask(AdversarialTask):
    """Learns source -> target and target -> source without pairs.

    Attributes:
        generator: the network of both directions, `(source, noise, train=) -> image`.
        discriminator: the network of both critics, `(images, train=) -> logits`.
        domains: how raw images become those of the two domains.
        adversarial_weight: of each generator's adversarial loss.
        cycle_weight: of L1 between an image and its way there and back.
        identity_weight: of L1 between a generator's output on its own target domain and its
            input; 0 = that pass is not made.
        pool_size: images kept of each critic's fakes; 0 = critics see the newest only.
        initializer: of all weights, see `models.initializers`; "" = as the networks say.
    """

    domains: Domains
    adversarial_weight: float = 1.0
    cycle_weight: float = 10.0
    identity_weight: float = 5.0
    pool_size: int = 50
    initializer: str = ""

    def init(self, key: Key[Array, ""], batch: Batch) -> tuple[Variables, Variables]:
        """Fresh variables of both players, each with the two networks' names below the collections.

        The discriminator has a further collection "pool".
        """
        keys = jax.random.split(key, 6)
        source = batch["source"]
        noise = noise_for(self.generator, keys[0], source)
        generator = {
            name: reinitialised(
                k, dict(self.generator.init(k, source, noise, train=False)), self.initializer
            )
            for name, k in zip(DIRECTIONS, keys[1:3], strict=True)
        }
        critics = {
            name: reinitialised(
                k, dict(self.discriminator.init(k, source, train=False)), self.initializer
            )
            for name, k in zip(SIDES, keys[3:5], strict=True)
        }
        discriminator = merged(critics)
        if self.pool_size:
            discriminator["pool"] = {
                name: empty_pool(self.pool_size, source.shape[1:]) for name in SIDES
            }
        return merged(generator), discriminator

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
    ) -> tuple[dict[str, Float[Array, "b h w 3"]], Aux]:
        """Fakes, ways there and back, and identities.

        With collections (BatchNorm's statistics) each generator's passes are in P2P's order.
        Without them a network is taken to treat each example by itself.
        """
        players = split(generator, DIRECTIONS)
        keys = iter(jax.random.split(key, 6))

        def apply(name: str, images: Array) -> Array:
            noise_key, dropout_key = jax.random.split(next(keys))
            noise = noise_for(self.generator, noise_key, images)
            image, collections = apply_training(
                self.generator, players[name], images, noise, key=dropout_key, remat=self.remat
            )
            players[name] = {"params": players[name]["params"], **collections}
            return picture(image)

        source, target = batch["source"], batch["target"]
        if self.identity_weight and not collections_of(generator):
            # No statistics of batches: one pass for two is fewer operations, of more work each.
            forward, backward = (partial(apply, name) for name in DIRECTIONS)
            fake_target, same_target = side_by_side(forward, source, target)
            fake_source, same_source = side_by_side(backward, target, source)
            outputs = {
                "fake_target": fake_target,
                "cycled_source": backward(fake_target),
                "fake_source": fake_source,
                "cycled_target": forward(fake_source),
                "same_target": same_target,
                "same_source": same_source,
            }
            return outputs, ({}, {})
        outputs = {"fake_target": apply("forward", source)}
        outputs["cycled_source"] = apply("backward", outputs["fake_target"])
        outputs["fake_source"] = apply("backward", target)
        outputs["cycled_target"] = apply("forward", outputs["fake_source"])
        if self.identity_weight:
            outputs["same_target"] = apply("forward", target)
            outputs["same_source"] = apply("backward", source)
        return outputs, (collections_of(merged(players)), {})

    def discriminator_loss(
        self,
        discriminator: Variables,
        outputs: dict[str, Array],
        batch: Batch,
        key: Key[Array, ""],
    ) -> tuple[Array, Aux]:
        """Both critics' losses, added, on real images and on fakes from their pools."""
        critics = split({k: v for k, v in discriminator.items() if k != "pool"}, SIDES)
        pool = dict(discriminator.get("pool", {}))
        total, metrics = jnp.zeros(()), {}
        for name, side_key in zip(SIDES, jax.random.split(key), strict=True):
            pool_key, judge_key = jax.random.split(side_key)
            fake = outputs[f"fake_{name}"]
            if self.pool_size:
                fake, pool[name] = recall(pool[name], fake, pool_key)
            loss, (collections, said) = self.adversary.discriminator_loss(
                critics[name], batch[name], fake, judge_key
            )
            critics[name] = {"params": critics[name]["params"], **collections}
            total += loss
            metrics |= {f"{metric}_{name}": value for metric, value in said.items()}
        after = collections_of(merged(critics))
        return total, ({**after, "pool": pool} if self.pool_size else after, metrics)

    def generator_loss(
        self,
        discriminator: Variables,
        outputs: dict[str, Array],
        batch: Batch,
        key: Key[Array, ""],
    ) -> tuple[Array, Aux]:
        """Both generators' adversarial losses, the cycles and the identities, added."""
        pool = {k: v for k, v in discriminator.items() if k == "pool"}
        critics = split({k: v for k, v in discriminator.items() if k != "pool"}, SIDES)
        total, metrics = jnp.zeros(()), {}
        for name, side_key in zip(SIDES, jax.random.split(key), strict=True):
            value, collections = self.adversary.generator_loss(
                critics[name], batch[name], outputs[f"fake_{name}"], side_key
            )
            critics[name] = {"params": critics[name]["params"], **collections}
            metrics[f"g/adversarial_{name}"] = value
            total += self.adversarial_weight * value
            metrics[f"g/cycle_{name}"] = global_mean(l1(outputs[f"cycled_{name}"], batch[name]))
            total += self.cycle_weight * metrics[f"g/cycle_{name}"]
            if self.identity_weight:
                value = global_mean(l1(outputs[f"same_{name}"], batch[name]))
                metrics[f"g/identity_{name}"] = value
                total += self.identity_weight * value
        return total, ({**collections_of(merged(critics)), **pool}, metrics)

    def sample(
        self, generator: Variables, batch: dict[str, Any], key: Key[Array, ""]
    ) -> dict[str, Float[Array, "b h w 3"]]:
        """Evaluation mode: "image" from "source"; "reverse" from "target" if the batch has it."""
        players = split(generator, DIRECTIONS)
        images = {}
        for name, player, given in zip(
            ("image", "reverse"), players.values(), ("source", "target"), strict=True
        ):
            if given in batch:
                noise = noise_for(self.generator, key, batch[given])
                output = self.generator.apply(player, batch[given], noise, train=False)
                images[name] = picture(output)
        return images


def one_direction(generator: Variables, name: str) -> Variables:
    """One generator's own variables: `name` is "forward" or "backward"."""
    return split(generator, DIRECTIONS)[name]
