"""The benchmark's games in plain PyTorch: the peer that the product's step is timed beside.

Networks, initial weights, batches, losses, optimisers and the order of the updates are the
product's; noise, dropout and pools are drawn by PyTorch, but for the noise of the steps whose
losses are compared. Images and kernels are channels_last, Adam is PyTorch's fused one, and the
generator's update computes no gradients of the discriminator's weights. The product's step also
takes the norms of all gradients and the means of the logits; these do not. Needs the extra `bench`.
"""

# The extra `bench` may be absent.
# pyright: reportMissingImports=false

import contextlib
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.ceilings import Plain, convolutions, matmul_side, median_seconds
from benchmarks.games import Game, game
from benchmarks.handover import Handover, load
from benchmarks.torch_games import Images, make
from benchmarks.torch_speed import allow_what_jax_does
from benchmarks.torch_weights import channels_last, give_weights, images
from experiments.memory import peak_memory

MODES = ("eager", "default", "max-autotune")


class TorchContender:
    """A joint step of PyTorch, eager or compiled."""

    def __init__(self, mode: str = "eager", **chosen: Any) -> None:
        """Takes what `games.game` takes, and "eager" or a mode of `torch.compile`."""
        self.mode, self.game = mode, game(**chosen)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.compile_seconds = 0.0

    def load(self, file: str) -> None:
        """Reads the weights to start from, the batches and what was drawn."""
        self.handover = load(Path(file))

    def losses(self) -> list[dict[str, float]]:
        """Every loss of the first steps of `Game.checked`, one a batch."""
        allowed = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        joint = JointStep(self.game.checked, self.handover, self.device, self.mode)
        given = zip(joint.batches, joint.draws, strict=True)
        said = [joint.step(batch, drawn) for batch, drawn in given]
        torch.set_float32_matmul_precision(allowed[0])
        torch.backends.cudnn.allow_tf32 = allowed[1]
        return [{name: float(value) for name, value in losses.items()} for losses in said]

    def compile(self) -> None:
        """Builds the step that is timed, and runs it once."""
        allow_what_jax_does()
        self.joint = JointStep(self.game, self.handover, self.device, self.mode)
        begin = time.perf_counter()
        self.joint.step(self.joint.batches[0])
        self._wait()
        self.compile_seconds = time.perf_counter() - begin if self.mode != "eager" else 0.0

    def round(self, steps: int, warmup: int) -> dict[str, Any]:
        """Times steps without a pause, from the weights that were handed over.

        Args:
            steps: how many, at least 1; only the last is waited for.
            warmup: untimed steps before, at least 0.

        Returns:
            "seconds" a step, and whether the last step's figures are "finite".
        """
        self.joint.start()
        turn = itertools.cycle(self.joint.batches)
        for _ in range(warmup):
            self.joint.step(next(turn))
        self._wait()
        begin = time.perf_counter()
        for _ in range(steps):
            said = self.joint.step(next(turn))
        self._wait()
        seconds = (time.perf_counter() - begin) / steps
        finite = all(bool(torch.isfinite(value)) for value in said.values())
        return {"seconds": seconds, "finite": finite}

    def train(self, steps: int) -> None:
        """Plays the game from its start; for clocks outside.

        Args:
            steps: how many, on the batches in turn.
        """
        allow_what_jax_does()
        joint = JointStep(self.game, self.handover, self.device, self.mode)
        for batch in itertools.islice(itertools.cycle(joint.batches), steps):
            joint.step(batch)
        self._wait()

    def train_look(self, preset_name: str, steps: int) -> None:
        """Plays the game from its start on a preset's photographs, cut by the product's loader.

        Args:
            preset_name: whose photographs, look and batches.
            steps: how many.
        """
        # Here, because it loads JAX, which no other clock of PyTorch's is to pay for.
        from benchmarks.torch_film import Film
        from experiments.config import LookConfig
        from experiments.presets import preset
        from retrojax.data import batches, open_data
        from retrojax.film import LOOKS

        allow_what_jax_does()
        config = preset(preset_name)
        assert isinstance(config, LookConfig)
        film = Film(LOOKS[config.look], crop=config.crop, pixels_per_mm=config.pixels_per_mm)
        joint = JointStep(self.game, self.handover, self.device, self.mode)
        data = open_data(config.data, photo_size=config.photo_size, window=config.window)
        with contextlib.closing(
            batches(
                data,
                batch_size=config.batch_size,
                window=config.window,
                seed=config.seed,
                first_step=0,
                steps=steps,
            )
        ) as stream:
            for raw in stream:
                joint.step(film.pairs(raw))
            self._wait()

    def ceilings(self) -> dict[str, float]:
        """FLOP/s of a square matrix product and of the fastest of a few plain convolutions."""
        dtype = getattr(torch, self.game.config.dtype)
        side = matmul_side(self.device.type)
        a, b = torch.randn(2, side, side, device=self.device).to(dtype)
        seconds = median_seconds(lambda: self._wait(a @ b))
        plain = convolutions(self.device.type)
        return {
            "matmul": 2 * side**3 / seconds,
            "convolution": max(self._conv_flops(one, dtype) for one in plain),
        }

    def facts(self) -> dict[str, Any]:
        """What ran, and where."""
        cuda = self.device.type == "cuda"
        name = torch.cuda.get_device_name() if cuda else "cpu"
        return {
            "versions": {"torch": torch.__version__},
            "device": f"{name} ({'gpu' if cuda else 'cpu'})",
            "compile_seconds": self.compile_seconds,
            "flops": None,
            "peak_bytes": torch.cuda.max_memory_allocated() if cuda else peak_memory(),
        }

    @torch.no_grad()
    def _conv_flops(self, plain: Plain, dtype: torch.dtype) -> float:
        image = torch.randn(plain.batch, plain.inputs, plain.side, plain.side)
        kernel = torch.randn(plain.outputs, plain.inputs, 3, 3)
        x, w = (
            one.to(self.device, dtype, memory_format=torch.channels_last) for one in (image, kernel)
        )
        return plain.flops / median_seconds(lambda: self._wait(F.conv2d(x, w, padding=1)))

    def _wait(self, result: Any = None) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


