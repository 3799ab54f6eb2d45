"""Any TFDS dataset with an image feature, as photographs.

Contract: reading loads no TensorFlow. A dataset that is not prepared yet is prepared (array_record,
in TFDS's own folder) if its builder can do so with what is installed; otherwise one line says what
to install once.
"""

import contextlib
import difflib
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from .beam import download_config
from .photo_files import decode_photo, photo_shape
from .photos import Photo, held_out

with warnings.catch_warnings():
    # Deprecations inside its import are its authors' to act on.
    warnings.simplefilter("ignore")
    import tensorflow_datasets as tfds

# Headers read to find photographs that are too small; more would delay the start by minutes.
_LOOK_AT_MOST: Final = 10_000


@dataclass(frozen=True)
class TfdsPhotos:
    """An opened dataset.

    Attributes:
        full_name: name, configuration and version.
        feature: the image feature that is read.
        splits: records of each split that is used, images as encoded bytes.
        train: split to train on, and the indices of its photographs.
        validation: the same of those held out.
        photo_size: longest side of a photograph as read, in pixels.
        two_domains: whether there are splits "trainA" and "trainB", as in `cycle_gan`.
    """

    full_name: str
    feature: str
    splits: Mapping[str, Any]
    train: tuple[str, Sequence[int]]
    validation: tuple[str, Sequence[int]]
    photo_size: int
    two_domains: bool

    def read(self, split: str, index: int) -> Photo:
        """Decodes one photograph.

        Raises:
            ValueError: its bytes are damaged.
        """
        try:
            image = decode_photo(self._encoded(split, index), photo_size=self.photo_size)
        except ValueError as error:
            raise ValueError(f"{_label(split, index)} of {self.full_name}: {error}") from error
        return Photo(_label(split, index), image, None)

    def named_sizes(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """Reads name and (height, width) from the headers of at most 10 000 photographs a split."""
        for split, indices in (self.validation, self.train):
            for index in indices[:: -(-len(indices) // _LOOK_AT_MOST)]:
                encoded = self._encoded(split, index)
                yield _label(split, index), photo_shape(encoded, photo_size=self.photo_size)

    def _encoded(self, split: str, index: int) -> io.BytesIO:
        return io.BytesIO(self.splits[split][index][self.feature])


def open_tfds(
    name: str,
    feature: str | None,
    *,
    photo_size: int,
    held_out_most: int = 8,
    second_domain: bool = False,
    beam: Sequence[str] | None = None,
) -> TfdsPhotos:
    """Opens a TFDS dataset, preparing it if need be.

    Trains on the split "train" (or the first whose name begins so, or the first); holds out
    photographs of "validation" or "test" if there is one, else of the split it trains on.

    Args:
        name: name of the dataset, with configuration if it has several ("cycle_gan/horse2zebra").
        feature: image feature to read; by default the first.
        photo_size: longest side of a photograph as read, in pixels.
        held_out_most: bound on the photographs held out.
        second_domain: whether "trainB" and "testB" are read instead of "trainA" and "testA".
        beam: flags of the Apache Beam pipeline that prepares it; None = without Beam.

    Raises:
        ValueError: unknown dataset or feature, no image feature, too few photographs, or a dataset
            that cannot be prepared here.
    """
    builder = _builder(name)
    feature = _image_feature(builder, name, feature)
    _prepare(builder, name, beam)
    sizes = {split: builder.info.splits[split].num_examples for split in builder.info.splits}
    domain = "B" if second_domain else "A"
    preferred = ("train", f"train{domain}")
    train = next(
        (s for s in sorted(sizes, key=lambda s: s not in preferred) if s.startswith("train")),
        next(iter(sizes)),
    )
    held = ("validation", "test", f"test{domain}")
    other = next((s for s in held if sizes.get(s) and s != train), None)
    if sizes[train] < 2:
        raise ValueError(f"tfds:{name}: split {train!r} has {sizes[train]} examples, needs 2")
    indices: Sequence[int] = range(sizes[train])
    if other is None:
        validation = train, held_out(sizes[train], most=held_out_most)
        indices = [index for index in indices if index not in validation[1]]
    else:
        validation = other, held_out(sizes[other], most=held_out_most)
    try:
        splits = {
            split: builder.as_data_source(split, decoders={feature: tfds.decode.SkipDecoding()})
            for split in {train, validation[0]}
        }
    except NotImplementedError as error:
        raise ValueError(
            f"tfds:{name} in {builder.data_path} is prepared in a format without random access; "
            "prepare it with download_and_prepare(file_format='array_record')"
        ) from error
    return TfdsPhotos(
        full_name=builder.info.full_name,
        feature=feature,
        splits=splits,
        train=(train, indices),
        validation=validation,
        photo_size=photo_size,
        two_domains={"trainA", "trainB"} <= set(sizes),
    )


def _builder(name: str) -> Any:
    try:
        return tfds.builder(name)
    except tfds.core.DatasetNotFoundError as error:
        known = tfds.list_builders(with_community_datasets=False)
        near = difflib.get_close_matches(name.partition("/")[0], known, n=3)
        hint = f"; near it are {', '.join(near)}" if near else ""
        raise ValueError(f"tfds:{name}: no such TFDS dataset{hint}") from error
    except ImportError as error:
        raise _needs_package(name, error) from error
    except Exception as error:  # a builder is foreign code, and may raise anything
        raise ValueError(f"tfds:{name}: {_first_line(error)}") from error


def _image_feature(builder: Any, name: str, wanted: str | None) -> str:
    features = builder.info.features
    images = [
        key
        for key, feature in features.items()
        if isinstance(feature, tfds.features.Image) and feature.np_dtype != np.float32
    ]
    if not images:
        raise ValueError(f"tfds:{name} has no image feature; its features: {', '.join(features)}")
    if wanted is not None and wanted not in images:
        raise ValueError(
            f"tfds:{name} has no image feature {wanted!r}; its image features: {', '.join(images)}"
        )
    return wanted or images[0]


def _prepare(builder: Any, name: str, beam: Sequence[str] | None) -> None:
    if builder.data_path.exists():
        return
    config = None if beam is None else download_config(beam)
    try:
        # Its remarks on stdout are dropped; the bars of a download, on stderr, stay.
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare(file_format="array_record", download_config=config)
    except ImportError as error:
        raise _needs_package(name, error) from error
    except Exception as error:  # a builder is foreign code, and may raise anything
        if not builder.data_path.exists():  # else another process was faster
            raise ValueError(f"tfds:{name} cannot be prepared: {_first_line(error)}") from error


def _needs_package(name: str, error: ImportError) -> ValueError:
    package = (error.name or str(error)).partition(".")[0]
    return ValueError(
        f"tfds:{name} needs {package} to prepare its files: install it once with "
        "pip install 'retrojax[prepare]' and run the same command; reading needs none"
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _label(split: str, index: int) -> str:
    return f"{split}-{index:06d}"
