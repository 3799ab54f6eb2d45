"""From descriptions of tensors to arrays.

Contract: a tensor that is not within its storage, or larger than it, is refused before anything is
allocated.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from retrojax.inference.torch_pickle import AGAIN, STORAGES, Storage, Tensor

# Values of all tensors of a file together: twenty times the largest network here.
MOST_VALUES = 2**30


def arrays_of(
    state: Mapping[str, Tensor], values_of: Callable[[Storage], bytes]
) -> dict[str, np.ndarray]:
    """The tensors of a state dictionary as float32 arrays.

    Args:
        state: name -> description.
        values_of: the bytes of the run that a storage belongs to.

    Raises:
        ValueError: a tensor reaches beyond its storage or is larger than it, or all together are
            larger than any network; the text is the reason alone.
    """
    for name, tensor in state.items():
        _check_tensor(name, tensor)
    check_total(math.prod(tensor.size) for tensor in state.values())
    return {name: _array(name, tensor, values_of) for name, tensor in state.items()}


def float32(array: np.ndarray, kind: str) -> np.ndarray:
    """A copy as float32; what is too large becomes infinite.

    Args:
        array: of the type in `STORAGES`.
        kind: its name there.
    """
    if kind == "BFloat16Storage":
        return np.asarray(array.astype(np.uint32, order="C") << 16).view(np.float32)
    with np.errstate(over="ignore"):
        return np.array(array, np.float32, order="C")


def _check_tensor(name: str, tensor: Tensor) -> None:
    """Refuses a tensor that is not within its storage, before anything is allocated."""
    storage, offset, size, stride = tensor
    whole = isinstance(storage, Storage) and all(
        isinstance(axes, tuple) and len(axes) <= 8 and all(_is_count(n) for n in axes)
        for axes in (size, stride, (offset, storage.start, storage.count))
    )
    if not whole or len(size) != len(stride):
        raise ValueError(f"tensor {name!r:.80} is described wrongly; {AGAIN}")
    if 0 in size:
        return
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if last >= storage.count:
        raise ValueError(
            f"tensor {name!r:.80} reaches beyond its storage (value {last} of {storage.count}); "
            f"{AGAIN}"
        )
    if math.prod(size) > storage.count:
        raise ValueError(
            f"tensor {name!r:.80} of shape {size} is an expanded view of {storage.count} values; "
            "save tensor.contiguous()"
        )


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**48


def check_total(counts: Iterable[int]) -> None:
    """Checks how many values a file's tensors have together.

    Raises:
        ValueError: more than `MOST_VALUES`; the text is the reason alone.
    """
    total = sum(counts)
    if total > MOST_VALUES:
        raise ValueError(
            f"{total} values in all, more than {MOST_VALUES}: no network that retrojax knows; "
            "give a generator's or a discriminator's file"
        )


def _array(name: str, tensor: Tensor, values_of: Callable[[Storage], bytes]) -> np.ndarray:
    storage = tensor.storage
    dtype = np.dtype(STORAGES[storage.kind])
    if 0 in tensor.size:
        return np.zeros(tensor.size, np.float32)
    values = np.frombuffer(values_of(storage), np.uint8)
    first, end = (n * dtype.itemsize for n in (storage.start, storage.start + storage.count))
    if end > len(values):
        raise ValueError(
            f"storage {storage.key!r:.40} of tensor {name!r:.80} has {len(values)} bytes instead "
            f"of {end}; {AGAIN}"
        )
    strides = [step * dtype.itemsize for step in tensor.stride]
    run = values[first:end].view(dtype)[tensor.offset :]
    return float32(np.lib.stride_tricks.as_strided(run, tensor.size, strides), storage.kind)
