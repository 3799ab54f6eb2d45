"""Files of PyTorch's weights, without PyTorch: name -> array.

Contract: `.pth` of PyTorch >= 1.6 (a zip) and of older ones (consecutive pickles), and safetensors;
the content decides, not the suffix. Nothing in a file is executed (see `torch_pickle`). Whatever
is wrong with a file is a `ValueError` of one line that names it and the way out.
"""

import functools
import io
import math
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from retrojax.inference.bundle import pack_safetensors, replace_file, unpack_safetensors
from retrojax.inference.torch_pickle import (
    AGAIN,
    STORAGES,
    Storage,
    Tensor,
    read_pickle,
    write_pickle,
)
from retrojax.inference.torch_tensors import arrays_of, check_total, float32

SUFFIXES = (".pth", ".pt", ".safetensors")
_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
# How safetensors calls the types.
_STORAGE_OF = MappingProxyType(
    {
        "F64": "DoubleStorage",
        "F32": "FloatStorage",
        "F16": "HalfStorage",
        "BF16": "BFloat16Storage",
        "I64": "LongStorage",
        "I32": "IntStorage",
        "I16": "ShortStorage",
        "I8": "CharStorage",
        "U8": "ByteStorage",
        "BOOL": "BoolStorage",
    }
)


class _Content(NamedTuple):
    """A file taken apart: what was saved, and the bytes of a storage."""

    saved: Any
    values: Callable[[Storage], bytes]


