"""What is learned, in plain PyTorch: the players of each kind of game and their losses.

Contract: `generate` makes everything that needs the generator; `stopped` is what the discriminator
is shown of it; both losses return the scalar to minimise and its parts, by the product's names.
"""

# The extra `bench` may be absent.
# pyright: reportMissingImports=false

import random
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.torch_look import look_generator
from benchmarks.torch_networks import (
    DCGANDiscriminator,
    DCGANGenerator,
    DocumentDiscriminator,
    DocumentGenerator,
    PatchGAN,
    ResNet,
    UNet,
)

Images = dict[str, Tensor]
Losses = tuple[Tensor, dict[str, Tensor]]
Settings = Mapping[str, Mapping[str, Any]]


def _bce(logits: Tensor, real: bool) -> Tensor:
    wanted = torch.ones_like(logits) if real else torch.zeros_like(logits)
    return F.binary_cross_entropy_with_logits(logits, wanted)


def _least_squares(logits: Tensor, real: bool) -> Tensor:
    return 0.5 * (logits - float(real)).square().mean()


# Each says how far logits are from those of real, or of generated, images.
GAMES = {"bce": _bce, "lsgan": _least_squares}


class Generation:
    """Noise -> image: the document's networks and DCGAN's."""

    def __init__(self, model: str, loss: str, settings: Settings, device: torch.device) -> None:
        generator, critic = settings["generator"], settings["discriminator"]
        if model == "document":
            base = generator["base"]
            self.generator: nn.Module = DocumentGenerator(base).to(device)
            self.critic: nn.Module = DocumentDiscriminator(4 * base, critic["dropout"]).to(device)
        else:
            self.generator = DCGANGenerator(generator["features"]).to(device)
            self.critic = DCGANDiscriminator(critic["width"]).to(device)
        self.latent_size = generator["latent_size"]
        self.weight = settings["task"]["discriminator_weight"]
        self.distance = GAMES[loss]

    def start(self) -> None:
        """Nothing is remembered between steps."""

    def draw(self, batch: Images) -> Images:
        """Latents."""
        real = batch["real"]
        return {"latent": torch.randn(len(real), self.latent_size, device=real.device)}

    def generate(self, batch: Images, drawn: Images) -> Images:
        """Fakes."""
        return {"fake": self.generator(drawn["latent"])}

    def stopped(self, outputs: Images) -> Images:
        """The same, without gradients."""
        return {"fake": outputs["fake"].detach()}

    def discriminator_loss(self, outputs: Images, batch: Images) -> Losses:
        """On fakes, then on real images."""
        fake, real = self.critic(outputs["fake"]), self.critic(batch["real"])
        value = self.distance(real, True) + self.distance(fake, False)
        return self.weight * value, {"d/adversarial": value}

    def generator_loss(self, outputs: Images, batch: Images) -> Losses:
        """Of fakes taken for real."""
        value = self.distance(self.critic(outputs["fake"]), True)
        return value, {"g/adversarial": value}


class Paired:
    """Source -> target: pix2pix and the look."""

    def __init__(self, model: str, loss: str, settings: Settings, device: torch.device) -> None:
        task, options = settings["task"], settings["generator"]
        if model == "look":
            size = (task["crop"], task["crop"])
            self.generator: nn.Module = look_generator(options, size).to(device)
        else:
            self.generator = UNet(options["features"], options["levels"], options["dropout"])
            self.generator.to(device)
        self.critic: nn.Module = _patchgan(6, settings).to(device)
        self.noise_channels = options["noise_channels"]
        self.task, self.distance = task, GAMES[loss]
        taps = torch.ones(1)
        for _ in range(task["blur_size"] - 1):
            taps = F.pad(taps, (1, 0)) + F.pad(taps, (0, 1))
        self.blur = (torch.outer(taps, taps) / taps.sum() ** 2).expand(3, 1, -1, -1).to(device)

    def start(self) -> None:
        """Nothing is remembered between steps."""

    def draw(self, batch: Images) -> Images:
        """The noise beside the source, if the generator takes any."""
        if not self.noise_channels:
            return {}
        source = batch["source"]
        shape = (len(source), *source.shape[2:], self.noise_channels)
        return {"noise": torch.randn(shape, device=source.device).permute(0, 3, 1, 2)}

    def generate(self, batch: Images, drawn: Images) -> Images:
        """The picture, and the one without noise where the network has it."""
        if self.noise_channels:
            look = self.generator(batch["source"], drawn["noise"])
            return {"image": look.image, "clean": look.clean}
        image = self.generator(batch["source"])
        return {"image": image, "clean": image}

    def stopped(self, outputs: Images) -> Images:
        """The same, without gradients."""
        return {"image": outputs["image"].detach()}

    def discriminator_loss(self, outputs: Images, batch: Images) -> Losses:
        """On fakes, then on targets, each beside its source."""
        fake = self.critic(outputs["image"], batch["source"])
        real = self.critic(batch["target"], batch["source"])
        value = self.distance(real, True) + self.distance(fake, False)
        return self.task["discriminator_weight"] * value, {"d/adversarial": value}

    def generator_loss(self, outputs: Images, batch: Images) -> Losses:
        """Of fakes taken for real, and of reconstruction."""
        value = self.distance(self.critic(outputs["image"], batch["source"]), True)
        total, parts = self.task["adversarial_weight"] * value, {"g/adversarial": value}
        if self.task["blurred_l1_weight"]:
            off = F.conv2d(outputs["clean"] - batch["target"], self.blur, groups=3)
            parts["g/blurred_l1"] = off.abs().mean()
            total = total + self.task["blurred_l1_weight"] * parts["g/blurred_l1"]
        if self.task["l1_weight"]:
            parts["g/l1"] = F.l1_loss(outputs["image"], batch["target"])
            total = total + self.task["l1_weight"] * parts["g/l1"]
        return total, parts


