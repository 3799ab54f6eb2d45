"""The general networks in plain PyTorch, written from their papers and the product's docstrings.

Contract: images NCHW in [-1, 1], in the memory format channels_last. Layers have the names that
the product's have, so that weights are handed over by name (`torch_weights.py`).
"""

# The extra `bench` may be absent.
# pyright: reportMissingImports=false

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def instance_norm(x: Tensor) -> Tensor:
    """No parameters, epsilon 1e-5.

    With one image it is the batch's norm; PyTorch's own (2.14, CPU) has wrong gradients there when
    they come in channels_last.
    """
    return F.batch_norm(x, None, None, training=True) if len(x) == 1 else F.instance_norm(x)


class DocumentGenerator(nn.ModuleDict):
    """Noise -> image of 4 `base` pixels: dense, transposed 5x5 of stride 1, 2, 2, tanh.

    "Same" padding puts the odd zero at the end, PyTorch's `padding=2, output_padding=1` at the
    start: these networks see the mirror image of the product's, with mirrored weights.
    """

    latent_size = 100

    def __init__(self, base: int) -> None:
        super().__init__(
            {
                "dense": nn.Linear(self.latent_size, base * base * 256, bias=False),
                "dense_norm": nn.BatchNorm1d(base * base * 256, eps=1e-3, momentum=0.01),
                "up_0": nn.ConvTranspose2d(256, 128, 5, 1, 2, bias=False),
                "up_0_norm": nn.BatchNorm2d(128, eps=1e-3, momentum=0.01),
                "up_1": nn.ConvTranspose2d(128, 64, 5, 2, 2, 1, bias=False),
                "up_1_norm": nn.BatchNorm2d(64, eps=1e-3, momentum=0.01),
                "image": nn.ConvTranspose2d(64, 3, 5, 2, 2, 1, bias=False),
            }
        )
        self.base = base

    def forward(self, z: Tensor) -> Tensor:
        """Images from standard normal [b, 100]."""
        x = F.leaky_relu(self["dense_norm"](self["dense"](z)), 0.3)
        x = x.view(-1, self.base, self.base, 256).permute(0, 3, 1, 2)
        for name in ("up_0", "up_1"):
            x = F.leaky_relu(self[f"{name}_norm"](self[name](x)), 0.3)
        return torch.tanh(self["image"](x).float())


