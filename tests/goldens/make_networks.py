"""Writes networks.npz: what PyTorch computes for the reference networks, values and gradients.

    python -m tests.goldens.make_networks

Needs PyTorch (`pip install -e '.[parity]'`); the tests that read the file do not. The networks are
built of `torch.nn` from their published descriptions, with the names of the authors' state dicts.
Inputs, weights and cotangents are functions of their names (recipe.py) and are not stored; what is
stored are digests, in PyTorch's layout: for each network one array of them all, end to end, and in
`manifest`, as JSON, their names and sizes and the shapes of inputs and weights.
"""

import json
import math
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.goldens.recipe import digest, values, weight

FILE = Path(__file__).with_name("networks.npz")


# The families of pix2pix, CycleGAN and CUT.


def norm_layer(norm: str, width: int) -> nn.Module:
    return nn.BatchNorm2d(width) if norm == "batch" else nn.InstanceNorm2d(width)


class Depthwise(nn.Module):
    """A filter on every channel by itself, after zeros between the pixels if `up`."""

    def __init__(self, taps, pads, mode, *, stride=1, up=False, gain=1.0):
        super().__init__()
        taps = torch.tensor(taps, dtype=torch.float32)
        self.kernel = gain * torch.outer(taps, taps) / taps.sum() ** 2
        self.pads, self.mode, self.stride, self.up = pads, mode, stride, up

    def forward(self, x: Tensor) -> Tensor:
        if self.up and self.mode != "constant":
            x = F.pad(x, self.pads, mode=self.mode)
        if self.up:
            b, c, h, w = x.shape
            zeros = x.new_zeros(b, c, 2 * h - 1, 2 * w - 1)
            zeros[:, :, ::2, ::2] = x
            x = zeros
        if not self.up or self.mode == "constant":
            x = F.pad(x, self.pads, mode=self.mode)
        kernel = self.kernel.expand(x.shape[1], 1, -1, -1)
        return F.conv2d(x, kernel, stride=self.stride, groups=x.shape[1])


def cut_down() -> nn.Module:
    return Depthwise([1, 2, 1], (1, 1, 1, 1), "reflect", stride=2)


def cut_up() -> nn.Module:
    return Depthwise([1, 3, 3, 1], (1, 1, 1, 1), "replicate", up=True, gain=4.0)


class Residual(nn.Module):
    def __init__(self, width: int, norm: str):
        super().__init__()
        bias = norm == "instance"
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3, bias=bias),
            norm_layer(norm, width),
            nn.ReLU(True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3, bias=bias),
            norm_layer(norm, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class Tapped(nn.Module):
    """A Sequential called `model`; what some layers give is kept, as it is at the end."""

    def __init__(self, layers: list[nn.Module] | dict[str, nn.Module], taps=()):
        super().__init__()
        named = layers if isinstance(layers, dict) else {str(i): m for i, m in enumerate(layers)}
        self.model, self.taps = nn.Sequential(OrderedDict(named)), taps

    def forward(self, x: Tensor) -> list[Tensor]:
        kept = []
        for index, layer in enumerate(self.model):
            x = layer(x)
            if index in self.taps:
                kept.append(x)
        return [x, *kept]


def resnet(width, blocks, norm, down=False, up=False, taps=()) -> nn.Module:
    bias = norm == "instance"

    def after(features: int) -> list[nn.Module]:
        # In place, as the authors': what was kept of a norm becomes what its ReLU gives.
        return [norm_layer(norm, features), nn.ReLU(True)]

    layers = [nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7, bias=bias), *after(width)]
    for n in (width, 2 * width):
        layers += [nn.Conv2d(n, 2 * n, 3, 1 if down else 2, 1, bias=bias), *after(2 * n)]
        layers += [cut_down()] if down else []
    layers += [Residual(4 * width, norm) for _ in range(blocks)]
    for n in (2 * width, width):
        if up:
            layers += [cut_up(), nn.Conv2d(2 * n, n, 3, 1, 1, bias=bias), *after(n)]
        else:
            layers += [nn.ConvTranspose2d(2 * n, n, 3, 2, 1, 1, bias=bias), *after(n)]
    layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh()]
    return Tapped(layers, taps)


