"""Photograph files: find them, decode them safely, bring them to the size training uses.

Contract: `decode_photo` turns one file into uint8 sRGB, upright, with the long side at most
`photo_size`; anything else is a `ValueError` whose text is the reason alone (the caller knows the
name). Only the listed formats are tried, and a header that announces more pixels than Pillow's
limit is refused before a pixel is decoded.
"""

import contextlib
import io
import os
import struct
import warnings
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageCms, ImageOps

FORMATS: Final = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif")

# What Pillow's decoders are known to raise on damaged or hostile bytes. Listed, so that an error in
# this file's own code is not taken for a bad photograph.
_DAMAGED: Final = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


class PhotoFile(NamedTuple):
    """One photograph on disk, or a matched pair.

    Attributes:
        name: how messages and samples call it; unique in its set.
        source: the file.
        target: the same view after the look, for pairs.
    """

    name: str
    source: Path
    target: Path | None = None


def find_photos(folder: Path) -> list[PhotoFile]:
    """Lists the image files below a folder, sorted by relative path.

    Hidden files and folders are left out (`._x.jpg` of macOS is not a photograph), links to folders
    are not followed, so a loop of links ends.

    Args:
        folder: where to look, with all its subfolders.

    Returns:
        The files whose suffix is one of `SUFFIXES`, named by their path relative to `folder`.

    Raises:
        ValueError: no such folder, or no file of these kinds in it.
    """
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "no such folder"
        raise ValueError(f"{folder}: {what}; give a folder of photographs")
    paths = []
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = Path(root, name)
            if not name.startswith(".") and path.suffix.lower() in SUFFIXES and path.is_file():
                paths.append(path)
    if not paths:
        raise ValueError(f"{folder}: no image files in it; looked for {', '.join(SUFFIXES)}")
    paths.sort(key=lambda path: path.relative_to(folder).parts)
    return [PhotoFile(_printable(path.relative_to(folder).as_posix()), path) for path in paths]


def match_pairs(sources: Path, targets: Path) -> list[PhotoFile]:
    """Matches the photographs of two folders by relative path without suffix.

    Args:
        sources: folder of the photographs as they are.
        targets: folder of the same photographs with the look.

    Returns:
        One `PhotoFile` per pair, named by the shared stem.

    Raises:
        ValueError: a photograph without its partner, or two with one stem (the names are listed).
    """
    by_stem = [_by_stem(folder) for folder in (sources, targets)]
    alone = [
        f"{listed(missing)} only in {folder}"
        for folder, own, other in (
            (sources, by_stem[0], by_stem[1]),
            (targets, by_stem[1], by_stem[0]),
        )
        if (missing := sorted(own.keys() - other.keys()))
    ]
    if alone:
        raise ValueError(
            f"pairs that do not match: {'; '.join(alone)}; "
            "each source needs a target with the same file stem"
        )
    return [PhotoFile(stem, path, by_stem[1][stem]) for stem, path in by_stem[0].items()]


def decode_photo(file: Path | io.BytesIO, *, photo_size: int) -> UInt8[np.ndarray, "h w 3"]:
    """Decodes one photograph to upright 8-bit sRGB of training size.

    Orientation (EXIF) is applied, transparency is laid on white, an embedded profile other than
    sRGB is converted, 16-bit values are rounded to 8 bits. Of an animation, the first frame.

    Args:
        file: the file, or its bytes.
        photo_size: longest side of the result in pixels; a smaller photograph keeps its size.

    Returns:
        uint8 sRGB, [h, w, 3].

    Raises:
        ValueError: not one of `FORMATS`, damaged, or more pixels than Pillow's limit.
    """
    with _opened(file) as image:
        return _upright_srgb(image, photo_size)


def photo_shape(file: Path | io.BytesIO, *, photo_size: int) -> tuple[int, int]:
    """Reads from the header alone which (height, width) `decode_photo` gives, before orientation.

    Raises:
        ValueError: as `decode_photo`, as far as the header tells.
    """
    with _opened(file) as image:
        width, height = _shrunk(image.size, photo_size)
    return height, width


