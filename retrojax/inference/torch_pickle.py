"""The pickle inside a PyTorch file, without PyTorch and without unpickling.

Contract of reading: nothing in the file is executed, imported or called. The opcodes are read by
`pickletools` and followed by an interpreter that knows those of a saved state dictionary and no
other; a global is a name in the closed table `_GLOBALS`, and "calling" it makes a description of a
tensor here. (A subclass of `pickle.Unpickler` would still set attributes of what it builds, hash
keys of any depth and grow its memo to any number.) Whatever else a file asks for is a `ValueError`.

Contract of writing: the same bytes for the same tensors; `torch.load(weights_only=True)` reads it.
"""

import pickle
import pickletools
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import BytesIO
from types import MappingProxyType
from typing import Any, NamedTuple

# The way out of damage.
AGAIN = "download or save it again"
# Storage class of PyTorch -> numpy's type of its values, little-endian.
STORAGES = MappingProxyType(
    {
        "DoubleStorage": "<f8",
        "FloatStorage": "<f4",
        "HalfStorage": "<f2",
        "BFloat16Storage": "<u2",  # numpy has no such type: the upper half of a float32
        "LongStorage": "<i8",
        "IntStorage": "<i4",
        "ShortStorage": "<i2",
        "CharStorage": "<i1",
        "ByteStorage": "<u1",
        "BoolStorage": "?",
    }
)


class Storage(NamedTuple):
    """A run of values in the file.

    Attributes:
        kind: a name in `STORAGES`.
        key: its name in the file.
        count: values in it.
        start: where it starts in the run called `key`, in values.
    """

    kind: str
    key: str
    count: int
    start: int = 0


class Tensor(NamedTuple):
    """A tensor as the file describes it; nothing of it has been checked.

    Attributes:
        storage: where its values are.
        offset: of its first value in the storage.
        size: its shape.
        stride: steps between neighbours along each axis, in values.
    """

    storage: Any
    offset: Any
    size: Any
    stride: Any


class Pickled(NamedTuple):
    """What one pickle holds.

    Attributes:
        value: numbers, text, lists, tuples, dicts, and `Tensor`s.
        storages: key -> kind of every storage it names.
    """

    value: Any
    storages: dict[str, str]


class _Global(NamedTuple):
    name: str


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    return Tensor(storage, offset, size, stride)


def _ordered_dict(pairs: Any = ()) -> dict[Any, Any]:
    # Python 2 gives the items here, Python 3 sets them afterwards.
    made: dict[Any, Any] = {}
    for pair in pairs:
        _set_items(made, list(pair))
    return made


