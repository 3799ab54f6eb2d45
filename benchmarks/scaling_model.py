"""What a step should take on many devices: a model, printed as the table of `docs/scaling.md`.

    python -m benchmarks.scaling_model

    step = compute + communication
    compute = FLOPs of a device's share / sustained FLOP/s
    communication = 2 (n - 1) / n * gradient bytes / bandwidth + exchanges * latency * log2(n)

FLOPs and gradient bytes are those of the presets' own steps, read from the lowered programs; the
machine's numbers below are assumptions. Nothing overlaps: in the alternating order the
discriminator's gradients must have arrived before the generator meets it.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

import jax
import numpy as np
from jaxtyping import PyTree

from benchmarks.compiled import step_flops
from benchmarks.product import tree_bytes
from experiments.build import build_optimizers, build_task
from experiments.config import AnyConfig, TranslationConfig
from experiments.presets import preset
from retrojax.training.state import GanState, init_state
from retrojax.training.step import make_step

DEVICES: Final = (8, 64, 256)
EXCHANGES: Final = 2
"""All-reduces that carry gradients: one for each player."""

IMAGES: Final = (("look", 64), ("dcgan64", 64), ("pix2pix", 1), ("pix2pix", 16), ("cyclegan", 1))
"""Presets, and images for each device."""


@dataclass(frozen=True)
class Machine:
    """Assumptions about a device and what lies between devices.

    Attributes:
        name: of the kind of machine.
        flops: sustained FLOP/s of a device on these networks, bfloat16.
        near: devices that share the fast connection.
        near_bandwidth: bytes/s that a device sends over it.
        far_bandwidth: bytes/s that its cards send beyond it, all rings together.
        latency: of an exchange, in seconds for each doubling of the devices.
    """

    name: str
    flops: float
    near: int
    near_bandwidth: float
    far_bandwidth: float
    latency: float

    def communication(self, count: int, size: int) -> float:
        """Seconds for exchanging `size` bytes of gradients among `count` devices."""
        if count == 1:
            return 0.0
        bandwidth = self.near_bandwidth if count <= self.near else self.far_bandwidth
        ring = 2 * (count - 1) / count * size / bandwidth
        return ring + EXCHANGES * self.latency * math.log2(count)


MACHINES: Final = (
    Machine("8-GPU nodes", 0.3 * 312e12, 8, 200e9, 160e9, 15e-6),
    Machine("TPU v5e slice", 0.3 * 197e12, 256, 40e9, 40e9, 10e-6),
)
"""A100-like: 312 TFLOP/s, NVLink at 200 GB/s, eight 200 Gb/s cards a node at 80 %. v5e: 197
TFLOP/s, its torus at 40 GB/s. Of the peak 30 % are assumed to be sustained."""


def main() -> None:
    """Prints the table."""
    heads = [f"{count} devices" for count in DEVICES]
    print(f"| machine | preset | images a device | gradients | one device | {' | '.join(heads)} |")
    print("|---" * (5 + len(DEVICES)) + "|")
    costs = {name: cost(preset(name)) for name in dict(IMAGES)}
    for machine in MACHINES:
        for name, images in IMAGES:
            flops, size = costs[name]
            alone = flops * images / machine.flops
            cells = [
                f"{1e3 * step:.2f} ms, {alone / step:.0%}"
                for count in DEVICES
                for step in (alone + machine.communication(count, size),)
            ]
            print(
                f"| {machine.name} | `{name}` | {images} | {size / 1e6:.1f} MB | "
                f"{1e3 * alone:.2f} ms | {' | '.join(cells)} |"
            )


def cost(config: AnyConfig) -> tuple[float, int]:
    """FLOPs an image and bytes of both players' gradients of a preset's step."""
    config = replace(config, steps=max(config.steps, 1))
    task, optimizers = build_task(config), build_optimizers(config)
    domains = ("source", "target") if isinstance(config, TranslationConfig) else ("source",)
    shape = (config.batch_size, config.window, config.window, 3)
    raw = {name: jax.ShapeDtypeStruct(shape, np.uint8) for name in domains}

    def init(raw: PyTree) -> GanState:
        keys = jax.random.split(jax.random.key(0), 3)
        generator, discriminator = task.init(keys[0], task.prepare(raw, keys[1]))
        return init_state(keys[2], generator, discriminator, optimizers, ema=False)

    state = jax.eval_shape(init, raw)
    flops = step_flops(make_step(task, optimizers), state, raw)
    size = tree_bytes((state.generator.params, state.discriminator.params))
    assert flops is not None
    return flops / config.batch_size, size


if __name__ == "__main__":
    main()
