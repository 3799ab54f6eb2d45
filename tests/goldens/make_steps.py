"""Writes steps.npz: one optimiser step of each published algorithm, as PyTorch makes it.

    python -m tests.goldens.make_steps

Needs PyTorch (`pip install -e '.[parity]'`); the test that reads the file does not. Networks are
those of make_networks.py; images, weights, latents and places are functions of their names
(recipe.py). Of each case the file holds the losses before each update, and each parameter's change
in thousandths of the learning rate.
"""

import json
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.goldens.make_networks import (
    R3D,
    R3G,
    PatchNCE,
    PatchSample,
    UNet,
    before_a_norm,
    patchgan,
    resnet,
    sincut_discriminator,
    sincut_generator,
)
from tests.goldens.recipe import pictures, places, values, weight

FILE = Path(__file__).with_name("steps.npz")
TAPS = (0, 4, 8, 12)
Losses = dict[str, float]
Networks = dict[str, nn.Module]


def load(case: str, networks: Networks) -> None:
    for name, network in networks.items():
        unit = case == "sincut" and name != "head"
        state = {
            key: torch.from_numpy(weight(f"{case}.{name}.{key}", tuple(v.shape), unit=unit))
            for key, v in network.state_dict().items()
            if not key.endswith("num_batches_tracked")
        }
        network.load_state_dict(state, strict=False)
        network.train()


def images(case: str, name: str, count: int) -> Tensor:
    raw = pictures(f"{case}.{name}", (count, 16, 16, 3))
    return torch.from_numpy(raw.astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2)


def adam(rate: float, betas: tuple[float, float], *networks: nn.Module) -> torch.optim.Adam:
    return torch.optim.Adam(chain(*(n.parameters() for n in networks)), rate, betas)


