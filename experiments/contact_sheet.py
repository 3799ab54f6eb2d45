"""Draws every look on two photographs: `python -m experiments.contact_sheet --output FILE`.

The photographs are two that come with scikit-image. Each look is a column pair of the sheet: the
photograph above, its name below. The sheet is written as PNG or JPEG, by the name of the file.
"""

import argparse
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import skimage
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from retrojax.film import LOOKS, Look, render

PHOTOGRAPHS = ("coffee.png", "astronaut.png")
HEIGHT = 340  # Pixels of one picture on the sheet, which is not resampled after rendering.
GAP, CAPTION = 10, 30
PAPER, INK = (250, 249, 246), (40, 38, 36)


def read_photograph(name: str) -> UInt8[np.ndarray, "h w 3"]:
    """Reads a photograph of the scikit-image wheel and shrinks it to the sheet's height."""
    path = Path(skimage.__file__).parent / "data" / name
    with Image.open(path) as image:
        photograph = image.convert("RGB")
    width = round(photograph.width * HEIGHT / photograph.height)
    return np.asarray(photograph.resize((width, HEIGHT), Image.Resampling.LANCZOS))


def develop(photograph: UInt8[np.ndarray, "h w 3"], look: Look, seed: int) -> Image.Image:
    """Renders one photograph as a whole frame."""
    pixels = render(jax.random.key(seed), jnp.asarray(photograph, jnp.float32) / 255, look)
    return Image.fromarray(np.round(np.asarray(pixels) * 255).astype(np.uint8))


def draw_sheet(*, columns: int, seed: int) -> Image.Image:
    """Lays out all looks, the untouched photographs first."""
    photographs = [read_photograph(name) for name in PHOTOGRAPHS]
    looks = {"original": Look(), **LOOKS}
    cell = sum(p.shape[1] for p in photographs) + 2 * GAP
    rows = math.ceil(len(looks) / columns)
    size = (GAP + columns * cell, GAP + rows * (HEIGHT + CAPTION))
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=19)
    for index, (name, look) in enumerate(looks.items()):
        left = GAP + index % columns * cell
        top = GAP + index // columns * (HEIGHT + CAPTION)
        draw.text((left, top + HEIGHT + 2), name, INK, font)
        for photograph in photographs:
            sheet.paste(develop(photograph, look, seed + index), (left, top))
            left += photograph.shape[1] + GAP // 2
    return sheet


def main() -> None:
    """Parses the command line and writes the sheet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="a .png or .jpg file")
    parser.add_argument("--columns", type=int, default=2, help="looks side by side")
    parser.add_argument("--seed", type=int, default=0, help="of grain, dust and leaks")
    options = parser.parse_args()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    sheet = draw_sheet(columns=options.columns, seed=options.seed)
    sheet.save(options.output, quality=80)


if __name__ == "__main__":
    main()
