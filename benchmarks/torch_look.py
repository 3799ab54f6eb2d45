"""The look generator in plain PyTorch, written from the product's docstrings.

A formulation is PyTorch's own where it has one: `grid_sample` looks up colours, a convolution with
circular padding filters the noise. Of two for the glow, a depthwise convolution and products with
band matrices, the products were the faster with their gradients.
"""

# The extra `bench` may be absent.
# pyright: reportMissingImports=false

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Look(NamedTuple):
    """The picture with grain, and the one without, NCHW in [-1, 1]."""

    image: Tensor
    clean: Tensor


class LookTables(nn.Module):
    """Trilinear 3-D LUT: the identity and `gain` times a fine table, a refined coarse one added."""

    def __init__(self, size: int, gain: float) -> None:
        super().__init__()
        self.gain = gain
        self.coarse = nn.Parameter(torch.zeros(3, 3, 3, 3))
        self.fine = nn.Parameter(torch.zeros(size, size, size, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Maps colours [b, h, w, 3]."""
        # The last coordinate belongs to the table's first axis.
        places = x.flip(-1)[None]
        coarse, fine = (table.permute(3, 0, 1, 2)[None] for table in (self.coarse, self.fine))
        volume = fine + F.interpolate(coarse, fine.shape[2:], mode="trilinear", align_corners=True)
        change = F.grid_sample(volume, places, padding_mode="border", align_corners=True)
        return x + self.gain * change[0].permute(1, 2, 3, 0)


class RadialConv(nn.Module):
    """Convolution with a weight for each distance from the centre; borders are wrapped."""

    def __init__(self, inputs: int, outputs: int, size: int) -> None:
        super().__init__()
        offsets = torch.arange(size) - size // 2
        squared = offsets[:, None] ** 2 + offsets[None, :] ** 2
        distances = torch.unique(squared[squared <= (size / 2) ** 2])
        basis = (squared[..., None] == distances).float()
        self.register_buffer("basis", basis, persistent=False)
        self.weight = nn.Parameter(torch.zeros(len(distances), inputs, outputs))
        self.edge = size // 2

    def forward(self, x: Tensor) -> Tensor:
        """Filters [b, c, h, w]."""
        kernel = torch.einsum("hwk,kio->oihw", self.basis, self.weight)
        return F.conv2d(F.pad(x, (self.edge,) * 4, mode="circular"), kernel)


class LookGenerator(nn.ModuleDict):
    """Colour part, glow part and texture part; `clean` is not clipped, as in training."""

    def __init__(
        self,
        *,
        lut_size: int,
        lut_gain: float,
        lights: int,
        reach: int,
        features: int,
        textures: int,
        texture_size: int,
        noise_channels: int,
        size: tuple[int, int],
    ) -> None:
        super().__init__(
            {
                "colour": LookTables(lut_size, lut_gain),
                "glow_in": nn.Linear(3, lights),
                "glow_mix": nn.Linear(3 * lights, 4 * lights, bias=False),
                "glow_out": nn.Linear(4 * lights, 3, bias=False),
                "texture_filter": RadialConv(noise_channels, textures, texture_size),
                "texture_hidden": nn.Linear(3, features),
                "texture_scale": nn.Linear(features, textures),
                "texture_out": nn.Linear(textures, 3, bias=False),
            }
        )
        self.noise_channels = noise_channels
        for name, side in zip(("rows", "columns"), size, strict=True):
            bands = torch.stack([_band(side, reach / k, reach) for k in (8, 4, 2)])
            self.register_buffer(name, bands, persistent=False)

    def forward(self, source: Tensor, noise: Tensor) -> Look:
        """The look on pictures [b, 3, *size] with noise [b, n, *size]."""
        x = source.permute(0, 2, 3, 1)
        clean = self["colour"](x) + self.glow(x)
        base = clean.detach()
        image = (base + self.grain(base, noise)).clamp(-1, 1)
        return Look(image.permute(0, 3, 1, 2), clean.permute(0, 3, 1, 2))

    def grain(self, clean: Tensor, noise: Tensor) -> Tensor:
        """Grain for developed pictures [b, h, w, 3], from noise [b, n, h, w]."""
        strength = self["texture_scale"](F.relu(self["texture_hidden"](clean)))
        grain = self["texture_filter"](noise).permute(0, 2, 3, 1)
        return self["texture_out"](grain * strength)

    def glow(self, x: Tensor) -> Tensor:
        """What light from the neighbours adds to [b, h, w, 3], by three Gaussians."""
        lights = F.relu(self["glow_in"](x))
        down = torch.einsum("khi,biwc->kbhwc", self.rows, lights)
        spread = torch.einsum("kwj,kbhjc->bhwkc", self.columns, down).flatten(3)
        return self["glow_out"](F.relu(self["glow_mix"](spread - lights.repeat(1, 1, 1, 3))))


def look_generator(options: Mapping[str, Any], size: tuple[int, int]) -> LookGenerator:
    """A generator with the product's options, for pictures of one (height, width)."""
    return LookGenerator(
        lut_size=options["lut_size"],
        lut_gain=options["lut_gain"],
        lights=options["glow_features"],
        reach=options["glow_reach"],
        features=options["features"],
        textures=options["texture_features"],
        texture_size=options["texture_size"],
        noise_channels=options["noise_channels"],
        size=size,
    )


def _band(size: int, sigma: float, reach: int) -> Tensor:
    """[size, size]: row i holds what the pixels weigh in pixel i, blurred by a Gaussian.

    It is cut at `reach`; borders continue with their last pixel.
    """
    offsets = torch.arange(-reach, reach + 1)
    taps = torch.exp(-0.5 * (offsets / sigma) ** 2)
    places = (torch.arange(size)[:, None] + offsets).clamp(0, size - 1)
    return torch.zeros(size, size).scatter_add_(1, places, (taps / taps.sum()).expand(size, -1))