class UNetLevel(nn.Module):
    def __init__(self, level: int, levels: int, width: int, norm: str):
        super().__init__()
        bias = norm == "instance"
        outer, inner = (width * min(2 ** (k - 1), 8) for k in (max(level - 1, 1), level))
        self.outermost = level == 1
        below = [UNetLevel(level + 1, levels, width, norm)] if level < levels else []
        enters = inner if level == levels else 2 * inner
        if level == 1:
            down = [nn.Conv2d(3, inner, 4, 2, 1, bias=bias)]
            up = [nn.ReLU(True), nn.ConvTranspose2d(enters, 3, 4, 2, 1), nn.Tanh()]
        else:
            down = [nn.LeakyReLU(0.2, True), nn.Conv2d(outer, inner, 4, 2, 1, bias=bias)]
            down += [norm_layer(norm, inner)] if level < levels else []
            up = [nn.ReLU(True), nn.ConvTranspose2d(enters, outer, 4, 2, 1, bias=bias)]
            up += [norm_layer(norm, outer)]
        self.model = nn.Sequential(*down, *below, *up)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x) if self.outermost else torch.cat([x, self.model(x)], 1)


class UNet(nn.Module):
    def __init__(self, levels: int, width: int, norm: str):
        super().__init__()
        self.model = UNetLevel(1, levels, width, norm)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.model(x)]


def patchgan(width, layers, norm, antialias=False, channels=3) -> nn.Module:
    bias = norm == "instance"
    blur = [cut_down()] if antialias else []
    stride = 1 if antialias else 2
    out = [nn.Conv2d(channels, width, 4, stride, 1), nn.LeakyReLU(0.2, True), *blur]
    n = width
    for k in range(1, layers + 1):
        m, last = width * min(2**k, 8), k == layers
        out += [nn.Conv2d(n, m, 4, 1 if last else stride, 1, bias=bias), norm_layer(norm, m)]
        out += [nn.LeakyReLU(0.2, True), *([] if last else blur)]
        n = m
    return Tapped([*out, nn.Conv2d(n, 1, 4, 1, 1)])


class PixelGAN(nn.Module):
    def __init__(self, width: int, norm: str):
        super().__init__()
        bias = norm == "instance"
        self.net = nn.Sequential(
            nn.Conv2d(3, width, 1),
            nn.LeakyReLU(0.2, True),
            nn.Conv2d(width, 2 * width, 1, bias=bias),
            norm_layer(norm, 2 * width),
            nn.LeakyReLU(0.2, True),
            nn.Conv2d(2 * width, 1, 1, bias=bias),
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.net(x)]


class PatchSample(nn.Module):
    def __init__(self, channels: tuple[int, ...], width: int, indices: list[list[int]]):
        super().__init__()
        self.indices = [torch.tensor(i) for i in indices]
        for j, c in enumerate(channels):
            mlp = nn.Sequential(nn.Linear(c, width), nn.ReLU(), nn.Linear(width, width))
            setattr(self, f"mlp_{j}", mlp)

    def forward(self, *features: Tensor) -> list[Tensor]:
        out = []
        for j, (x, places) in enumerate(zip(features, self.indices, strict=True)):
            x = x.permute(0, 2, 3, 1).flatten(1, 2)[:, places]
            x = getattr(self, f"mlp_{j}")(x)
            out.append(x / (x.pow(2).sum(-1, keepdim=True).pow(0.5) + 1e-7))
        return out


class PatchNCE(nn.Module):
    """One loss for each image of queries [b, p, c] and keys of the same shape."""

    def __init__(self, all_negatives: bool):
        super().__init__()
        self.all_negatives = all_negatives

    def forward(self, queries: Tensor, keys: Tensor) -> list[Tensor]:
        b, p, c = queries.shape
        keys = keys.detach()
        positive = (queries * keys).sum(-1).reshape(-1, 1)
        groups = 1 if self.all_negatives else b
        q, k = (x.reshape(groups, -1, c) for x in (queries, keys))
        negative = torch.bmm(q, k.transpose(2, 1))
        own = torch.eye(negative.shape[1], dtype=torch.bool)[None]
        negative = negative.masked_fill(own, -10.0).reshape(b * p, -1)
        logits = torch.cat([positive, negative], 1) / 0.07
        target = torch.zeros(b * p, dtype=torch.long)
        return [F.cross_entropy(logits, target, reduction="none").reshape(b, p).mean(1)]


