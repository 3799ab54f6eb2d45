"""What a finished checkpoint holds: the size and SHA-256 of every file, in `MANIFEST.json`.

Orbax renames a step's folder into place when all of it is written, and from then on believes what
it reads: one flipped bit in an array file comes back as other numbers and no error. So a step
counts only together with a manifest, which is written last (temporary file, fsync, rename), and is
read again only when every file is still the one that was recorded.

Nothing here knows JAX or Orbax. A folder is data from elsewhere: it is looked at with `lstat`
first, links are refused, and no file is read that the manifest does not name with its size.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAME = "MANIFEST.json"
_FORMAT = 1
# A game of 2,000 arrays needs 0.3 MB; more than this is not a manifest, and is not parsed.
_MAX_BYTES = 32 * 2**20


class DamagedError(Exception):
    """A step's folder is not what its manifest says. The message names the file and the reason."""


@dataclass(frozen=True)
class Manifest:
    """The record of one step.

    Attributes:
        step: completed updates.
        files: path below the step's folder -> (bytes, hexadecimal SHA-256).
        leaves: path of every leaf in the state -> its dtype and shape, "float32[3,3,8,16]".
        versions: package -> version that wrote the step.
    """

    step: int
    files: Mapping[str, tuple[int, str]]
    leaves: Mapping[str, str]
    versions: Mapping[str, str]


def _encode(body: dict[str, Any]) -> bytes:
    """The one way a manifest is spelled, so that a file can be compared byte by byte."""
    return (json.dumps(body, indent=1, sort_keys=True) + "\n").encode("ascii")


def _seal(body: dict[str, Any]) -> bytes:
    """The bytes of the file: the body with its own hash."""
    return _encode({**body, "sha256": hashlib.sha256(_encode(body)).hexdigest()})


def _sync_folder(folder: Path) -> None:
    """Makes names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(path: Path, *, sync: bool = False) -> str:
    with path.open("rb") as file:
        if sync:
            os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()


def _folders(folder: Path) -> Iterator[Path]:
    """The folder and every folder below it that is not a link."""
    todo = [folder]
    while todo:
        yield (parent := todo.pop())
        todo += [Path(e.path) for e in os.scandir(parent) if e.is_dir(follow_symlinks=False)]


def _size(path: Path, name: str) -> int:
    """The size of a plain file of this folder's own.

    Raises:
        DamagedError: for a symbolic link, a device, a pipe, and for a file with a second hard link,
            which may be any file of the machine under another name.
    """
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise DamagedError(f"{name} is not a regular file")
    if found.st_nlink != 1:
        raise DamagedError(f"{name} is a hard link to a file kept elsewhere; copy the folder")
    return found.st_size


def _files(folder: Path) -> Iterator[tuple[str, int]]:
    """Path and size of every file below a folder but the manifest itself."""
    for parent in _folders(folder):
        for entry in sorted(os.scandir(parent), key=lambda entry: entry.name):
            path = Path(entry.path)
            name = path.relative_to(folder).as_posix()
            if not entry.is_dir(follow_symlinks=False) and name != NAME:
                yield name, _size(path, name)


def is_recorded(folder: Path) -> bool:
    """Whether a step's folder has a manifest, good or damaged; without one it was cut off."""
    return os.path.lexists(folder / NAME)


def write_manifest(
    folder: Path, *, step: int, leaves: Mapping[str, str], versions: Mapping[str, str]
) -> None:
    """Records a finished step, after making its files durable.

    Args:
        folder: the step's folder, complete.
        step: completed updates.
        leaves: path -> dtype and shape of every leaf in the state.
        versions: package -> version.

    Raises:
        OSError: if a file cannot be read, or the manifest cannot be written.
        DamagedError: if something else than plain files lies in the folder.
    """
    names = dict(_files(folder))
    files = {
        name: {"bytes": size, "sha256": _digest(folder / name, sync=True)}
        for name, size in names.items()
    }
    for inner in _folders(folder):
        _sync_folder(inner)
    body = {
        "format": _FORMAT,
        "step": step,
        "files": files,
        "leaves": dict(leaves),
        "versions": dict(versions),
    }
    temporary = folder / f"{NAME}.tmp"
    with temporary.open("wb") as file:
        file.write(_seal(body))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / NAME)
    _sync_folder(folder)
    _sync_folder(folder.parent)


def read_manifest(folder: Path, *, step: int) -> Manifest:
    """Reads a step's manifest and checks it against itself; the files are not looked at.

    Args:
        folder: the step's folder.
        step: the step its name promises.

    Raises:
        DamagedError: if it is not, byte by byte, what `write_manifest` wrote for this step.
    """
    path = folder / NAME
    try:
        if _size(path, NAME) > _MAX_BYTES:
            raise DamagedError(f"{NAME} has more than {_MAX_BYTES} bytes")
        raw = path.read_bytes()
        body = json.loads(raw)
        format_ = body["format"]
        if format_ == _FORMAT:
            files = {name: (f["bytes"], f["sha256"]) for name, f in body["files"].items()}
            manifest = Manifest(body["step"], files, body["leaves"], body["versions"])
            intact = _seal({k: v for k, v in body.items() if k != "sha256"}) == raw
    except OSError as error:
        raise DamagedError(f"{NAME}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError(f"{NAME} cannot be read") from error
    if format_ != _FORMAT:
        raise DamagedError(f"{NAME} has format {format_!r}, this version reads {_FORMAT}")
    if not intact:
        raise DamagedError(f"{NAME} was changed")
    if manifest.step != step:
        raise DamagedError(f"{NAME} belongs to step {manifest.step}")
    return manifest


def verify(folder: Path, *, step: int) -> Manifest:
    """Checks a step's folder against its manifest: cheap things first, then every hash.

    Args:
        folder: the step's folder.
        step: the step its name promises.

    Returns:
        The manifest, every file of which is there unchanged, with nothing else beside them.

    Raises:
        DamagedError: naming the first file that is missing, foreign, a link, or changed.
    """
    if folder.is_symlink() or not folder.is_dir():
        raise DamagedError("it is not a folder")
    manifest = read_manifest(folder, step=step)
    missing = set(manifest.files)
    try:
        for name, size in _files(folder):
            if name not in manifest.files:
                raise DamagedError(f"{name} does not belong to it")
            expected = manifest.files[name][0]
            if size != expected:
                raise DamagedError(f"{name} has {size} bytes instead of {expected}")
            missing.remove(name)
        if missing:
            raise DamagedError(f"{min(missing)} is missing")
        for name, (_, expected) in manifest.files.items():
            if _digest(folder / name) != expected:
                raise DamagedError(f"{name} was changed")
    except OSError as error:
        raise DamagedError(f"{error.filename}: {error.strerror}") from error
    return manifest
