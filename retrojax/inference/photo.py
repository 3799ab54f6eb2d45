"""Photographs in and out: files to uint8 sRGB pixels and back.

Contract: `decode` gives at full size what training's decoder gives shrunk (upright, sRGB, eight
bits, listed formats only, no decompression bombs), with opacity kept beside. `encode` writes pixels
and nothing else (no EXIF, GPS, XMP, comment) to a temporary file that is renamed, so that a file
under its final name is always whole.
"""

import io
import os
import sys
import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from retrojax.data.photo_files import FORMATS, decode_photo

JPEG_SUFFIXES = (".jpg", ".jpeg")
# The decoder shrinks to a longest side; no picture below Pillow's limit is longer than this.
_FULL_SIZE = sys.maxsize


class Picture(NamedTuple):
    """A decoded photograph.

    Attributes:
        pixels: sRGB.
        alpha: opacity, 255 = opaque; None if the whole picture is opaque.
    """

    pixels: UInt8[np.ndarray, "h w 3"]
    alpha: UInt8[np.ndarray, "h w"] | None


def decode(path: str | Path) -> Picture:
    """Read a photograph at full size; of an animation, the first frame.

    To be called inside `quiet_decoding`.

    Raises:
        ValueError: not a picture in one of `FORMATS`, damaged, or larger than Pillow's limit. The
            text is the reason alone; the caller knows the name.
    """
    path = Path(path)
    pixels = decode_photo(path, photo_size=_FULL_SIZE)
    with Image.open(path, formats=FORMATS) as image:
        if not image.has_transparency_data:
            return Picture(pixels, None)
        profile = image.info.get("icc_profile")
        layers = ImageOps.exif_transpose(image).convert("RGBA")
    alpha = np.array(layers.getchannel("A"))
    if alpha.min() == 255:
        return Picture(pixels, None)
    # Training lays transparency on white; here the colour below it must survive, else soft edges
    # get a white fringe on any other ground.
    opaque = io.BytesIO()
    layers.convert("RGB").save(opaque, "PNG", compress_level=0, icc_profile=profile)
    opaque.seek(0)
    return Picture(decode_photo(opaque, photo_size=_FULL_SIZE), alpha)


def encode(path: str | Path, picture: Picture) -> None:
    """Write a photograph: JPEG (quality 95, 4:4:4) for .jpg and .jpeg, else PNG.

    JPEG knows no opacity: transparent parts are laid on white.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(path)
    pixels, alpha = picture
    # Short, because the final name may already be as long as the file system allows.
    writer = f"{os.getpid()}-{threading.get_native_id()}"
    temporary = path.with_name(f".retrojax-{writer}.tmp")
    try:
        if path.suffix.lower() in JPEG_SUFFIXES:
            if alpha is not None:
                opacity = alpha[..., None] / 255
                pixels = np.rint(pixels * opacity + 255 * (1 - opacity)).astype(np.uint8)
            Image.fromarray(pixels).save(temporary, "JPEG", quality=95, subsampling=0)
        else:
            layers = pixels if alpha is None else np.dstack([pixels, alpha])
            Image.fromarray(layers).save(temporary, "PNG")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def output_name(name: str) -> str:
    """File name of the result: JPEG and PNG keep theirs, other formats become .png."""
    stem, suffix = os.path.splitext(name)
    return name if suffix.lower() in (*JPEG_SUFFIXES, ".png") else f"{stem}.png"