# What a state dictionary may name -> what is made when it is "called"; None = never called.
_GLOBALS: Mapping[str, Callable[..., Any] | None] = MappingProxyType(
    {
        "collections OrderedDict": _ordered_dict,
        "torch._utils _rebuild_tensor": _rebuild_tensor,
        "torch._utils _rebuild_tensor_v2": _rebuild_tensor,
        "torch._utils _rebuild_parameter": lambda data, *_: data,
        **{f"torch {kind}": None for kind in STORAGES},
    }
)
_LITERALS = MappingProxyType({"NONE": None, "NEWTRUE": True, "NEWFALSE": False})
_EMPTY = MappingProxyType({"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple})
_VALUES = frozenset(
    "BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE SHORT_BINUNICODE BINSTRING "
    "SHORT_BINSTRING".split()
)
_TUPLES = MappingProxyType({"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3})
_PUT = frozenset({"BINPUT", "LONG_BINPUT", "MEMOIZE"})
_GET = frozenset({"BINGET", "LONG_BINGET"})


def read_pickle(stream: BytesIO) -> Pickled:
    """Reads one pickle; the stream is then at the byte after it.

    Args:
        stream: of the bytes.

    Raises:
        ValueError: the pickle is damaged, or asks for anything that a state dictionary has no
            need of; the text is the reason alone.
    """
    stack: list[Any] = []
    below: list[list[Any]] = []  # Stacks under the open marks.
    memo: dict[int, Any] = {}
    storages: dict[str, str] = {}
    try:
        for name, argument in _opcodes(stream):
            if name == "STOP":
                return Pickled(stack.pop(), storages)
            if name == "MARK":
                below.append(stack)
                stack = []
            elif name in _PUT:
                memo[len(memo) if name == "MEMOIZE" else argument] = stack[-1]
            elif name in _GET:
                stack.append(memo[argument])
            elif name == "BINPERSID":
                storage = _storage(stack.pop())
                storages[storage.key] = storage.kind
                stack.append(storage)
            elif name in ("TUPLE", "APPENDS", "SETITEMS"):
                items, stack = stack, below.pop()
                _close(name, stack, items)
            else:
                _step(name, argument, stack)
    except (IndexError, KeyError, TypeError, AttributeError, RecursionError, MemoryError) as error:
        raise ValueError(f"its pickle is damaged ({type(error).__name__}); {AGAIN}") from error
    raise ValueError(f"its pickle is damaged (it has no end); {AGAIN}")


def _opcodes(stream: BytesIO) -> Iterator[tuple[str, Any]]:
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            yield opcode.name, argument
    except ValueError as error:
        raise ValueError(f"its pickle is damaged ({error}); {AGAIN}") from error


def _close(name: str, stack: list[Any], items: list[Any]) -> None:
    """What ends at a mark."""
    if name == "TUPLE":
        stack.append(tuple(items))
    elif name == "APPENDS":
        _expect(stack[-1], list).extend(items)
    else:
        _set_items(stack[-1], items)


def _step(name: str, argument: Any, stack: list[Any]) -> None:
    """One opcode that touches the stack alone."""
    if name in _VALUES:
        stack.append(argument)
    elif name in _LITERALS:
        stack.append(_LITERALS[name])
    elif name in _EMPTY:
        stack.append(_EMPTY[name]())
    elif name in _TUPLES:
        items = stack[-_TUPLES[name] :]
        if len(items) < _TUPLES[name]:
            raise IndexError
        del stack[-_TUPLES[name] :]
        stack.append(tuple(items))
    elif name == "GLOBAL":
        stack.append(_known(argument))
    elif name == "STACK_GLOBAL":
        inner, module = stack.pop(), stack.pop()
        stack.append(_known(f"{_expect(module, str)} {_expect(inner, str)}"))
    elif name == "REDUCE":
        arguments, called = stack.pop(), stack.pop()
        make = _GLOBALS[_expect(called, _Global).name]
        if make is None:
            raise ValueError(
                f"its pickle calls {_short(called.name)}, which is no function; {AGAIN}"
            )
        stack.append(make(*_expect(arguments, tuple)))
    elif name == "BUILD":
        # The state of an OrderedDict: `_metadata`, versions of the layers. Nothing needs it.
        stack.pop()
        _expect(stack[-1], dict)
    elif name == "SETITEM":
        value, key = stack.pop(), stack.pop()
        _set_items(stack[-1], [key, value])
    elif name == "APPEND":
        value = stack.pop()
        _expect(stack[-1], list).append(value)
    elif name not in ("PROTO", "FRAME"):
        raise ValueError(
            f"its pickle has the opcode {name}, which no state dictionary needs; in PyTorch, "
            "torch.save(net.state_dict(), FILE) writes one that can be imported"
        )


def _known(name: str) -> _Global:
    if name not in _GLOBALS:
        raise ValueError(
            f"it asks for {_short(name.replace(' ', '.', 1))}, which is no part of a state "
            "dictionary; nothing was executed; in PyTorch, "
            "torch.save(net.state_dict(), FILE) writes one that can be imported"
        )
    return _Global(name)


def _storage(identity: Any) -> Storage:
    """('storage', class, key, device, count), before 1.6 with a view or None at the end."""
    tag, kind, key, _, count, *view = _expect(identity, tuple)
    kind = _expect(kind, _Global).name.removeprefix("torch ")
    if tag != "storage" or kind not in STORAGES or type(key) is not str or type(count) is not int:
        raise TypeError
    if not view or view[0] is None:
        return Storage(kind, key, count)
    _, start, count = _expect(view[0], tuple)
    return Storage(kind, key, _expect(count, int), _expect(start, int))


def _set_items(target: Any, items: list[Any]) -> None:
    if len(items) % 2:
        raise IndexError
    for key, value in zip(items[::2], items[1::2], strict=True):
        # Other keys could be nested deeper than hashing can follow.
        if type(key) not in (str, int):
            raise ValueError(f"its pickle has keys that are neither text nor numbers; {AGAIN}")
        _expect(target, dict)[key] = value


def _expect(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError
    return value


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")


def write_pickle(tensors: Iterable[tuple[str, Tensor]]) -> bytes:
    """A state dictionary as `torch.save` pickles it (protocol 2), without the tensors' values.

    Args:
        tensors: names and descriptions, in order.
    """
    ordered = _global("collections OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE
    parts = [pickle.PROTO, b"\x02", ordered, pickle.MARK]
    for name, tensor in tensors:
        kind, key, count, _ = tensor.storage
        identity = [_text("storage"), _global(f"torch {kind}"), _text(key), _text("cpu")]
        arguments = [
            _tuple([*identity, _number(count)]) + pickle.BINPERSID,
            _number(tensor.offset),
            _tuple([_number(side) for side in tensor.size]),
            _tuple([_number(step) for step in tensor.stride]),
            pickle.NEWFALSE,  # requires_grad
            ordered,  # no hooks
        ]
        parts += [_text(name), _global("torch._utils _rebuild_tensor_v2"), _tuple(arguments)]
        parts.append(pickle.REDUCE)
    return b"".join([*parts, pickle.SETITEMS, pickle.STOP])


def _global(name: str) -> bytes:
    return pickle.GLOBAL + name.replace(" ", "\n").encode() + b"\n"


def _tuple(parts: Iterable[bytes]) -> bytes:
    return pickle.MARK + b"".join(parts) + pickle.TUPLE


def _text(text: str) -> bytes:
    encoded = text.encode()
    return pickle.BINUNICODE + struct.pack("<I", len(encoded)) + encoded


def _number(number: int) -> bytes:
    if number < 2**31:
        return pickle.BININT + struct.pack("<i", number)
    return pickle.LONG1 + b"\x08" + struct.pack("<q", number)