def read_state(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the state dictionary in a file.

    Args:
        path: of a file that holds one state dictionary, or a dictionary with one in it
            (`{"state_dict": ..., "epoch": ...}`).

    Returns:
        Name -> float32 array, whatever type it was stored in.

    Raises:
        ValueError: the file cannot be read, is damaged, holds no or several state dictionaries,
            or more than weights.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(
            f"{path}: cannot be read ({error.strerror or error}); give a .pth or .safetensors file"
        ) from error
    try:
        if content[:4] == b"PK\x03\x04":
            return _arrays(_open_zip(content))
        # Eight bytes of length, then JSON.
        if content[8:9] == b"{":
            return _safetensors(content)
        if content[:1] == b"\x80":
            return _arrays(_open_old(content))
        raise ValueError(
            "neither a .pth file of PyTorch >= 0.2 nor a safetensors file; give latest_net_G.pth "
            "or the like"
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def write_state(path: str | Path, state: Mapping[str, np.ndarray]) -> Path:
    """Writes a state dictionary: .pth or .pt as PyTorch >= 1.6 does, or .safetensors.

    The same state gives the same bytes. `torch.load(path, weights_only=True)` reads the first.

    Args:
        path: its suffix decides; an older file there is replaced.
        state: name -> float32 or int64 array.

    Returns:
        The path.

    Raises:
        ValueError: another suffix, another type, or the file cannot be written.
    """
    path = Path(path)
    check_suffix(path)
    names = {np.dtype(dtype): kind for kind, dtype in STORAGES.items() if kind[0] in "FL"}
    for key, array in state.items():
        if array.dtype not in names:
            raise ValueError(f"{key} is {array.dtype}; convert it to float32 or int64")
    if path.suffix == ".safetensors":
        content = pack_safetensors(state)
    else:
        content = _zipped(state, names)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)
    except OSError as error:
        raise ValueError(
            f"{path}: cannot be written ({error.strerror or error}); give another --output"
        ) from error
    return path


def check_suffix(path: Path) -> None:
    """Checks that `write_state` knows the kind of file.

    Raises:
        ValueError: it does not.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: unknown kind of file; end its name in {', '.join(SUFFIXES)}")


def _open_zip(content: bytes) -> _Content:
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
        entries = {entry.filename: entry for entry in archive.infolist()}
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error) as error:
        raise ValueError(f"a damaged zip ({error}); {AGAIN}") from error

    @functools.cache  # Tensors may share a storage.
    def read(name: str) -> bytes:
        entry = entries.get(name)
        if entry is None:
            raise ValueError(f"the zip lacks {name!r}; {AGAIN}")
        # PyTorch never compresses; what is stored as it is cannot grow beyond the file.
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > len(content):
            raise ValueError(f"the zip holds {name!r} compressed; {AGAIN}, by torch.save")
        try:
            return archive.read(entry)
        except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, struct.error) as error:
            raise ValueError(f"a damaged zip ({_line(error)}); {AGAIN}") from error

    roots = [name[: -len("data.pkl")] for name in entries if name.endswith("data.pkl")]
    roots = [root for root in roots if root.count("/") <= 1]
    if len(roots) != 1:
        raise ValueError("a zip without PyTorch's data.pkl; give a file written by torch.save")
    (root,) = roots
    if f"{root}byteorder" in entries:
        _check_order(read(f"{root}byteorder").strip() == b"little")
    saved = read_pickle(io.BytesIO(read(f"{root}data.pkl"))).value
    return _Content(saved, lambda storage: read(f"{root}data/{storage.key}"))


def _open_old(content: bytes) -> _Content:
    """Before 1.6: magic, protocol, machine, object, keys, then count and values of each storage."""
    stream = io.BytesIO(content)
    if read_pickle(stream).value != _MAGIC:
        raise ValueError("a pickle, but not PyTorch's; give a file written by torch.save")
    protocol, machine = read_pickle(stream).value, read_pickle(stream).value
    if protocol != _PROTOCOL:
        raise ValueError(f"protocol {protocol!r:.20} instead of {_PROTOCOL}; {AGAIN}")
    _check_order(isinstance(machine, dict) and machine.get("little_endian") is True)
    saved, kinds = read_pickle(stream)
    keys = read_pickle(stream).value
    if not isinstance(keys, list):
        raise ValueError(f"no list of storages; {AGAIN}")
    runs: dict[str, bytes] = {}
    for key in keys:
        if key not in kinds:
            raise ValueError(f"storage {key!r:.40} belongs to no tensor; {AGAIN}")
        count = int.from_bytes(stream.read(8), "little", signed=True)
        length = count * np.dtype(STORAGES[kinds[key]]).itemsize
        if not 0 <= length <= len(content) - stream.tell():
            raise ValueError(
                f"storage {key!r:.40} of {count} values reaches beyond the file; {AGAIN}"
            )
        runs[key] = stream.read(length)

    def values(storage: Storage) -> bytes:
        if storage.key not in runs:
            raise ValueError(f"storage {storage.key!r:.40} is missing; {AGAIN}")
        return runs[storage.key]

    return _Content(saved, values)


def _check_order(little: bool) -> None:
    if not little:
        raise ValueError(
            "written on a big-endian machine; save it again on a little-endian one (x86, ARM)"
        )


def _arrays(content: _Content) -> dict[str, np.ndarray]:
    return arrays_of(_state_in(content.saved), content.values)


def _state_in(saved: Any) -> dict[str, Tensor]:
    """The one state dictionary in what was saved: itself, or one of its values."""
    if _is_state(saved):
        return saved
    found = [key for key, value in saved.items() if _is_state(value)] if _is_dict(saved) else []
    if len(found) == 1:
        return saved[found[0]]
    if found:
        raise ValueError(
            f"holds several state dictionaries ({', '.join(ascii(key) for key in found[:5])}); "
            "save one of them: torch.save(torch.load(FILE)[KEY], ...)"
        )
    raise ValueError(
        "holds no state dictionary; in PyTorch, torch.save(net.state_dict(), FILE) writes one"
    )


def _is_dict(value: Any) -> bool:
    return isinstance(value, dict) and len(value) > 0


def _is_state(value: Any) -> bool:
    return _is_dict(value) and all(
        isinstance(key, str) and isinstance(tensor, Tensor) for key, tensor in value.items()
    )


def _safetensors(content: bytes) -> dict[str, np.ndarray]:
    try:
        found = unpack_safetensors(content)
    except ValueError as error:
        raise ValueError(f"{error}; {AGAIN}") from error
    check_total(math.prod(shape) for _, shape, _ in found.values())
    arrays = {}
    for name, (called, shape, values) in found.items():
        if called not in _STORAGE_OF:
            raise ValueError(f"tensor {name!r:.80} is of type {called}; save it as float32")
        kind = _STORAGE_OF[called]
        arrays[name] = float32(np.frombuffer(values, STORAGES[kind]).reshape(shape), kind)
    if not arrays:
        raise ValueError("holds no tensors; give a generator's or a discriminator's file")
    return arrays


def _zipped(state: Mapping[str, np.ndarray], kinds: Mapping[np.dtype, str]) -> bytes:
    """PyTorch's zip: the pickle, its order of bytes and version, and a file for each storage."""
    tensors = []
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for number, (name, array) in enumerate(state.items()):
            storage = Storage(kinds[array.dtype], str(number), array.size)
            steps = tuple(math.prod(array.shape[axis + 1 :]) for axis in range(array.ndim))
            tensors.append((name, Tensor(storage, 0, array.shape, steps)))
            _add(archive, f"data/{number}", np.ascontiguousarray(array).tobytes())
        _add(archive, "data.pkl", write_pickle(tensors))
        _add(archive, "byteorder", b"little")
        _add(archive, "version", b"3\n")
    return buffer.getvalue()


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    # With its default date, so that the same state gives the same bytes.
    archive.writestr(zipfile.ZipInfo(f"archive/{name}"), content)


def _line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