# R3GAN and SinCUT have no files to import: their layers are called what ours are.


def stylegan_up() -> nn.Module:
    return Depthwise([1, 3, 3, 1], (2, 2, 2, 2), "constant", up=True, gain=4.0)


def stylegan_down() -> nn.Module:
    return Depthwise([1, 3, 3, 1], (1, 1, 1, 1), "constant", stride=2)


class R3Block(nn.Module):
    def __init__(self, width: int, group: int):
        super().__init__()
        self.expand = nn.Conv2d(width, 2 * width, 1)
        self.grouped = nn.Conv2d(2 * width, 2 * width, 3, 1, 1, groups=2 * width // group)
        self.reduce = nn.Conv2d(2 * width, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.leaky_relu(self.expand(x), 0.2)
        return x + self.reduce(F.leaky_relu(self.grouped(y), 0.2))


def stages(network: nn.Module, widths: tuple[int, ...], group: int, into: int) -> None:
    """Blocks, and 1x1 convolutions where the width changes: up from below (-1) or down (1)."""
    for i, width in enumerate(widths):
        setattr(network, f"stage_{i}_block_0", R3Block(width, group))
        if i and widths[i - 1] != width:
            ends = (widths[i - 1], width)[::-into]
            setattr(network, f"stage_{i}_project", nn.Conv2d(*ends, 1, bias=False))


class R3G(nn.Module):
    def __init__(self, widths, group, latent, classes, labels):
        super().__init__()
        self.labels, self.widths = torch.tensor(labels), widths
        self.classes_embedding = nn.Parameter(torch.zeros(classes, latent)) if classes else None
        self.basis = nn.Parameter(torch.zeros(widths[0], 4, 4))
        enters = 2 * latent if classes else latent
        self.latent = nn.Linear(enters, widths[0], bias=False)
        stages(self, widths, group, into=-1)
        self.image = nn.Conv2d(widths[-1], 3, 1, bias=False)
        self.up = stylegan_up()

    def forward(self, z: Tensor) -> list[Tensor]:
        if self.classes_embedding is not None:
            z = torch.cat([z, self.classes_embedding[self.labels]], 1)
        x = self.basis[None] * self.latent(z)[:, :, None, None]
        for i in range(len(self.widths)):
            if i:
                x = self.up(getattr(self, f"stage_{i}_project", nn.Identity())(x))
            x = getattr(self, f"stage_{i}_block_0")(x)
        return [self.image(x)]


class R3D(nn.Module):
    """Logits, and the squared gradient of their sum by the images (R1)."""

    def __init__(self, widths, group, classes, labels):
        super().__init__()
        self.labels, self.widths = torch.tensor(labels), widths
        self.image = nn.Conv2d(3, widths[-1], 1, bias=False)
        stages(self, widths, group, into=1)
        self.down = stylegan_down()
        self.collect = nn.Conv2d(widths[0], widths[0], 4, groups=widths[0], bias=False)
        self.logits = nn.Linear(widths[0], widths[0] if classes else 1, bias=False)
        embedding = nn.Parameter(torch.zeros(classes, widths[0])) if classes else None
        self.classes_embedding = embedding

    def forward(self, x: Tensor) -> list[Tensor]:
        h = self.image(x)
        for i in reversed(range(len(self.widths))):
            h = getattr(self, f"stage_{i}_block_0")(h)
            if i:
                h = getattr(self, f"stage_{i}_project", nn.Identity())(self.down(h))
        out = self.logits(self.collect(h).flatten(1))
        if self.classes_embedding is None:
            out = out[:, 0]
        else:
            out = (out * self.classes_embedding[self.labels]).sum(1)
        (slope,) = torch.autograd.grad(out.sum(), x, create_graph=True)
        return [out, slope.square().sum((1, 2, 3))]


class Equal(nn.Module):
    """Convolution or dense layer with run-time scale; bias and activation on demand."""

    def __init__(self, shape: tuple[int, ...], *, down=False, bias=True, act=True):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(shape))
        self.bias = nn.Parameter(torch.zeros(shape[0])) if bias else None
        pad = 2 if len(shape) == 4 and shape[2] == 3 else 1
        self.blur = Depthwise([1, 3, 3, 1], (pad,) * 4, "constant") if down else None
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        w = self.weight / math.sqrt(math.prod(self.weight.shape[1:]))
        if w.ndim == 2:
            x = F.linear(x, w)
        elif self.blur:
            x = F.conv2d(self.blur(x), w, stride=2)
        else:
            x = F.conv2d(x, w, padding=w.shape[2] // 2)
        if self.bias is not None:
            x = x + self.bias.reshape(1, -1, *[1] * (x.ndim - 2))
        return F.leaky_relu(x, 0.2) * math.sqrt(2) if self.act else x


class EqualBlock(nn.Module):
    def __init__(self, before: int, after: int, down: bool):
        super().__init__()
        self.conv_0 = Equal((before, before, 3, 3))
        self.conv_1 = Equal((after, before, 3, 3), down=down)
        skip = Equal((after, before, 1, 1), down=True, bias=False, act=False)
        self.skip = skip if down else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return (self.conv_1(self.conv_0(x)) + self.skip(x)) / math.sqrt(2)


class Styled(nn.Module):
    def __init__(self, before: int, after: int, noise: Tensor):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(after, before, 3, 3))
        self.noise_weight = nn.Parameter(torch.zeros(1))
        self.bias = nn.Parameter(torch.zeros(after))
        self.noise, self.blur = noise, Depthwise([1, 3, 3, 1], (1,) * 4, "constant", gain=4.0)

    def forward(self, x: Tensor) -> Tensor:
        w = self.weight / math.sqrt(math.prod(self.weight.shape[1:]))
        w = w * torch.rsqrt(w.square().sum((1, 2, 3), keepdim=True) + 1e-8)
        x = self.blur(F.conv_transpose2d(x, w.transpose(0, 1), stride=2))
        x = x + self.noise_weight * self.noise + self.bias[:, None, None]
        return F.leaky_relu(x, 0.2) * math.sqrt(2)


def sincut_generator(width: int, blocks: int, taps, noise: Tensor) -> nn.Module:
    layers = {"source": nn.Identity(), "stem": Equal((width, 3, 1, 1))}
    layers["down"] = EqualBlock(width, 2 * width, True)
    for part in ("encoder", "decoder"):
        for i in range(blocks):
            layers[f"{part}_{i}"] = EqualBlock(2 * width, 2 * width, False)
    layers["up"] = Styled(2 * width, width, noise)
    layers["image"] = Equal((3, width, 1, 1))
    return Tapped(layers, taps)


def sincut_discriminator(widths) -> nn.Module:
    layers: dict[str, nn.Module] = {"stem": Equal((widths[0], 3, 1, 1))}
    for i, (before, after) in enumerate(zip(widths, widths[1:], strict=False)):
        layers[f"down_{i}"] = EqualBlock(before, after, True)
    layers["last"] = Equal((widths[-1], widths[-1], 3, 3))
    layers["flat"] = nn.Flatten()
    layers["dense"] = Equal((widths[-1], 16 * widths[-1]))
    layers["logits"] = Equal((1, widths[-1]), act=False)
    return Tapped(layers)


# Name -> network, shapes of its inputs, whether it is in training mode and has gradients.
Case = tuple[nn.Module, list[tuple[int, ...]], bool]
IMAGES, WIDE = (2, 3, 16, 16), (1, 3, 36, 52)
INDICES = [[5, 0, 17, 41], [3, 2, 19, 11, 7]]
UNIT = ("r3gan", "sincut")


def cases() -> dict[str, Case]:
    table: dict[str, Case] = {
        "resnet-instance": (resnet(4, 2, "instance"), [WIDE], True),
        "resnet-batch-eval": (resnet(4, 1, "batch"), [IMAGES], False),
        "resnet-batch-train": (resnet(4, 1, "batch"), [IMAGES], True),
        "unet-instance": (UNet(4, 2, "instance"), [(2, 3, 16, 32)], True),
        "unet-batch-eval": (UNet(4, 2, "batch"), [IMAGES], False),
        "unet-batch-train": (UNet(4, 2, "batch"), [IMAGES], True),
        "patchgan-instance": (patchgan(4, 3, "instance"), [(2, 3, 32, 44)], True),
        "patchgan-batch-eval": (patchgan(4, 2, "batch"), [(2, 3, 20, 24)], False),
        "patchgan-batch-train": (patchgan(4, 2, "batch"), [(2, 3, 20, 24)], True),
        "patchgan-antialias": (patchgan(4, 3, "instance", True), [(2, 3, 33, 44)], True),
        "pixelgan-instance": (PixelGAN(8, "instance"), [(2, 3, 8, 9)], True),
        "pixelgan-batch": (PixelGAN(8, "batch"), [(2, 3, 8, 9)], True),
        "cut": (resnet(4, 1, "instance", True, True, (0, 4, 8, 12, 13)), [WIDE], True),
        "cut-plain": (resnet(4, 1, "instance", taps=(0, 4, 8, 10, 11)), [IMAGES], True),
        "cut-plain-down": (resnet(4, 1, "instance", False, True, (5, 10, 11)), [IMAGES], False),
        "cut-plain-up": (resnet(4, 1, "instance", True, False, (7, 11, 12)), [IMAGES], False),
        "patch-sample": (PatchSample((3, 8), 16, INDICES), [(2, 3, 6, 7), (2, 8, 4, 5)], True),
        "patch-nce": (PatchNCE(False), [(2, 12, 8)] * 2, True),
        "patch-nce-all": (PatchNCE(True), [(2, 12, 8)] * 2, True),
    }
    for name, classes in (("r3gan", 0), ("r3gan-classes", 5)):
        table[f"{name}-generator"] = (R3G((16, 16, 8), 4, 6, classes, [3, 1]), [(2, 6)], True)
        table[f"{name}-discriminator"] = (R3D((16, 16, 8), 4, classes, [3, 1]), [IMAGES], True)
    noise = torch.from_numpy(values("sincut-generator.noise", (2, 1, 12, 16)))
    shape = [(2, 3, 12, 16)]
    table["sincut-generator"] = (sincut_generator(4, 1, (0, 2, 3), noise), shape, True)
    table["sincut-discriminator"] = (sincut_discriminator((4, 6, 8)), [IMAGES], True)
    return table


def before_a_norm(network: nn.Module) -> set[str]:
    """Biases whose true gradient is 0: a norm takes them away again."""
    found = set()
    for prefix, module in network.named_modules():
        if isinstance(module, nn.Sequential):
            for i, after in enumerate(list(module)[1:]):
                if isinstance(after, nn.InstanceNorm2d | nn.BatchNorm2d):
                    found.add(f"{prefix}.{i}.bias")
    return found


def compute(name: str, case: Case) -> tuple[dict[str, np.ndarray], dict]:
    """Digests of everything a case is compared in, and its shapes."""
    network, shapes, train = case
    network.train(train)
    state = {
        key: torch.from_numpy(weight(f"{name}.{key}", tuple(v.shape), unit=name.startswith(UNIT)))
        for key, v in network.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    network.load_state_dict(state, strict=False)
    inputs = [torch.from_numpy(values(f"{name}.input.{i}", s)) for i, s in enumerate(shapes)]
    for x in inputs:
        x.requires_grad_(True)
    outputs = network(*inputs)
    found: dict[str, np.ndarray] = {}
    total = torch.zeros(())
    for i, out in enumerate(outputs):
        found[f"output/{i}"] = digest(out.detach().numpy())
        cotangent = values(f"{name}.cotangent.{i}", tuple(out.shape))
        total = total + (out * torch.from_numpy(cotangent)).sum()
    if train:
        total.backward()
    for i, x in enumerate(inputs):
        if x.grad is not None:
            found[f"input/{i}"] = digest(x.grad.numpy())
    skipped = before_a_norm(network)
    for key, parameter in network.named_parameters():
        if train and key not in skipped:
            assert parameter.grad is not None, key
            found[f"gradient/{key}"] = digest(parameter.grad.numpy())
    if train:
        for key, buffer in network.named_buffers():
            if "running" in key:
                found[f"after/{key}"] = digest(buffer.numpy())
    description = {
        "digests": {key: len(array) for key, array in found.items()},
        "inputs": [list(s) for s in shapes],
        "state": {key: list(v.shape) for key, v in state.items()},
    }
    return found, description


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    arrays: dict[str, np.ndarray] = {}
    manifest = {}
    for name, case in cases().items():
        found, manifest[name] = compute(name, case)
        arrays[name] = np.concatenate(list(found.values()))
    np.savez_compressed(FILE, manifest=np.array(json.dumps(manifest)), **arrays)
    print(f"{FILE}: {len(manifest)} networks, {FILE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
