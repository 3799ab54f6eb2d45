"""Printed words in two languages: pairs for a translation of images, drawn when asked for.

The vocabulary is closed: WORDS is all there is, and a network trained on it knows these words
only. A pair shows one word twice: in English on toned and noisy paper, anywhere in a range of
places, sizes and weights, and in Russian on clean paper, always printed as `PRINT` says: what is
to be learned is a function of the source, namely which word it is. Fonts are the two
weights of DejaVu Sans that come inside matplotlib's wheel (Bitstream Vera licence).

Contract: the pair of an index is a pure function of (seed, index). One rendering in `_RESERVE` is
reserved: at that place, in that size and weight, that word is drawn in held-out pairs only.
"""

import hashlib
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from .photos import Photo, PhotoData, Photos

SIDE: Final = 48
"""Height and width of a picture in pixels."""

PAPER, INK = 230, 25
"""Grey of a clean print's paper and ink, well inside 0 to 255: a generator's last tanh reaches its
ends nowhere, and paper beyond its reach would leave nine tenths of all pixels pushing for ever."""

WORDS: Final = (
    ("bag", "сумка"),
    ("ball", "мяч"),
    ("bee", "пчела"),
    ("bird", "птица"),
    ("book", "книга"),
    ("box", "ящик"),
    ("bread", "хлеб"),
    ("cat", "кот"),
    ("chair", "стул"),
    ("city", "город"),
    ("day", "день"),
    ("door", "дверь"),
    ("duck", "утка"),
    ("dust", "пыль"),
    ("earth", "земля"),
    ("egg", "яйцо"),
    ("eye", "глаз"),
    ("fire", "огонь"),
    ("fish", "рыба"),
    ("floor", "пол"),
    ("fox", "лиса"),
    ("goat", "коза"),
    ("grass", "трава"),
    ("hand", "рука"),
    ("hill", "холм"),
    ("horse", "конь"),
    ("hour", "час"),
    ("house", "дом"),
    ("ice", "лёд"),
    ("juice", "сок"),
    ("key", "ключ"),
    ("knife", "нож"),
    ("leaf", "лист"),
    ("light", "свет"),
    ("lion", "лев"),
    ("moon", "луна"),
    ("night", "ночь"),
    ("nose", "нос"),
    ("oak", "дуб"),
    ("river", "река"),
    ("salt", "соль"),
    ("sand", "песок"),
    ("sea", "море"),
    ("sky", "небо"),
    ("snow", "снег"),
    ("song", "песня"),
    ("soup", "суп"),
    ("table", "стол"),
    ("tea", "чай"),
    ("train", "поезд"),
    ("wall", "стена"),
    ("water", "вода"),
    ("wind", "ветер"),
    ("wolf", "волк"),
    ("world", "мир"),
    ("year", "год"),
)
"""The closed vocabulary: (English, Russian) of each word; a word's number is its place here."""

_FONTS: Final = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf")
# Two streams of random numbers from one seed.
_TRAIN, _HELD_OUT = 0, 1
_RESERVE: Final = 8

_SIZES: Final = (10, 12)
_SHIFT: Final = 2
# The middle of small letters lies this many pixels above the baseline.
_RISE: Final = 3

# Of the source, in shares of white: the range of its paper, its ink and its noise's deviation.
_PAPER: Final = (0.65, 1.0)
_INK: Final = (0.0, 0.25)
_NOISE: Final = (0.0, 0.08)


class Placement(NamedTuple):
    """Where and how a word is printed.

    Attributes:
        size: of the font in pixels per em.
        bold: DejaVu Sans Bold, or the regular weight.
        middle: column of the middle of the word's advance width, in pixels.
        baseline: row of the letters' baseline, in pixels.
    """

    size: int
    bold: bool
    middle: int
    baseline: int


class WordPair(NamedTuple):
    """One word, printed in both languages.

    Attributes:
        word: its number in `WORDS`.
        placement: of the English printing.
        photo: the pair of pictures; its name ends in the English word.
    """

    word: int
    placement: Placement
    photo: Photo


def render_word(
    word: str, placement: Placement, *, side: int = SIDE
) -> UInt8[np.ndarray, "side side 3"]:
    """Prints a word in `INK` on `PAPER`, anti-aliased.

    Args:
        word: text in a script of DejaVu Sans.
        placement: where and how.
        side: height and width of the picture in pixels.

    Raises:
        ValueError: the word leaves the picture, or matplotlib came without its fonts.
    """
    ink, (left, top) = _ink(word, placement.size, placement.bold)
    left, top = left + placement.middle, top + placement.baseline
    bottom, right = top + ink.shape[0], left + ink.shape[1]
    if not (0 <= left < right <= side and 0 <= top < bottom <= side):
        raise ValueError(
            f"{word!r} at {placement} leaves a picture of {side}x{side} pixels; "
            "choose a smaller size or another place"
        )
    tones = np.rint(PAPER + (INK - PAPER) / 255 * np.arange(256)).astype(np.uint8)
    picture = np.full((side, side, 3), PAPER, np.uint8)
    picture[top:bottom, left:right] = tones[ink][..., None]
    return picture


