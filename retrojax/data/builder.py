"""Prepared photographs: a TFDS builder that decodes each file once, at training size.

Contract: `prepare` returns a reader of records. The first call for a set of files decodes, shrinks
and writes them (PNG bytes in array_record files); later calls find the records by a fingerprint of
the files (names, sizes, times) and of the size asked for, and decode no photograph file. A set is
written beside its place and renamed into it, so a killed preparation leaves nothing that looks
whole, and of two at once the first to finish wins. No TensorFlow: pixels go in and out as PNG.
"""

import contextlib
import hashlib
import io
import itertools
import json
import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

from rich.console import Console
from rich.progress import track

from .photo_files import PhotoFile, decode_photo, encode_png, listed, quiet_decoding

with warnings.catch_warnings():
    # Deprecations inside its import are its authors' to act on.
    warnings.simplefilter("ignore")
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.utils import tqdm_utils

_VERSION: Final = "1.0.0"
_SMALL: Final = 64 << 20  # Bytes of all files of a set that is known by its contents.
SPLIT: Final = "photos"
# Decoded photographs waiting for the writer: bounds the memory of a large preparation.
_AHEAD: Final = 64
_SHOW_PROGRESS_FROM: Final = 50


class Prepared(NamedTuple):
    """A set of prepared photographs.

    Attributes:
        records: random access to {"name", "source"[, "target"]}, all bytes, images as PNG.
        names: name of each record.
        sizes: (height, width) of each record.
        skipped: files that could not be used, each with the reason.
        fingerprint: changes when a file or the training size changes.
    """

    records: Sequence[dict[str, bytes]]
    names: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    skipped: tuple[str, ...]
    fingerprint: str


class PhotoBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # pyright: ignore
    """Writes photographs, or pairs of them, at training size."""

    VERSION = tfds.core.Version(_VERSION)
    name = "photos"
    # Beside the code TFDS looks for checksums of downloads. There are none, and in TFDS 4.9.10 the
    # look itself needs a package that it does not declare (importlib_resources).
    code_path: Any = None
    metadata_type: Any = tfds.core.MetadataDict

    def __init__(self, files: Sequence[PhotoFile], photo_size: int, data_dir: Path) -> None:
        self._files = files
        self._photo_size = photo_size
        super().__init__(data_dir=str(data_dir), file_format="array_record")

    def _info(self) -> tfds.core.DatasetInfo:
        image = {"shape": (None, None, 3), "encoding_format": "png"}
        features: dict[str, Any] = {
            "name": tfds.features.Text(),
            "source": tfds.features.Image(**image),
        }
        if any(file.target for file in self._files):
            features["target"] = tfds.features.Image(**image)
        return tfds.core.DatasetInfo(
            builder=self,
            description="Photographs shrunk to training size.",
            features=tfds.features.FeaturesDict(features),
            # Names, sizes and skipped files: known without reading a record.
            metadata=self.metadata_type(),
            # The order of the files is the order of the records, on every version of TFDS.
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager  # Nothing is downloaded.
        return {SPLIT: self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        names, sizes, skipped = [], [], []
        for file, outcome in _decoded(self._files, self._photo_size):
            if isinstance(outcome, str):
                skipped.append(outcome)
                continue
            example, size = outcome
            names.append(file.name)
            sizes.append(size)
            yield len(names), {"name": file.name, **example}
        if not names:
            raise ValueError(f"no readable photograph: {listed(skipped)}")
        about: Any = self.info.metadata
        about.update(names=names, sizes=sizes, skipped=skipped)


def prepare(
    files: Sequence[PhotoFile],
    *,
    photo_size: int,
    cache_dir: Path,
    label: str,
    beam: Sequence[str] | None = None,
) -> Prepared:
    """Prepares photographs, or finds them prepared.

    Args:
        files: what to prepare, in the order of the records.
        photo_size: longest side of a prepared photograph, in pixels.
        cache_dir: folder that keeps prepared sets; anything in it may be deleted.
        label: first part of the set's folder name, for people who look into the cache.
        beam: flags of the Apache Beam pipeline that prepares; None = this process does.

    Raises:
        ValueError: no file is readable, two sides of a pair differ in size, or the cache folder
            cannot be written.
    """
    fingerprint = _fingerprint(files, photo_size)
    place = cache_dir / f"{label}-{fingerprint}"
    if beam is None:
        builder, config = PhotoBuilder(files, photo_size, place), None
    else:
        from .beam import BeamPhotoBuilder, download_config

        builder, config = BeamPhotoBuilder(files, photo_size, place), download_config(beam)
    if not builder.data_path.exists():
        try:
            with _quiet_tfds(), quiet_decoding():
                builder.download_and_prepare(download_config=config)
        except OSError as error:
            # Another process may have put the same set in place first: then that one is read.
            if not builder.data_path.exists():
                raise ValueError(
                    f"cannot write prepared photographs below {cache_dir}: "
                    f"{error.strerror or error}; name another folder in RETROJAX_CACHE"
                ) from error
        except Exception as error:  # Beam's workers may raise anything
            if beam is None:
                raise
            raise ValueError(f"the Beam pipeline failed: {str(error).strip()}") from error
    try:
        return _read(builder.data_path, fingerprint)
    except Exception as error:  # a cache cleaner may have left any part of it
        raise ValueError(
            f"the prepared photographs in {builder.data_path} are damaged; delete that folder "
            "and run again"
        ) from error


def _read(folder: os.PathLike[str], fingerprint: str) -> Prepared:
    builder: Any = tfds.builder_from_directory(str(folder))
    about = builder.info.metadata
    images = [name for name in ("source", "target") if name in builder.info.features]
    records = builder.as_data_source(
        SPLIT, decoders={name: tfds.decode.SkipDecoding() for name in images}
    )
    records[0]  # opens the files, which are otherwise opened at the first training step
    return Prepared(
        records=records,
        names=tuple(about["names"]),
        sizes=tuple((height, width) for height, width in about["sizes"]),
        skipped=tuple(about["skipped"]),
        fingerprint=fingerprint,
    )


def _decoded(files: Sequence[PhotoFile], photo_size: int) -> Iterator[tuple[PhotoFile, Any]]:
    """Decodes in order, on threads: Pillow lets go of the interpreter lock."""
    shown = track(
        files,
        description="Preparing photographs",
        console=Console(stderr=True),
        disable=len(files) <= _SHOW_PROGRESS_FROM,
    )
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        waiting = iter(shown)
        while chunk := list(itertools.islice(waiting, _AHEAD)):
            yield from zip(
                chunk, pool.map(lambda file: decode(file, photo_size), chunk), strict=True
            )


def decode(file: PhotoFile, photo_size: int) -> tuple[dict[str, bytes], tuple[int, int]] | str:
    """Returns an example's images and their size, or why there is none."""
    images = {}
    for field, path in (("source", file.source), ("target", file.target)):
        if path is None:
            continue
        try:
            images[field] = decode_photo(path, photo_size=photo_size)
        except ValueError as error:
            return f"{path}: {error}"
    sizes = {image.shape[:2] for image in images.values()}
    if len(sizes) > 1:
        pixels = " and ".join(f"{i.shape[1]}x{i.shape[0]}" for i in images.values())
        return (
            f"{file.name}: source and target are {pixels} pixels at training size, "
            "but must show the same frame"
        )
    return {field: encode_png(image) for field, image in images.items()}, sizes.pop()


def _fingerprint(files: Sequence[PhotoFile], photo_size: int) -> str:
    """Of a small set its contents, so that a copy, or a package installed anew, is the same set.

    To read a large one takes too long; it is known by its files' paths, sizes and times.
    """
    paths = [
        (file.name, path)
        for file in files
        for path in (file.source, file.target)
        if path is not None
    ]
    small = sum(path.stat().st_size for _, path in paths) <= _SMALL
    facts: list[Any] = [_VERSION, photo_size]
    for name, path in paths:
        about = path.stat()
        known: list[Any] = [str(path), about.st_size, about.st_mtime_ns]
        if small:
            with contextlib.suppress(OSError):  # decoding names what cannot be read
                known = [hashlib.sha256(path.read_bytes()).hexdigest()]
        facts.append([name, *known])
    return hashlib.sha256(json.dumps(facts).encode("utf-8", "surrogateescape")).hexdigest()[:16]


@contextlib.contextmanager
def _quiet_tfds() -> Iterator[None]:
    """TFDS prints to stdout and draws a bar per split; `track` says what there is to say."""
    shown = tqdm_utils._active  # no public way to ask
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.display_progress_bar(shown)
