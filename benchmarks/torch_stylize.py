"""PyTorch's look generator on what the product hands to its compiled programs. Extra `bench`."""

# The extra `bench` may be absent.
# pyright: reportMissingImports=false

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.handover import load
from benchmarks.torch_look import look_generator
from benchmarks.torch_speed import allow_what_jax_does
from benchmarks.torch_weights import give_weights

COLOUR, EFFECTS = "_look_colour", "_look_effects"


class TorchStylize:
    """Pictures of one size, in memory, by PyTorch in eager mode."""

    def __init__(self) -> None:
        """A GPU where there is one."""
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def load(self, file: str) -> float:
        """Reads weights and pictures.

        Returns:
            The largest difference from what the product's programs gave, whose range is [-1, 1].
        """
        handover = load(Path(file))
        tiles = [batch[EFFECTS] for batch in handover.batches if EFFECTS in batch]
        height, width = tiles[0].shape[:2]
        self.network = look_generator(handover.settings["generator"], (height, width))
        give_weights(self.network, handover.generator, mirrored=False)
        self.network.to(self.device).eval()
        given = zip(handover.batches, handover.draws, strict=True)
        self.calls = [self._call(batch, drawn) for batch, drawn in given]
        with torch.inference_mode():
            outputs = [
                (self._run(*call).cpu().numpy(), batch["output"])
                for call, batch in zip(self.calls, handover.batches, strict=True)
                if "output" in batch
            ]
        allow_what_jax_does()
        return max(float(np.abs(ours - theirs).max()) for ours, theirs in outputs)

    @torch.inference_mode()
    def round(self) -> float:
        """Seconds for all photographs."""
        begin = time.perf_counter()
        for call in self.calls:
            self._run(*call)
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - begin

    def facts(self) -> dict[str, Any]:
        """What ran, and where."""
        cuda = self.device.type == "cuda"
        name = torch.cuda.get_device_name() if cuda else "cpu"
        return {
            "versions": {"torch": torch.__version__},
            "device": f"{name} ({'gpu' if cuda else 'cpu'})",
        }

    def _call(
        self, batch: Mapping[str, np.ndarray], drawn: Mapping[str, np.ndarray]
    ) -> tuple[Tensor, Tensor | None]:
        if COLOUR in batch:
            # A row of pixels.
            return torch.from_numpy(batch[COLOUR]).to(self.device)[None, None], None
        noise = torch.from_numpy(drawn["noise"]).to(self.device).permute(2, 0, 1)[None]
        return torch.from_numpy(batch[EFFECTS]).to(self.device)[None], noise

    def _run(self, pixels: Tensor, noise: Tensor | None) -> Tensor:
        """Colours [n, 3] of a row; of a tile with noise glow and grain, [h, w, 6]."""
        x = pixels.float() / 127.5 - 1
        if noise is None:
            return self.network["colour"](x)[0, 0]
        glow = self.network.glow(x)
        clean = (self.network["colour"](x) + glow).clamp(-1, 1)
        return torch.cat([glow, self.network.grain(clean, noise)], dim=-1)[0]
