"""The contrastive task: one generator, unpaired domains, content held by patches of features.

CUT (Park et al. 2020, arXiv:2007.15651), eqs. 3 to 5, and its variants as in the authors' code:
FastCUT (no identity term, weight 10, flip equivariance) and SinCUT (one image a domain, negatives
from the whole batch, L1 on the identity). The generator player is the network and the head that
projects its features; both learn with one optimiser, which for Adam is the same as two.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Int, Key, UInt8

from retrojax.losses import l1, patch_indices, patch_nce
from retrojax.tasks.adversary import AdversarialTask
from retrojax.tasks.domains import Domains
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

Batch = dict[str, Float[Array, "..."]]
Features = tuple[Float[Array, "b _h _w _c"], ...]
Projected = tuple[Float[Array, "b _p d"], ...]
PLAYERS = ("network", "head")


@dataclass(frozen=True, kw_only=True)
class ContrastiveTask(AdversarialTask):
    """Learns source -> target without pairs, one way only.

    Attributes:
        generator: `(source, noise, train=, taps=, encode_only=) -> image, features`.
        head: `(features, indices) -> projected features`.
        discriminator: an unconditional critic, `(images, train=) -> logits`.
        domains: how raw images become those of the two domains.
        layers: taps of the generator whose features are compared.
        patches: positions of each layer that are compared; all, if a map has fewer.
        temperature: of the softmax over patches.
        adversarial_weight: of the generator's adversarial loss.
        nce_weight: of PatchNCE; with `identity` half of it goes to each of the two terms.
        identity: whether target images go through the generator too and are compared with theirs.
        identity_l1_weight: of L1 between them (SinCUT: 1); needs `identity`.
        flip_equivariance: whether the generator meets mirrored sources in half of the steps, and
            its features are mirrored back (FastCUT).
        all_negatives: whether patches of all images of a batch are negatives (SinCUT), or those
            of the same image.
        initializer: of generator and critic, see `models.initializers`; "" = as the networks
            say.
    """

    head: nn.Module
    domains: Domains
    layers: tuple[int, ...] = (0, 4, 8, 12, 16)
    patches: int = 256
    temperature: float = 0.07
    adversarial_weight: float = 1.0
    nce_weight: float = 1.0
    identity: bool = True
    identity_l1_weight: float = 0.0
    flip_equivariance: bool = False
    all_negatives: bool = False
    initializer: str = "xavier"

    def __post_init__(self) -> None:
        """Refuses what the base refuses, and an L1 without what it compares.

        Raises:
            ValueError: names it.
        """
        super().__post_init__()
        if self.identity_l1_weight and not self.identity:
            raise ValueError("identity_l1_weight needs identity=True: there is nothing to compare")

    def init(self, key: Key[Array, ""], batch: Batch) -> tuple[Variables, Variables]:
        """Fresh variables; the generator's hold "network" and "head" below each collection."""
        g_key, h_key, d_key, noise_key = jax.random.split(key, 4)
        source = batch["source"]
        noise = noise_for(self.generator, noise_key, source)

        network = reinitialised(
            g_key, dict(self.generator.init(g_key, source, noise, train=False)), self.initializer
        )
        read = {"train": False, "taps": self.layers, "encode_only": True}
        features: Any = self.generator.apply(network, source, noise, **read)
        # The head starts as in CUT's code, whatever the networks are.
        head = dict(self.head.init(h_key, features, self._places(h_key, features)))
        head = reinitialised(h_key, head, "xavier")
        discriminator = reinitialised(
            d_key, dict(self.discriminator.init(d_key, source, train=False)), self.initializer
        )
        return merged({"network": network, "head": head}), discriminator

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
    ) -> tuple[dict[str, Any], Aux]:
        """Fakes, and the projected features of them and of what they were made from.

        Returns:
            "fake", "query_source" and "key_source"; with `identity` also "same", "query_target"
            and "key_target". Keys are stopped, so that only the queries teach the encoder.
        """
        players = split(generator, PLAYERS)
        flip_key, source_key, target_key = jax.random.split(key, 3)
        source = batch["source"]
        outputs: dict[str, Any] = {}
        if self.flip_equivariance:
            flip = self._flips(flip_key)
            given = mirrored(source, flip)
            outputs |= self._compare(players, given, source_key, "source", flip, source)
        else:
            outputs |= self._compare(players, source, source_key, "source")
        outputs["fake"] = outputs.pop("image")
        if self.identity:
            outputs |= self._compare(players, batch["target"], target_key, "target")
            outputs["same"] = outputs.pop("image")
        return outputs, (collections_of(merged(players)), {})

    def _compare(
        self,
        players: dict[str, Variables],
        images: Array,
        key: Array,
        name: str,
        flip: Array | None = None,
        straight: Array | None = None,
    ) -> dict[str, Any]:
        """The generator's output for images, and both sides of their PatchNCE.

        `players["network"]` gets its new collections. With `flip`, images are `straight` mirrored
        where it is true; what is compared is not mirrored.
        """
        keys = jax.random.split(key, 6)

        def run(images: Array, key: Array, **options: Any) -> Any:
            noise = noise_for(self.generator, keys[5], images)
            result, collections = apply_training(
                self.generator,
                players["network"],
                images,
                noise,
                key=key,
                remat=self.remat,
                taps=self.layers,
                **options,
            )
            players["network"] = {"params": players["network"]["params"], **collections}
            return result

        image, features = run(images, keys[0])
        if straight is not None:
            features = run(straight, keys[1], encode_only=True)
        encoded = run(image, keys[2], encode_only=True)
        if flip is not None:
            encoded = tuple(mirrored(x, flip) for x in encoded)
        places = self._places(keys[3], features)

        def project(features: Features) -> Projected:
            projected: Any = self.head.apply(players["head"], features, places)
            return tuple(x.astype(jnp.float32) for x in projected)

        return {
            "image": picture(image),
            f"query_{name}": project(encoded),
            f"key_{name}": jax.lax.stop_gradient(project(features)),
        }

    def _flips(self, key: Array) -> Array:
        return jax.random.bernoulli(key)

    def _places(self, key: Array, features: Features) -> tuple[Int[Array, "_p"], ...]:
        sizes = [x.shape[1] * x.shape[2] for x in features]
        return patch_indices(key, sizes, self.patches)

    def discriminator_loss(
        self, discriminator: Variables, outputs: dict[str, Any], batch: Batch, key: Key[Array, ""]
    ) -> tuple[Array, Aux]:
        """Adversarial loss of D on target images and fakes, plus its penalties."""
        return self.adversary.discriminator_loss(
            discriminator, batch["target"], outputs["fake"], key
        )

    def generator_loss(
        self, discriminator: Variables, outputs: dict[str, Any], batch: Batch, key: Key[Array, ""]
    ) -> tuple[Array, Aux]:
        """Adversarial loss of G plus PatchNCE, on the mean over layers."""
        adversarial, collections = self.adversary.generator_loss(
            discriminator, batch["target"], outputs["fake"], key
        )
        metrics = {"g/adversarial": adversarial}
        total = self.adversarial_weight * adversarial
        names = ("source", "target") if self.identity else ("source",)
        for name in names:
            metrics[f"g/nce_{name}"] = self._nce(outputs[f"query_{name}"], outputs[f"key_{name}"])
            total += self.nce_weight / len(names) * metrics[f"g/nce_{name}"]
        if self.identity_l1_weight:
            metrics["g/identity_l1"] = global_mean(l1(outputs["same"], batch["target"]))
            total += self.identity_l1_weight * metrics["g/identity_l1"]
        return total, (collections, metrics)

    def _nce(self, queries: Projected, keys: Projected) -> Array:
        values = [
            global_mean(
                patch_nce(q, k, temperature=self.temperature, all_negatives=self.all_negatives)
            )
            for q, k in zip(queries, keys, strict=True)
        ]
        return jnp.stack(values).mean()

    def sample(
        self, generator: Variables, batch: dict[str, Any], key: Key[Array, ""]
    ) -> dict[str, Float[Array, "b h w 3"]]:
        """Evaluation mode: "image" from "source"."""
        network = split(generator, PLAYERS[:1])["network"]
        noise = noise_for(self.generator, key, batch["source"])
        return {
            "image": picture(self.generator.apply(network, batch["source"], noise, train=False))
        }


def mirrored(x: Float[Array, "b h w c"], flip: Array) -> Float[Array, "b h w c"]:
    """The same maps left to right where `flip` is true."""
    return jnp.where(flip, x[:, :, ::-1], x)
