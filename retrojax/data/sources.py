"""Where images come from: one entry, `open_data`, for all forms of `--data`.

Contract: every problem with the input is found here, before anything is compiled, and is a
`ValueError` with one line that names the value and the way out.
"""

import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from .photo_files import PhotoFile, decode_photo, find_photos, listed, match_pairs
from .photos import Photo, PhotoData, Photos, check_window, held_out

FORMS: Final = (
    "bundled",
    "folder:PATH",
    "pairs:SOURCE,TARGET",
    "unpaired:SOURCE,TARGET",
    "tfds:NAME[:FEATURE]",
    "digits",
    "faces",
    "words",
)


class _Request(NamedTuple):
    """What `open_data` was asked for; `rest` is the text after the kind."""

    rest: str
    photo_size: int
    window: int
    cache_dir: Path
    held_out_most: int
    beam: Sequence[str] | None


def open_data(
    spec: str,
    *,
    photo_size: int,
    window: int,
    cache_dir: Path | None = None,
    held_out_most: int = 8,
    beam: Sequence[str] | None = None,
) -> PhotoData:
    """Opens photographs for training.

    Args:
        spec: "bundled" (photographs inside the scikit-image and scikit-learn wheels),
            "folder:PATH", "pairs:SOURCE,TARGET" (two folders, matched by file stem),
            "unpaired:SOURCE,TARGET" (two folders, unrelated), "tfds:NAME[:FEATURE]" (two domains
            if it has them, as `cycle_gan/horse2zebra`), "digits" and "faces" (small images
            inside the same wheels), or "words" (pairs of printed words, see `words.py`).
        photo_size: photographs are shrunk until their long side is at most this many pixels, which
            stand for the 36 mm of a film frame; never enlarged.
        window: side in pixels of the square that training cuts from a photograph; all must be at
            least this large.
        cache_dir: folder for prepared photographs, by default `default_cache_dir()`.
        held_out_most: of a folder or a dataset a tenth is held out, at most this many.
        beam: flags of the Apache Beam pipeline that prepares what is not prepared yet; none in it =
            in this process; None = without Beam.

    Raises:
        ValueError: a malformed spec, or any of the input's problems, in one line.
    """
    kind, _, rest = spec.partition(":")
    alone = kind in FORMS
    if kind not in _KINDS or alone == bool(rest):
        raise ValueError(f"data {spec!r} is not one of the forms {', '.join(FORMS)}")
    if not 1 <= window <= photo_size:
        raise ValueError(
            f"window {window} must be between 1 and the photo size {photo_size}; "
            "choose a smaller --crop or a larger photo size"
        )
    cache_dir = default_cache_dir() if cache_dir is None else cache_dir
    return _KINDS[kind](_Request(rest, photo_size, window, cache_dir, held_out_most, beam))


