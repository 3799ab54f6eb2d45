"""Which files `retrojax stylize` reads, and where each result goes.

Contract: each input file is done once, however often it is named; no result ever replaces an input
or another result of the same call; results of an earlier call inside an input folder are not taken
for photographs. All of this is decided before the first picture is read.
"""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from retrojax.data.photo_files import find_photos
from retrojax.inference.photo import output_name


class Job(NamedTuple):
    """One photograph to stylise.

    Attributes:
        name: how messages call it.
        source: the file to read.
        target: the file to write.
    """

    name: str
    source: Path
    target: Path


def plan_jobs(inputs: Iterable[Path], output: Path) -> tuple[Job, ...]:
    """Lists the photographs in files and folders (with their subfolders, whose shape is kept).

    A result has the name of its photograph, with .png for formats that are not written. Where two
    results would meet (a.png and a.tif), the converted one keeps its suffix: a.tif.png.

    Args:
        inputs: files and folders.
        output: folder of the results.

    Returns:
        The jobs, in the order of `inputs`, at least one.

    Raises:
        ValueError: an input does not exist, a folder has no image, two photographs would be written
            to one file, or an input would be overwritten.
    """
    found: dict[Path, tuple[str, Path]] = {}
    for given in inputs:
        for name, source, relative in _photographs(given, output):
            found.setdefault(source.resolve(), (name, relative))
    if not found:
        raise ValueError(f"no photographs to do outside the output folder {output}")

    taken: dict[str, str] = {}
    jobs = []
    # Photographs that keep their name choose first.
    ordered = sorted(
        found.items(), key=lambda item: output_name(item[1][1].name) != item[1][1].name
    )
    for source, (name, relative) in ordered:
        target = output / relative.with_name(output_name(relative.name))
        if _place(target) in taken:
            target = output / relative.with_name(relative.name + ".png")
        if (other := taken.get(_place(target))) is not None:
            raise ValueError(
                f"{name} and {other} would both be written to {target}; "
                "do them in two calls with different --output"
            )
        taken[_place(target)] = name
        jobs.append(Job(name, source, target))
    _keep_inputs(jobs)
    order = {source: number for number, source in enumerate(found)}
    return tuple(sorted(jobs, key=lambda job: order[job.source]))


def parse_shard(text: str) -> tuple[int, int]:
    """Turns "I/N" into (I, N): the I-th of N equal parts, counted from 1.

    Raises:
        ValueError: for any other text, and for an I outside 1 ... N.
    """
    part, slash, parts = text.partition("/")
    if not (slash and part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise ValueError(
            f"--shard must be I/N with I from 1 to N, as 1/8 and 8/8 of eight parts, not {text!r}"
        )
    return int(part), int(parts)


def shard_of(jobs: tuple[Job, ...], part: int, parts: int) -> tuple[Job, ...]:
    """Every `parts`-th job from the `part`-th on: each job is in exactly one part.

    All parts must have planned the same files: one that starts late must not meet photographs that
    were not there when the first one looked.

    Args:
        jobs: what is to be done in all.
        part: number of this part, from 1 to `parts`.
        parts: how many there are.
    """
    return jobs[part - 1 :: parts]


def make_writable(output: Path) -> None:
    """Makes the output folder and tries to write in it.

    Raises:
        ValueError: it is a file, or cannot be made or written to.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as error:
        raise ValueError(
            f"--output {output} cannot be written to ({error.strerror or error}); "
            "give another folder"
        ) from error


def _photographs(given: Path, output: Path) -> Iterable[tuple[str, Path, Path]]:
    """(name, file, path below the output folder) of one input."""
    if given.is_file():
        yield _printable(given), given, Path(given.name)
    elif given.is_dir():
        own = output.resolve()
        inside = own != given.resolve()
        for photo in find_photos(given):
            if inside and photo.source.resolve().is_relative_to(own):
                continue
            yield _printable(photo.source), photo.source, photo.source.relative_to(given)
    else:
        what = "neither a file nor a folder" if given.exists() else "no such file or folder"
        raise ValueError(f"{_printable(given)}: {what}")


def _keep_inputs(jobs: list[Job]) -> None:
    names = {os.path.realpath(job.source): job.name for job in jobs}
    for job in jobs:
        overwritten = names.get(os.path.realpath(job.target))
        if overwritten is not None:
            raise ValueError(
                f"{overwritten} would be overwritten by the result of {job.name}; "
                "give another --output folder"
            )


def _place(target: Path) -> str:
    """Two targets that some file system takes for one have one place."""
    return str(target).casefold()


def _printable(path: Path) -> str:
    """File names may hold bytes that are no text, or line breaks; messages may not."""
    text = os.fsencode(path).decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else "?" for letter in text)
