"""Sample grids: photographs down, kinds of picture across, and PNG files that are never torn.

The grids go to a run's `samples/` folder; nothing is measured from them. Pictures are uint8 sRGB.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

GAP = 4
CAPTION_HEIGHT = 20
BACKGROUND = (32, 32, 32)
INK = (224, 224, 224)


def sample_grid(
    rows: Sequence[Sequence[UInt8[np.ndarray, "_ _ 3"]]], *, labels: Sequence[str]
) -> UInt8[np.ndarray, "h w 3"]:
    """One picture with a row for each photograph and a captioned column for each kind.

    Pictures keep their pixels: each column is as wide as its widest picture, each row as high as
    its highest, and smaller ones are centred.

    Args:
        rows: uint8 pictures, as many in each row as there are labels.
        labels: Captions of the columns.

    Returns:
        The grid, with thin gaps and a strip of captions on top.

    Raises:
        ValueError: If there is no row, or a row has another number of pictures than labels.
    """
    from PIL import Image, ImageDraw, ImageFont

    if not rows:
        raise ValueError("a sample grid needs at least one row of pictures")
    for index, row in enumerate(rows):
        if len(row) != len(labels):
            raise ValueError(
                f"row {index} has {len(row)} pictures for {len(labels)} columns "
                f"({', '.join(labels)}); give one picture a column"
            )
    heights = [max(picture.shape[0] for picture in row) for row in rows]
    widths = [max(picture.shape[1] for picture in column) for column in zip(*rows, strict=True)]
    tops = CAPTION_HEIGHT + np.cumsum([0, *(height + GAP for height in heights)])
    lefts = GAP + np.cumsum([0, *(width + GAP for width in widths)])

    grid = np.empty((int(tops[-1]), int(lefts[-1]), 3), np.uint8)
    grid[:] = BACKGROUND
    for row, top, height in zip(rows, tops, heights, strict=False):
        for picture, left, width in zip(row, lefts, widths, strict=False):
            y = int(top) + (height - picture.shape[0]) // 2
            x = int(left) + (width - picture.shape[1]) // 2
            grid[y : y + picture.shape[0], x : x + picture.shape[1]] = picture

    canvas = Image.fromarray(grid)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=12)
    for label, left, width in zip(labels, lefts, widths, strict=False):
        # Narrow columns lose the end of their caption rather than run into the next one.
        while label and draw.textlength(label, font=font) > width:
            label = label[:-1]
        position = (int(left) + width // 2, CAPTION_HEIGHT // 2)
        draw.text(position, label, font=font, fill=INK, anchor="mm")
    return np.asarray(canvas)


def contact_sheet(
    images: UInt8[np.ndarray, "n h w 3"], columns: int, *, zoom: int = 3
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Small pictures of one size in rows, enlarged without blending, thin gaps between them.

    Args:
        images: uint8 pictures; the last row may be shorter than the others.
        columns: pictures in a row.
        zoom: screen pixels a pixel.
    """
    images = images.repeat(zoom, axis=1).repeat(zoom, axis=2)
    height, width = images.shape[1:3]
    rows = -(-len(images) // columns)
    sheet = np.empty((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3), np.uint8)
    sheet[:] = BACKGROUND
    for index, image in enumerate(images):
        top, left = (
            GAP + n * (side + GAP)
            for n, side in zip(divmod(index, columns), (height, width), strict=True)
        )
        sheet[top : top + height, left : left + width] = image
    return sheet


def write_png(path: Path, image: UInt8[np.ndarray, "h w 3"]) -> None:
    """Write a PNG in one move: readers see the old file or the whole new one.

    Args:
        path: Where to write; the folder is made if missing.
        image: uint8 sRGB picture.
    """
    from PIL import Image

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    Image.fromarray(image).save(temporary, format="PNG")
    temporary.replace(path)