class Unpaired:
    """Two domains: CycleGAN with its two generators, two critics and their pools of fakes."""

    def __init__(self, model: str, loss: str, settings: Settings, device: torch.device) -> None:
        options = settings["generator"]
        self.generator = nn.ModuleDict(
            {
                name: ResNet(options["features"], options["blocks"])
                for name in ("to_target", "to_source")
            }
        ).to(device)
        self.critic = nn.ModuleDict(
            {name: _patchgan(3, settings) for name in ("target", "source")}
        ).to(device)
        self.task, self.distance = settings["task"], GAMES[loss]

    def start(self) -> None:
        """Empties the pools."""
        self.pools: dict[str, list[Tensor]] = {"target": [], "source": []}

    def draw(self, batch: Images) -> Images:
        """Nothing."""
        return {}

    def generate(self, batch: Images, drawn: Images) -> Images:
        """Fakes, ways there and back, identities."""
        there, back = self.generator["to_target"], self.generator["to_source"]
        outputs = {"fake_target": there(batch["source"])}
        outputs["cycled_source"] = back(outputs["fake_target"])
        outputs["fake_source"] = back(batch["target"])
        outputs["cycled_target"] = there(outputs["fake_source"])
        outputs["same_target"] = there(batch["target"])
        outputs["same_source"] = back(batch["source"])
        return outputs

    def stopped(self, outputs: Images) -> Images:
        """Fakes from the pools, without gradients."""
        return {
            f"fake_{name}": self._from_pool(pool, outputs[f"fake_{name}"].detach())
            for name, pool in self.pools.items()
        }

    def discriminator_loss(self, outputs: Images, batch: Images) -> Losses:
        """Of both critics, added."""
        parts = {}
        for name, critic in self.critic.items():
            fake, real = critic(outputs[f"fake_{name}"]), critic(batch[name])
            parts[f"d/adversarial_{name}"] = self.distance(real, True) + self.distance(fake, False)
        return self.task["discriminator_weight"] * torch.stack([*parts.values()]).sum(), parts

    def generator_loss(self, outputs: Images, batch: Images) -> Losses:
        """Of both generators: fakes taken for real, cycles and identities."""
        weights = {
            name: self.task[f"{name}_weight"] for name in ("adversarial", "cycle", "identity")
        }
        total, parts = torch.zeros((), device=batch["source"].device), {}
        for name, critic in self.critic.items():
            found = {
                "adversarial": self.distance(critic(outputs[f"fake_{name}"]), True),
                "cycle": F.l1_loss(outputs[f"cycled_{name}"], batch[name]),
                "identity": F.l1_loss(outputs[f"same_{name}"], batch[name]),
            }
            total = total + sum(weights[part] * value for part, value in found.items())
            parts |= {f"g/{part}_{name}": value for part, value in found.items()}
        return total, parts

    def _from_pool(self, pool: list[Tensor], images: Tensor) -> Tensor:
        """Half of the time an older fake, which the new one replaces, once the pool is full."""
        shown = []
        for image in images:
            if len(pool) < self.task["pool_size"]:
                pool.append(image)
                shown.append(image)
            elif random.random() > 0.5:
                place = random.randrange(len(pool))
                shown.append(pool[place])
                pool[place] = image
            else:
                shown.append(image)
        return torch.stack(shown).contiguous(memory_format=torch.channels_last)


def make(model: str, loss: str, settings: Settings, device: torch.device) -> Any:
    """The game of a model, with fresh networks."""
    kinds = {"document": Generation, "dcgan64": Generation, "cyclegan": Unpaired}
    return kinds.get(model, Paired)(model, loss, settings, device)


def _patchgan(channels: int, settings: Settings) -> PatchGAN:
    options = settings["discriminator"]
    return PatchGAN(
        channels,
        options["features"],
        options["layers"],
        options["kernel_size"],
        options["norm"],
        options["detail"],
    )