PRINT: Final = Placement(size=12, bold=True, middle=SIDE // 2, baseline=SIDE // 2 + _RISE)
"""How every Russian word is printed."""


def target_words() -> UInt8[np.ndarray, "words side side 3"]:
    """Prints the Russian of every word: what an output is compared with.

    Returns:
        As many pictures as `WORDS` has rows, in its order, each the target of its word.
    """
    return np.stack([render_word(russian, PRINT) for _, russian in WORDS])


def train_pair(seed: int, index: int) -> WordPair:
    """Draws a pair to train on; words take turns, everything else is random.

    Args:
        seed: at least 0; two seeds give two unrelated streams.
        index: from 0; there is no last one.
    """
    return _draw(seed, index, _TRAIN)


def held_out_pair(seed: int, index: int) -> WordPair:
    """Draws a pair to judge by, from the renderings that no training pair shows.

    Args:
        seed: at least 0.
        index: from 0; words take turns, so that every `len(WORDS)` in a row show each word once.
    """
    return _draw(seed, index, _HELD_OUT)


def word_photos(
    *, count: int = 20_000, held_out: int = 10 * len(WORDS), seed: int = 0
) -> PhotoData:
    """Gives the pairs the form of photographs: `batches` reads them with a window of `SIDE`.

    Args:
        count: pairs to train on; each is drawn anew when asked for and not kept.
        held_out: pairs in `validation`, those of `held_out_pair` for 0, 1, 2 ...
        seed: of both.

    Raises:
        ValueError: a number is too small, or matplotlib came without its fonts.
    """
    for name, value, least in (("count", count, 1), ("held_out", held_out, 1), ("seed", seed, 0)):
        if value < least:
            raise ValueError(f"{name} {value} must be at least {least}")
    validation = tuple(Photos(held_out, lambda index: held_out_pair(seed, index).photo, memory=0))
    return PhotoData(
        train=Photos(count, lambda index: train_pair(seed, index).photo, memory=0),
        validation=validation,
        description=(
            f"{count} printings of {len(WORDS)} words, English -> Russian; "
            f"held out: {held_out} other printings"
        ),
        skipped=(),
        fingerprint=f"words:{count}:{held_out}:{seed}:{_digest(seed)}",
    )


def _draw(seed: int, index: int, stream: int) -> WordPair:
    rng = np.random.default_rng((seed, stream, index))
    word = index % len(WORDS)
    while True:
        placement = Placement(
            size=int(rng.integers(_SIZES[0], _SIZES[1] + 1)),
            bold=bool(rng.integers(2)),
            middle=SIDE // 2 + int(rng.integers(-_SHIFT, _SHIFT + 1)),
            baseline=SIDE // 2 + _RISE + int(rng.integers(-_SHIFT, _SHIFT + 1)),
        )
        # The sum runs through the remainders along every axis, so that what is reserved lies
        # evenly among what is trained on, whatever the word.
        if ((word + sum(placement)) % _RESERVE == 0) == (stream == _HELD_OUT):
            break
    english, russian = WORDS[word]
    photo = Photo(
        f"{index:05d}-{english}",
        _on_paper(render_word(english, placement), rng),
        render_word(russian, PRINT),
    )
    return WordPair(word, placement, photo)


def _on_paper(
    clean: UInt8[np.ndarray, "side side 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "side side 3"]:
    """The same print with a tone of paper and ink and with grey noise, one value in 3 channels."""
    paper, ink, deviation = (rng.uniform(*bounds) for bounds in (_PAPER, _INK, _NOISE))
    grey = ink + (paper - ink) / (PAPER - INK) * (clean[..., 0] - float(INK))
    grey += deviation * rng.standard_normal(grey.shape, np.float32)
    values = np.rint(np.clip(grey, 0.0, 1.0) * 255.0).astype(np.uint8)
    return np.repeat(values[..., None], 3, axis=-1)


@lru_cache(maxsize=4096)
def _ink(word: str, size: int, bold: bool) -> tuple[UInt8[np.ndarray, "h w"], tuple[int, int]]:
    """The word's ink, 255 = black, and its left upper corner as seen from the placement's point."""
    font = _font(size, bold)
    left, top, right, bottom = (int(edge) for edge in font.getbbox(word, anchor="ms"))
    picture = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(picture).text((-left, -top), word, fill=255, font=font, anchor="ms")
    ink = np.asarray(picture)
    return ink, (left, top)


@cache
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    # Located, not imported: matplotlib's font manager reads every font of the machine.
    spec = find_spec("matplotlib")
    path = f"mpl-data/fonts/ttf/{_FONTS[bold]}"
    file = Path(spec.origin).parent / path if spec and spec.origin else None
    if file is None or not file.is_file():
        raise ValueError(
            f"the font {path} is missing from the installed matplotlib; reinstall matplotlib"
        )
    # Raqm, where it is installed, sets some letters closer.
    return ImageFont.truetype(str(file), size, layout_engine=ImageFont.Layout.BASIC)


def _digest(seed: int) -> str:
    """Of some drawn pixels: changes with the vocabulary, the fonts and how Pillow draws them."""
    digest = hashlib.sha256()
    for index in range(len(WORDS)):
        _, source, target = train_pair(seed, index).photo
        assert target is not None
        digest.update(source.tobytes() + target.tobytes())
    return digest.hexdigest()[:16]