def encode_png(image: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """Encodes an image as PNG, quickly rather than tightly."""
    buffer = io.BytesIO()
    # Photographs repeat little but single bytes: looking for no more than runs of these takes four
    # fifths of the time and gives files smaller by a twelfth.
    Image.fromarray(image).save(buffer, "PNG", compress_level=1, compress_type=zlib.Z_RLE)
    return buffer.getvalue()


def listed(names: Iterable[str], *, most: int = 8) -> str:
    """Joins names for a one-line message, and counts those left out."""
    names = list(names)
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


@contextlib.contextmanager
def quiet_decoding() -> Iterator[None]:
    """Silences Pillow's remarks about odd metadata and makes its bomb warning an error.

    For the whole process while it lasts, so it is entered once around a preparation, not per file.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


@contextlib.contextmanager
def _opened(file: Path | io.BytesIO) -> Iterator[Image.Image]:
    """Opens an image, and turns what goes wrong inside into a ValueError with the reason."""
    try:
        with Image.open(file, formats=FORMATS) as image:
            limit = Image.MAX_IMAGE_PIXELS
            # Pillow itself only warns between one and two times its limit.
            if limit is not None and image.width * image.height > limit:
                raise Image.DecompressionBombError
            yield image
    except Image.UnidentifiedImageError:
        raise ValueError(f"not an image in one of the formats {', '.join(FORMATS)}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        limit = Image.MAX_IMAGE_PIXELS
        raise ValueError(f"more pixels than the limit of {limit}; shrink it first") from None
    except _DAMAGED as error:
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error


def _shrunk(size: tuple[int, int], photo_size: int) -> tuple[int, int]:
    long_side = max(size)
    if long_side <= photo_size:
        return size
    width, height = (max(1, round(side * photo_size / long_side)) for side in size)
    return width, height


def _upright_srgb(image: Image.Image, photo_size: int) -> np.ndarray:
    # A JPEG decodes at a power-of-two fraction of its size for a fraction of the time; twice the
    # final size is kept for the better filter.
    factor = 2 * photo_size / max(image.size)
    if factor < 1:
        width, height = image.size
        image.draft(image.mode, (round(width * factor), round(height * factor)))
    # A TIFF applies its orientation while it loads, hence load first.
    image.load()
    profile = image.info.get("icc_profile")
    image = ImageOps.exif_transpose(image)
    image = _eight_bits(image)
    if image.size != (size := _shrunk(image.size, photo_size)):
        image = image.resize(size, Image.Resampling.LANCZOS)
    if profile:
        image = _from_profile(image, profile)
    return np.array(image.convert("RGB"), dtype=np.uint8)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Returns mode L, RGB or CMYK."""
    if image.mode in {"L", "RGB", "CMYK"} and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        return Image.fromarray(((np.clip(values, 0, 65535) + 128) // 257).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range; save it with 8 or 16 bits")
    if image.mode in {"LA", "PA", "La", "RGBA", "RGBa"} or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("L" if image.mode == "1" else "RGB")


def _from_profile(image: Image.Image, profile: bytes) -> Image.Image:
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(own).lower():
            return image
        # An sRGB image converted with an sRGB profile would still move by one level here and there.
        converted = ImageCms.profileToProfile(
            image, own, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, TypeError):
        # A broken profile, or one for other channels, says nothing: the values are taken as sRGB.
        return image
    return image if converted is None else converted


def _by_stem(folder: Path) -> dict[str, Path]:
    stems: dict[str, Path] = {}
    for name, path, _ in find_photos(folder):
        stem = name.removesuffix(path.suffix)
        if stem in stems:
            raise ValueError(
                f"{folder}: {stems[stem].name} and {path.name} have the same stem; "
                "pairs are matched by stem, so keep one of them"
            )
        stems[stem] = path
    return stems


def _printable(name: str) -> str:
    """File names may hold bytes that are no text; records and messages may not."""
    return name.encode("utf-8", "replace").decode()