class JointStep:
    """Both players of a game and their updates.

    Attributes:
        batches: what was handed over, on the device.
        draws: the noise of each batch.
    """

    def __init__(self, played: Game, handover: Handover, device: torch.device, mode: str) -> None:
        settings, config = handover.settings, played.config
        if not played.drops:
            settings = {
                who: options | {"dropout": 0.0} if "dropout" in options else options
                for who, options in settings.items()
            }
        self.config, self.handover, self.mode = config, handover, mode
        self.players = make(played.model, config.loss, settings, device)
        self.mirrored = played.model == "document"
        self.autocast = torch.autocast(
            device.type, torch.bfloat16, enabled=config.dtype == "bfloat16"
        )
        channels_last(self.players.generator)
        channels_last(self.players.critic)
        self.batches = [images(x, device, mirrored=self.mirrored) for x in handover.batches]
        self.draws = [images(x, device, mirrored=self.mirrored) for x in handover.draws]
        # Compiled apart: what lies between them is the optimisers' and the pools'.
        self.generate = self._compiled(self.players.generate)
        self.discriminator_loss = self._compiled(self.players.discriminator_loss)
        self.generator_loss = self._compiled(self.players.generator_loss)
        self.start()

    def start(self) -> None:
        """Goes back to the weights that were handed over, with new optimisers."""
        players, config, given = self.players, self.config, self.handover
        give_weights(players.generator, given.generator, mirrored=self.mirrored)
        critics = {name: x for name, x in given.discriminator.items() if name != "pool"}
        give_weights(players.critic, critics, mirrored=self.mirrored)
        betas = (config.b1, config.b2)
        weights = [*players.generator.parameters()]
        self.g_optimizer = torch.optim.Adam(weights, config.learning_rate, betas, fused=True)
        rate = config.discriminator_learning_rate
        self.d_optimizer = torch.optim.Adam(players.critic.parameters(), rate, betas, fused=True)
        averaged = config.ema_halflife_images > 0
        self.average = [weight.detach().clone() for weight in weights] if averaged else []
        self.images_seen = 0
        players.start()

    def step(self, batch: Images, drawn: Images | None = None) -> dict[str, Tensor]:
        """One update of both players.

        Args:
            batch: prepared images.
            drawn: the noise; None = PyTorch draws it.

        Returns:
            The losses.
        """
        if self.mode != "eager":
            torch.compiler.cudagraph_mark_step_begin()
        with self.autocast:
            outputs = self.generate(batch, drawn or self.players.draw(batch))
        if self.config.order == "alternating":
            said = self._update_discriminator(outputs, batch)
            return said | self._update_generator(outputs, batch)
        # Here the generator meets the discriminator as it was, and nothing else depends on who
        # comes first.
        said = self._update_generator(outputs, batch)
        return said | self._update_discriminator(outputs, batch)

    def _update_discriminator(self, outputs: Images, batch: Images) -> dict[str, Tensor]:
        self.d_optimizer.zero_grad()
        with self.autocast:
            total, said = self.discriminator_loss(self.players.stopped(outputs), batch)
        total.backward()
        self.d_optimizer.step()
        return {name: value.detach() for name, value in said.items()}

    def _update_generator(self, outputs: Images, batch: Images) -> dict[str, Tensor]:
        self.players.critic.requires_grad_(False)
        self.g_optimizer.zero_grad()
        with self.autocast:
            total, said = self.generator_loss(outputs, batch)
        total.backward()
        self.g_optimizer.step()
        self.players.critic.requires_grad_(True)
        self._average(len(next(iter(batch.values()))))
        return {name: value.detach() for name, value in said.items()}

    @torch.no_grad()
    def _average(self, count: int) -> None:
        """Follows the generator's weights, with a half-life in images that is ramped up."""
        if not self.average:
            return
        self.images_seen += count
        halflife = min(self.config.ema_halflife_images, 0.05 * self.images_seen)
        for average, weight in zip(self.average, self.players.generator.parameters(), strict=True):
            average.lerp_(weight, 1 - 0.5 ** (count / halflife))

    def _compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return function if self.mode == "eager" else torch.compile(function, mode=self.mode)
