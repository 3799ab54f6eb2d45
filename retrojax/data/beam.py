"""Preparation as one Apache Beam pipeline, for folders that one machine decodes too slowly.

Contract: the set that is written has the records of `builder.prepare` without Beam, in the same
order; which files they are spread over may differ. Needs the extra `beam`. Pipelines of several
machines need a cache folder that all of them see.
"""

# The extra `beam` may be absent.
# pyright: reportMissingImports=false

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from .builder import SPLIT, PhotoBuilder, decode, tfds
from .photo_files import PhotoFile

# Beam's default looks for a program to download; this runner is part of the package.
_IN_PROCESS: Final = "--runner=BundleBasedDirectRunner"


def download_config(flags: Sequence[str]) -> tfds.download.DownloadConfig:
    """What TFDS needs to prepare with Beam.

    Args:
        flags: of Apache Beam, as "--runner=FlinkRunner"; without a runner, this process is it.

    Raises:
        ValueError: Apache Beam is not installed.
    """
    try:
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise ValueError(
            "--beam needs Apache Beam: install it once with pip install 'retrojax[beam]'"
        ) from error
    named = any(flag.startswith("--runner") for flag in flags)
    given = list(flags) if named else [_IN_PROCESS, *flags]
    return tfds.download.DownloadConfig(beam_options=PipelineOptions(given))


class BeamPhotoBuilder(PhotoBuilder, skip_registration=True):  # pyright: ignore
    """Writes what `PhotoBuilder` writes, each photograph decoded by some worker."""

    metadata_type: Any = tfds.core.BeamMetadataDict

    def _split_generators(self, dl_manager: Any, pipeline: Any) -> dict[str, Any]:
        import apache_beam as beam

        del dl_manager  # Nothing is downloaded.
        outcomes = (
            pipeline
            | "files" >> beam.Create(list(enumerate(self._files)))
            | "spread" >> beam.Reshuffle()
            | "decode" >> beam.Map(partial(_numbered, photo_size=self._photo_size))
        )
        good = outcomes | "readable" >> beam.Filter(_is_readable)
        for name, share, chosen in (
            ("names", _name, good),
            ("sizes", _size, good),
            ("skipped", _reason, outcomes | "unreadable" >> beam.Filter(_is_skipped)),
        ):
            # One list in the order of the files, for the metadata.
            self.info.metadata[name] = (
                chosen
                | f"{name} of each" >> beam.Map(share)
                | f"all {name}" >> beam.combiners.ToList()
                | f"{name} in order" >> beam.Map(_in_order)
            )
        return {SPLIT: good | "examples" >> beam.Map(_example)}


def _numbered(item: tuple[int, PhotoFile], *, photo_size: int) -> tuple[int, str, Any]:
    number, file = item
    return number, file.name, decode(file, photo_size)


def _is_skipped(item: tuple[int, str, Any]) -> bool:
    return isinstance(item[2], str)


def _is_readable(item: tuple[int, str, Any]) -> bool:
    return not _is_skipped(item)


def _name(item: tuple[int, str, Any]) -> tuple[int, str]:
    return item[0], item[1]


def _size(item: tuple[int, str, Any]) -> tuple[int, tuple[int, int]]:
    return item[0], item[2][1]


def _reason(item: tuple[int, str, Any]) -> tuple[int, str]:
    return item[0], item[2]


def _example(item: tuple[int, str, Any]) -> tuple[int, dict[str, Any]]:
    number, name, (images, _) = item
    return number, {"name": name, **images}


def _in_order(numbered: Sequence[tuple[int, Any]]) -> list[Any]:
    return [value for _, value in sorted(numbered)]