def update(optimizer: torch.optim.Adam, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def least_squares(logits: Tensor, real: bool) -> Tensor:
    return F.mse_loss(logits, torch.full_like(logits, float(real)))


def cross_entropy(logits: Tensor, real: bool) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


def pix2pix(case: str) -> tuple[Networks, Losses, float]:
    """D first; then G through the updated D, on the same fakes."""
    nets: Networks = {
        "generator": UNet(2, 4, "batch"),
        "discriminator": patchgan(4, 1, "batch", channels=6),
    }
    load(case, nets)
    g, d = nets.values()
    g_adam, d_adam = (adam(2e-4, (0.5, 0.999), n) for n in (g, d))
    a, b = images(case, "source", 2), images(case, "target", 2)
    fake = g(a)[0]
    d_loss = 0.5 * (
        cross_entropy(d(torch.cat([a, fake.detach()], 1))[0], False)
        + cross_entropy(d(torch.cat([a, b], 1))[0], True)
    )
    update(d_adam, d_loss)
    g_loss = cross_entropy(d(torch.cat([a, fake], 1))[0], True) + 100 * F.l1_loss(fake, b)
    update(g_adam, g_loss)
    return nets, {"discriminator": d_loss.item(), "generator": g_loss.item()}, 2e-4


def cyclegan(case: str) -> tuple[Networks, Losses, float]:
    """G against the old D; then D on the fakes of before G's update (the pool is still filling)."""
    nets: Networks = {
        "forward": resnet(4, 1, "instance"),
        "backward": resnet(4, 1, "instance"),
        "target": patchgan(4, 1, "instance"),
        "source": patchgan(4, 1, "instance"),
    }
    load(case, nets)
    forward, backward, d_target, d_source = nets.values()
    g_adam = adam(2e-4, (0.5, 0.999), forward, backward)
    d_adam = adam(2e-4, (0.5, 0.999), d_target, d_source)
    a, b = images(case, "source", 2), images(case, "target", 2)
    fake_b, fake_a = forward(a)[0], backward(b)[0]
    g_loss = (
        least_squares(d_target(fake_b)[0], True)
        + least_squares(d_source(fake_a)[0], True)
        + 10 * F.l1_loss(backward(fake_b)[0], a)
        + 10 * F.l1_loss(forward(fake_a)[0], b)
        + 5 * F.l1_loss(forward(b)[0], b)
        + 5 * F.l1_loss(backward(a)[0], a)
    )
    update(g_adam, g_loss)
    d_loss = torch.zeros(())
    for d, real, fake in ((d_target, b, fake_b), (d_source, a, fake_a)):
        wrong, right = least_squares(d(fake.detach())[0], False), least_squares(d(real)[0], True)
        d_loss = d_loss + 0.5 * (wrong + right)
    update(d_adam, d_loss)
    return nets, {"discriminator": d_loss.item(), "generator": g_loss.item()}, 2e-4


def contrast(case: str, name: str, head: nn.Module, queries, keys, all_negatives: bool) -> Tensor:
    """Mean of PatchNCE over layers and patches; the same places for queries and keys."""
    sizes = [x.shape[2] * x.shape[3] for x in keys]
    head.indices = [torch.from_numpy(places(f"{case}.{name}.{j}", n)) for j, n in enumerate(sizes)]
    nce = PatchNCE(all_negatives)
    pairs = zip(head(*queries), head(*keys), strict=True)
    return torch.stack([nce(q, k)[0].mean() for q, k in pairs]).mean()


def cut(case: str) -> tuple[Networks, Losses, float]:
    """CUT, and FastCUT in a flipped step. D first; then G and the head through the updated D."""
    fast = case == "fastcut"
    nets: Networks = {
        "network": resnet(4, 1, "instance", True, True, TAPS),
        "head": PatchSample((3, 8, 16, 16), 8, [[]] * 4),
        "discriminator": patchgan(4, 1, "instance", True),
    }
    load(case, nets)
    g, head, d = nets.values()
    g_adam, d_adam = adam(2e-4, (0.5, 0.999), g, head), adam(2e-4, (0.5, 0.999), d)
    a, b = images(case, "source", 2), images(case, "target", 2)
    fake = g(a.flip(3) if fast else a)[0]
    d_loss = 0.5 * (least_squares(d(fake.detach())[0], False) + least_squares(d(b)[0], True))
    update(d_adam, d_loss)
    queries = [x.flip(3) if fast else x for x in g(fake)[1:]]
    term = contrast(case, "source", head, queries, g(a)[1:], False)
    if fast:
        content = 10 * term
    else:
        same = g(b)[0]
        content = 0.5 * (term + contrast(case, "target", head, g(same)[1:], g(b)[1:], False))
    g_loss = least_squares(d(fake)[0], True) + content
    update(g_adam, g_loss)
    return nets, {"discriminator": d_loss.item(), "generator": g_loss.item()}, 2e-4


def sincut(case: str) -> tuple[Networks, Losses, float]:
    """Non-saturating, with R1; negatives from the whole batch; L1 on the identity."""
    noise = torch.zeros(2, 1, 16, 16)
    nets: Networks = {
        "network": sincut_generator(4, 1, (0, 2, 3), noise),
        "head": PatchSample((3, 8, 8), 8, [[]] * 3),
        "discriminator": sincut_discriminator((4, 6, 8)),
    }
    load(case, nets)
    g, head, d = nets.values()
    g_adam, d_adam = adam(2e-3, (0.0, 0.99), g, head), adam(2e-3, (0.0, 0.99), d)
    a, b = images(case, "source", 2), images(case, "target", 2)
    fake = g(a)[0]
    real = b.clone().requires_grad_(True)
    right = d(real)[0]
    (slope,) = torch.autograd.grad(right.sum(), real, create_graph=True)
    r1 = slope.square().sum((1, 2, 3)).mean()
    d_loss = 0.5 * (F.softplus(-right).mean() + F.softplus(d(fake.detach())[0]).mean()) + r1 / 2
    update(d_adam, d_loss)
    same = g(b)[0]
    content = contrast(case, "source", head, g(fake)[1:], g(a)[1:], True)
    content = content + contrast(case, "target", head, g(same)[1:], g(b)[1:], True)
    g_loss = F.softplus(-d(fake)[0]).mean() + 0.5 * 4 * content + F.l1_loss(same, b)
    update(g_adam, g_loss)
    return nets, {"discriminator": d_loss.item(), "generator": g_loss.item()}, 2e-3


def r3gan(case: str) -> tuple[Networks, Losses, float]:
    """D on its own reals and latents; then G on new ones, through the updated D."""
    widths, gamma = (16, 16, 8), 0.3
    nets: Networks = {
        "generator": R3G(widths, 4, 6, 0, []),
        "discriminator": R3D(widths, 4, 0, []),
    }
    load(case, nets)
    g, d = nets.values()
    g_adam, d_adam = (adam(2e-4, (0.0, 0.9), n) for n in (g, d))
    both = images(case, "source", 4)
    z = [torch.from_numpy(values(f"{case}.latent.{i}", (2, 6))) for i in range(2)]
    real = both[0::2].clone().requires_grad_(True)
    fake = g(z[0])[0].detach().requires_grad_(True)
    (r, r1), (f, r2) = d(real), d(fake)
    d_loss = (F.softplus(f - r) + gamma / 2 * (r1 + r2)).mean()
    update(d_adam, d_loss)
    fake, real = g(z[1])[0], both[1::2].clone().requires_grad_(True)
    g_loss = F.softplus(d(real)[0] - d(fake)[0]).mean()
    update(g_adam, g_loss)
    return nets, {"discriminator": d_loss.item(), "generator": g_loss.item()}, 2e-4


CASES: dict[str, Callable[[str], tuple[Networks, Losses, float]]] = {
    "pix2pix": pix2pix,
    "cyclegan": cyclegan,
    "cut": cut,
    "fastcut": cut,
    "sincut": sincut,
    "r3gan": r3gan,
}


def main() -> None:
    torch.set_num_threads(1)
    arrays, manifest = {}, {}
    for case, run in CASES.items():
        networks, losses, rate = run(case)
        state, changes = {}, []
        for name, network in networks.items():
            skipped = before_a_norm(network)
            trained = dict(network.named_parameters())
            state[name] = {
                key: list(v.shape)
                for key, v in network.state_dict().items()
                if not key.endswith("num_batches_tracked")
            }
            for key, parameter in trained.items():
                if key in skipped:
                    continue
                unit = case == "sincut" and name != "head"
                before = weight(f"{case}.{name}.{key}", tuple(parameter.shape), unit=unit)
                change = (parameter.detach().numpy() - before) / rate
                changes.append((f"{name}/{key}", np.rint(1000 * change).astype(np.int16).ravel()))
        arrays[case] = np.concatenate([c for _, c in changes])
        manifest[case] = {
            "losses": losses,
            "rate": rate,
            "state": state,
            "changes": [[name, len(c)] for name, c in changes],
        }
    np.savez_compressed(FILE, manifest=np.array(json.dumps(manifest)), **arrays)
    print(f"{FILE}: {len(manifest)} algorithms, {FILE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