def default_cache_dir() -> Path:
    """Returns RETROJAX_CACHE, or `retrojax` in the user's cache folder (XDG_CACHE_HOME)."""
    if own := os.environ.get("RETROJAX_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "retrojax"


def _bundled(request: _Request) -> PhotoData:
    from .bundled import HELD_OUT, bundled_photos

    return _from_files(
        bundled_photos(),
        request,
        label="bundled",
        described="bundled photographs",
        hold_out=lambda names, _: tuple(i for i, name in enumerate(names) if name in HELD_OUT),
    )


def _folder(request: _Request) -> PhotoData:
    folder = Path(request.rest).expanduser()
    return _from_files(
        find_photos(folder), request, label="folder", described=f"photographs of {folder}"
    )


def _pairs(request: _Request) -> PhotoData:
    sources, targets = _two_folders("pairs", request)
    return _from_files(
        match_pairs(sources, targets),
        request,
        label="pairs",
        described=f"pairs of {sources} and {targets}",
    )


def _unpaired(request: _Request) -> PhotoData:
    sides = [
        _from_files(find_photos(folder), request, label="folder", described=f"images of {folder}")
        for folder in _two_folders("unpaired", request)
    ]
    return two_domains(*sides)


def _two_folders(kind: str, request: _Request) -> tuple[Path, Path]:
    folders = request.rest.split(",")
    if len(folders) != 2 or not all(folders):
        raise ValueError(
            f"data '{kind}:{request.rest}' needs two folders with a comma between: "
            f"{kind}:SOURCE,TARGET"
        )
    return Path(folders[0]).expanduser(), Path(folders[1]).expanduser()


def two_domains(source: PhotoData, target: PhotoData) -> PhotoData:
    """Two sets of images as the source and the target domain of an unpaired task."""
    return PhotoData(
        train=source.train,
        validation=source.validation,
        description=f"source: {source.description}; target: {target.description}",
        skipped=(*source.skipped, *target.skipped),
        fingerprint=f"{source.fingerprint}|{target.fingerprint}",
        targets=target.train,
        validation_targets=target.validation,
    )


def _tfds(request: _Request) -> PhotoData:
    from .tfds_source import TfdsPhotos, open_tfds

    name, _, feature = request.rest.partition(":")

    def opened(*, second_domain: bool) -> TfdsPhotos:
        return open_tfds(
            name,
            feature or None,
            photo_size=request.photo_size,
            held_out_most=request.held_out_most,
            second_domain=second_domain,
            beam=request.beam,
        )

    def photos(found: TfdsPhotos) -> PhotoData:
        check_window(found.named_sizes(), request.window)
        (split, indices), (validation_split, chosen) = found.train, found.validation
        domain = f":{split}" if found.two_domains else ""
        train = Photos(len(indices), lambda index: found.read(split, indices[index]))
        validation = tuple(found.read(validation_split, index) for index in chosen)
        return PhotoData(
            train=train,
            validation=validation,
            description=_described(train, validation, f"photographs of {found.full_name}"),
            skipped=(),
            fingerprint=f"{found.full_name}:{found.feature}:{request.photo_size}{domain}",
        )

    first = opened(second_domain=False)
    if not first.two_domains:
        return photos(first)
    return two_domains(photos(first), photos(opened(second_domain=True)))


def _embedded(name: str) -> Callable[[_Request], PhotoData]:
    def opened(request: _Request) -> PhotoData:
        from .embedded import embedded_images

        data = embedded_images(name)
        sizes = ((photo.name, photo.source.shape[:2]) for photo in data.validation)
        check_window(((label, (h, w)) for label, (h, w) in sizes), request.window)
        return data

    return opened


def _words(request: _Request) -> PhotoData:
    from .words import SIDE, word_photos

    check_window([("a printed word", (SIDE, SIDE))], request.window)
    return word_photos()


def _every_tenth(names: tuple[str, ...], most: int) -> tuple[int, ...]:
    if len(names) < 2:
        raise ValueError(
            f"only {listed(names)} can be read; at least 2 photographs are needed, "
            "one to train on and one to hold out"
        )
    return held_out(len(names), most=most)


def _from_files(
    files: list[PhotoFile],
    request: _Request,
    *,
    label: str,
    described: str,
    hold_out: Callable[[tuple[str, ...], int], tuple[int, ...]] = _every_tenth,
) -> PhotoData:
    from .builder import prepare

    prepared = prepare(
        files,
        photo_size=request.photo_size,
        cache_dir=request.cache_dir,
        label=label,
        beam=request.beam,
    )
    check_window(zip(prepared.names, prepared.sizes, strict=True), request.window)

    def read(index: int) -> Photo:
        record = prepared.records[index]
        source, target = (
            None
            if (png := record.get(field)) is None
            else decode_photo(io.BytesIO(png), photo_size=request.photo_size)
            for field in ("source", "target")
        )
        assert source is not None
        return Photo(prepared.names[index], source, target)

    chosen = hold_out(prepared.names, request.held_out_most)
    rest = [index for index in range(len(prepared.names)) if index not in chosen]
    train = Photos(len(rest), lambda index: read(rest[index]))
    validation = tuple(Photos(len(chosen), lambda index: read(chosen[index])))
    return PhotoData(
        train=train,
        validation=validation,
        description=_described(train, validation, described),
        skipped=prepared.skipped,
        fingerprint=prepared.fingerprint,
    )


def _described(train: Photos, validation: tuple[Photo, ...], what: str) -> str:
    return f"{len(train)} {what}; held out: {listed(photo.name for photo in validation)}"


_KINDS: Final = MappingProxyType(
    {
        "bundled": _bundled,
        "folder": _folder,
        "pairs": _pairs,
        "unpaired": _unpaired,
        "tfds": _tfds,
        "digits": _embedded("digits"),
        "faces": _embedded("faces"),
        "words": _words,
    }
)
