"""The main run's pairs in plain PyTorch: photographs varied, and the default look rendered on them.

Written from the product's docstrings (`retrojax.film`, `retrojax.tasks.augmentation`): the same
formulas on draws of PyTorch's own. Of the look's stages those that "faded-print" has; all but grain
work pixel by pixel and see the crop alone, as in the product's compiled step.
"""

# The extra `bench` may be absent.
# pyright: reportMissingImports=false

import math
from dataclasses import fields

import torch
from torch import Tensor

from benchmarks.handover import Arrays
from retrojax.film import Look
from retrojax.film.colour import LUMINANCE
from retrojax.film.grain import APERTURE_MM2, FOG, FWHM_OVER_SIGMA
from retrojax.film.look import Grain
from retrojax.film.tone import DEEPEST, GAMMA

STAGES = ("exposure", "white_balance", "matrix", "tone", "grain", "split_tone", "fade")
EXPOSURE, WHITE_BALANCE, SATURATION = 0.6, 0.15, 0.3


class Film:
    """Pairs out of raw windows, for one look."""

    def __init__(self, look: Look, *, crop: int, pixels_per_mm: float) -> None:
        """Takes what `PairedTask` takes.

        Raises:
            ValueError: for a look with other stages than `STAGES`, or without one of them.
        """
        own = tuple(field.name for field in fields(look) if getattr(look, field.name) is not None)
        if set(own) != set(STAGES):
            raise ValueError(f"a look of the stages {', '.join(STAGES)} is asked for, not of {own}")
        self.look, self.crop, self.pixels_per_mm = look, crop, pixels_per_mm

    @torch.no_grad()
    def pairs(self, raw: Arrays) -> dict[str, Tensor]:
        """Source and target [b, 3, crop, crop] in [-1, 1], channels_last, of uint8 windows."""
        windows = torch.from_numpy(raw["source"])
        batch, side = windows.shape[0], windows.shape[1]
        edge = (side - self.crop) // 2
        inner = slice(edge, edge + self.crop)
        images = windows[:, inner, inner].float() / 255
        flipped = torch.rand(batch, 1, 1, 1) < 0.5
        images = torch.where(flipped, images.flip(2), images)
        stops = EXPOSURE * torch.randn(batch, 1, 1, 1)
        stops = stops + WHITE_BALANCE * torch.randn(batch, 1, 1, 3)
        source = varied(images, stops, (SATURATION * torch.randn(batch, 1, 1, 1)).exp())
        noise = grain_field(
            torch.randn(batch, 4, side, side), _grain(self.look), pixels_per_mm=self.pixels_per_mm
        )
        target = rendered(source, self.look, noise[:, inner, inner])
        pairs = {"source": source, "target": target}
        return {name: (2 * x - 1).permute(0, 3, 1, 2) for name, x in pairs.items()}


def varied(images: Tensor, stops: Tensor, saturation: Tensor) -> Tensor:
    """Exposure by channel and saturation of images [b, h, w, 3] in [0, 1]."""
    light = (_to_linear(images) * stops.exp2()).clamp(0, 1)
    images = _to_srgb(light)
    grey = _luma(images)
    return (grey + saturation * (images - grey)).clamp(0, 1)


def rendered(images: Tensor, look: Look, noise: Tensor) -> Tensor:
    """The look on images [b, h, w, 3] in [0, 1], with a field of grain."""
    exposure, white, matrix, tone = look.exposure, look.white_balance, look.matrix, look.tone
    split, faded = look.split_tone, look.fade
    assert exposure and white and matrix and tone and split and faded
    warmth, tint = white.warmth, white.tint
    stops = torch.tensor([warmth / 2 + tint / 4, -tint / 2, -warmth / 2 + tint / 4])
    images = _to_srgb(_to_linear(images) * (stops + exposure.stops).exp2())

    images = images @ torch.tensor([matrix.red, matrix.green, matrix.blue]).T
    n, g = torch.tensor(tone.contrast), torch.tensor(tone.pivot)
    black, white_point = torch.tensor(tone.black), torch.tensor(tone.white)
    powered = images.clamp(min=1e-4) ** n
    images = black + (white_point - black) * powered * (1 + g**n) / (powered + g**n)

    film = _to_film(images)
    density = -GAMMA * film.log10()
    rms = ((density + FOG) / (1 + FOG)) ** _grain(look).density_power
    images = _from_film(film * 10 ** (-rms * noise / GAMMA))

    shadows, highlights = torch.tensor(split.shadows), torch.tensor(split.highlights)
    shadows, highlights = (x - (x * torch.tensor(LUMINANCE)).sum() for x in (shadows, highlights))
    y = _luma(images).clamp(0, 1)
    images = images + shadows * (1 - y) ** 2 + highlights * y**2
    faded_film = _to_film(images) ** (1 - torch.tensor(faded.loss))
    return (_from_film(faded_film) * torch.tensor(faded.paper)).clamp(0, 1)


def grain_field(white: Tensor, grain: Grain, *, pixels_per_mm: float) -> Tensor:
    """Noise of density [b, h, w, 3] out of white noise [b, 4, h, w]."""
    height, width = white.shape[2:]
    chroma = grain.chroma
    layers = (1 - chroma) * white[:, :1] + chroma * white[:, 1:]
    layers = layers / math.hypot(1 - chroma, chroma)
    sigma = grain.size_um / (1000 * FWHM_OVER_SIGMA)
    down = torch.fft.fftfreq(height, 1 / pixels_per_mm)[:, None]
    across = torch.fft.rfftfreq(width, 1 / pixels_per_mm)[None]
    transfer = (-2 * math.pi**2 * sigma**2 * (down**2 + across**2)).exp()
    shaped = torch.fft.irfft2(torch.fft.rfft2(layers) * transfer, s=(height, width))
    deviation = grain.strength * math.sqrt(APERTURE_MM2) * pixels_per_mm
    return deviation * shaped.permute(0, 2, 3, 1)


def _grain(look: Look) -> Grain:
    assert look.grain is not None
    return look.grain


def _to_linear(encoded: Tensor) -> Tensor:
    curve = ((encoded.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(encoded <= 0.04045, encoded / 12.92, curve)


def _to_srgb(linear: Tensor) -> Tensor:
    curve = 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, linear * 12.92, curve)


def _luma(images: Tensor) -> Tensor:
    return (images * torch.tensor(LUMINANCE)).sum(-1, keepdim=True)


def _to_film(encoded: Tensor) -> Tensor:
    return DEEPEST + (1 - DEEPEST) * encoded.clamp(0, 1)


def _from_film(film: Tensor) -> Tensor:
    return (film - DEEPEST) / (1 - DEEPEST)