class DocumentDiscriminator(nn.ModuleDict):
    """Image -> one logit: two 5x5 convolutions of stride 2, LeakyReLU 0.3 and dropout, dense."""

    def __init__(self, size: int, dropout: float) -> None:
        super().__init__(
            {
                "conv_0": nn.Conv2d(3, 64, 5, 2, 2),
                "conv_1": nn.Conv2d(64, 128, 5, 2, 2),
                "logits": nn.Linear(128 * (size // 4) ** 2, 1),
            }
        )
        self.dropout = dropout

    def forward(self, images: Tensor) -> Tensor:
        """Logits [b]."""
        x = images
        for name in ("conv_0", "conv_1"):
            x = F.dropout(F.leaky_relu(self[name](x), 0.3), self.dropout)
        # Flattened as it lies in memory, row by row with the channels last.
        return self["logits"](x.permute(0, 2, 3, 1).flatten(1))[:, 0].float()


class DCGANGenerator(nn.ModuleDict):
    """Noise -> 64x64 image: transposed 4x4 convolutions from one pixel, BatchNorm, ReLU; tanh."""

    latent_size = 100

    def __init__(self, features: int) -> None:
        super().__init__()
        width = self.latent_size
        for i, factor in enumerate((8, 4, 2, 1)):
            stride, padding = (2, 1) if i else (1, 0)
            out = features * factor
            self[f"up_{i}"] = nn.ConvTranspose2d(width, out, 4, stride, padding, bias=False)
            self[f"norm_{i}"] = nn.BatchNorm2d(out)
            width = out
        self["image"] = nn.ConvTranspose2d(width, 3, 4, 2, 1, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        """Images from standard normal [b, 100]."""
        x = z[:, :, None, None]
        for i in range(4):
            x = F.relu(self[f"norm_{i}"](self[f"up_{i}"](x)))
        return torch.tanh(self["image"](x).float())


class DCGANDiscriminator(nn.ModuleDict):
    """64x64 image -> one logit: 4x4 convolutions of stride 2, BatchNorm, LeakyReLU 0.2."""

    def __init__(self, features: int) -> None:
        super().__init__()
        width = 3
        for i in range(4):
            self[f"conv_{i}"] = nn.Conv2d(width, features * 2**i, 4, 2, 1, bias=False)
            width = features * 2**i
            if i:
                self[f"norm_{i}"] = nn.BatchNorm2d(width)
        self["logits"] = nn.Conv2d(width, 1, 4, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [b]."""
        x = F.leaky_relu(self["conv_0"](images), 0.2)
        for i in (1, 2, 3):
            x = F.leaky_relu(self[f"norm_{i}"](self[f"conv_{i}"](x)), 0.2)
        return self["logits"](x)[:, 0, 0, 0].float()


class UNet(nn.ModuleDict):
    """pix2pix's generator: 4x4 halvings to the bottom, as many doublings, skips first in the join.

    Dropout acts on the way up in levels 5 .. levels - 1.
    """

    def __init__(self, features: int, levels: int, dropout: float) -> None:
        super().__init__()
        self.levels, self.dropout = levels, dropout
        widths = [features * min(2**level, 8) for level in range(levels)]
        for level in range(1, levels + 1):
            inputs = widths[level - 2] if level > 1 else 3
            self[f"down_{level}"] = nn.Conv2d(inputs, widths[level - 1], 4, 2, 1, bias=False)
            if 1 < level < levels:
                self[f"down_{level}_norm"] = nn.BatchNorm2d(widths[level - 1])
        for level in range(levels, 1, -1):
            inputs, out = widths[level - 1] * (1 if level == levels else 2), widths[level - 2]
            self[f"up_{level}"] = nn.ConvTranspose2d(inputs, out, 4, 2, 1, bias=False)
            self[f"up_{level}_norm"] = nn.BatchNorm2d(out)
        self["image"] = nn.ConvTranspose2d(2 * features, 3, 4, 2, 1)

    def forward(self, source: Tensor) -> Tensor:
        """Translated images."""
        x, skips = self["down_1"](source), []
        for level in range(2, self.levels + 1):
            skips.append(x)
            x = self[f"down_{level}"](F.leaky_relu(x, 0.2))
            if level < self.levels:
                x = self[f"down_{level}_norm"](x)
        for level in range(self.levels, 1, -1):
            x = self[f"up_{level}_norm"](self[f"up_{level}"](F.relu(x)))
            if 5 <= level < self.levels:
                x = F.dropout(x, self.dropout)
            x = torch.cat([skips.pop(), x], 1)
        return torch.tanh(self["image"](F.relu(x)).float())


class ResNet(nn.ModuleDict):
    """CycleGAN's generator: 7x7 stem, two halvings, residual blocks, two doublings, 7x7, tanh."""

    def __init__(self, features: int, blocks: int) -> None:
        super().__init__()
        self.blocks = blocks
        self["stem"] = nn.Conv2d(3, features, 7)
        self["down_0"] = nn.Conv2d(features, 2 * features, 3, 2, 1)
        self["down_1"] = nn.Conv2d(2 * features, 4 * features, 3, 2, 1)
        for i in range(blocks):
            for j in (0, 1):
                self[f"block_{i}_conv_{j}"] = nn.Conv2d(4 * features, 4 * features, 3)
        self["up_0"] = nn.ConvTranspose2d(4 * features, 2 * features, 3, 2, 1, 1)
        self["up_1"] = nn.ConvTranspose2d(2 * features, features, 3, 2, 1, 1)
        self["image"] = nn.Conv2d(features, 3, 7)

    def forward(self, source: Tensor) -> Tensor:
        """Translated images."""
        x = F.relu(instance_norm(self["stem"](_reflected(source, 3))))
        for name in ("down_0", "down_1"):
            x = F.relu(instance_norm(self[name](x)))
        for i in range(self.blocks):
            y = F.relu(instance_norm(self[f"block_{i}_conv_0"](_reflected(x, 1))))
            x = x + instance_norm(self[f"block_{i}_conv_1"](_reflected(y, 1)))
        for name in ("up_0", "up_1"):
            x = F.relu(instance_norm(self[name](x)))
        return torch.tanh(self["image"](_reflected(x, 3)).float())


class PatchGAN(nn.ModuleDict):
    """Logits for patches: `layers` convolutions of stride 2, two of stride 1, LeakyReLU 0.2.

    With `detail`, the input gets further channels: its difference from its 5x5 binomial blur, so
    many times amplified.
    """

    taps: Tensor

    def __init__(
        self, inputs: int, features: int, layers: int, kernel: int, norm: str, detail: float
    ) -> None:
        super().__init__()
        self.layers, self.norm, self.detail = layers, norm, detail
        pad = (kernel - 1) // 2
        inputs *= 2 if detail else 1
        if detail:
            taps = torch.tensor([1.0, 2.0, 1.0]) / 4
            self.register_buffer("taps", torch.outer(taps, taps), persistent=False)
        self["conv_0"] = nn.Conv2d(inputs, features, kernel, 2, pad)
        width = features
        for i in range(1, layers + 1):
            out, stride = features * min(2**i, 8), 2 if i < layers else 1
            biased = norm == "instance"
            self[f"conv_{i}"] = nn.Conv2d(width, out, kernel, stride, pad, bias=biased)
            if norm == "batch":
                self[f"norm_{i}"] = nn.BatchNorm2d(out)
            width = out
        self["logits"] = nn.Conv2d(width, 1, kernel, 1, pad)

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """Logits [b, h, w]."""
        x = images if condition is None else torch.cat([condition, images], 1)
        if self.detail:
            x = torch.cat([x, self.detail * (x - self._blurred(self._blurred(x)))], 1)
        x = F.leaky_relu(self["conv_0"](x), 0.2)
        for i in range(1, self.layers + 1):
            norm = instance_norm if self.norm == "instance" else self[f"norm_{i}"]
            x = F.leaky_relu(norm(self[f"conv_{i}"](x)), 0.2)
        return self["logits"](x)[:, 0].float()

    def _blurred(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        kernel = self.taps.to(x.dtype).expand(channels, 1, 3, 3)
        # Not `F.pad(mode="replicate")`: torch.compile (2.14) fails on its gradient, channels_last.
        x = torch.cat([x[:, :, :1], x, x[:, :, -1:]], 2)
        x = torch.cat([x[..., :1], x, x[..., -1:]], 3)
        return F.conv2d(x, kernel, groups=channels)


def _reflected(x: Tensor, width: int) -> Tensor:
    return F.pad(x, (width,) * 4, mode="reflect")
