"""PyTorch's files: read and written without PyTorch, and nothing in them ever runs."""

import collections
import io
import os
import pickle
import struct
import sys
import types
import zipfile

import numpy as np
import pytest
import safetensors.numpy

from retrojax.inference import torch_tensors
from retrojax.inference.torch_file import read_state, write_state
from retrojax.inference.torch_pickle import read_pickle


class Storage:
    def __init__(self, key, values, kind="FloatStorage", count=None):
        self.key, self.kind = key, kind
        self.values = np.asarray(values)
        self.count = self.values.size if count is None else count


class Tensor:
    """Pickles as PyTorch's tensors do, where `fake_torch` stands for PyTorch."""

    def __init__(self, storage, size, stride, offset=0, rebuild="_rebuild_tensor_v2"):
        self.parts = (storage, offset, size, stride)
        self.rebuild = rebuild

    def __reduce_ex__(self, protocol):
        rebuild = getattr(sys.modules["torch._utils"], self.rebuild)
        if self.rebuild == "_rebuild_parameter":
            inner = Tensor(self.parts[0], *self.parts[2:], self.parts[1])
            return rebuild, (inner, True, collections.OrderedDict())
        rest = (False, collections.OrderedDict()) if self.rebuild.endswith("v2") else ()
        return rebuild, (*self.parts, *rest)


@pytest.fixture
def fake_torch(monkeypatch):
    """Names that the standard pickler can write; the real PyTorch need not be there."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    torch._utils = utils
    for kind in ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Byte", "Bool", "Quantum"):
        name = f"{kind}Storage"
        setattr(torch, name, type(name, (), {"__module__": "torch"}))
    for name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter"):
        function = types.FunctionType((lambda *_: None).__code__, {}, name)
        function.__module__, function.__qualname__ = "torch._utils", name
        setattr(utils, name, function)
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return torch


class Pickler(pickle.Pickler):
    """PyTorch's persistent ids; `storages` is what was met."""

    def __init__(self, stream, protocol=2, old=False):
        super().__init__(stream, protocol)
        self.storages, self.view = {}, (None,) if old else ()

    def persistent_id(self, obj):
        if not isinstance(obj, Storage):
            return None
        self.storages[obj.key] = obj.values
        kind = getattr(sys.modules["torch"], obj.kind)
        return ("storage", kind, obj.key, "cpu", obj.count, *self.view)


def zipped(path, saved, protocol=2, order=b"little", compression=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    pickler = Pickler(stream, protocol)
    pickler.dump(saved)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("latest_net_G/data.pkl", stream.getvalue())
        archive.writestr("latest_net_G/byteorder", order)
        for key, values in pickler.storages.items():
            archive.writestr(f"latest_net_G/data/{key}", values.tobytes())
    return path


def old(path, saved, little=True):
    """The format before PyTorch 1.6."""
    stream = io.BytesIO()
    machine = {"protocol_version": 1001, "little_endian": little, "type_sizes": {"int": 4}}
    for head in (0x1950A86A20F9469CFC6C, 1001, machine):
        pickle.dump(head, stream, 2)
    pickler = Pickler(stream, old=True)
    pickler.dump(saved)
    pickle.dump(list(pickler.storages), stream, 2)
    for values in pickler.storages.values():
        stream.write(struct.pack("<q", values.size) + values.tobytes())
    path.write_bytes(stream.getvalue())
    return path


def small():
    """A state dictionary with an OrderedDict's state, as PyTorch writes it."""
    values = np.arange(6, dtype=np.float32)
    state = collections.OrderedDict(w=Tensor(Storage("0", values), (2, 3), (3, 1)))
    state["n"] = Tensor(Storage("1", np.int64(7), "LongStorage"), (), ())
    state._metadata = collections.OrderedDict({"": {"version": 1}})
    return state


both = pytest.mark.parametrize("write", [zipped, old])


def refused(path, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_state(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and "\n" not in text


@both
def test_a_state_dictionary_is_read(write, fake_torch, tmp_path):
    state = read_state(write(tmp_path / "g.pth", small()))
    assert list(state) == ["w", "n"]
    np.testing.assert_array_equal(state["w"], [[0, 1, 2], [3, 4, 5]])
    assert state["n"].shape == () and state["n"] == 7
    assert all(array.dtype == np.float32 for array in state.values())


@both
@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("DoubleStorage", "<f8"),
        ("HalfStorage", "<f2"),
        ("LongStorage", "<i8"),
        ("IntStorage", "<i4"),
        ("ByteStorage", "u1"),
        ("BoolStorage", "?"),
    ],
)
def test_every_type_becomes_float32(write, kind, dtype, fake_torch, tmp_path):
    values = np.array([0, 1, 1, 0]).astype(dtype)
    state = {"w": Tensor(Storage("0", values, kind), (4,), (1,))}
    assert read_state(write(tmp_path / "g.pth", state))["w"].tolist() == [0, 1, 1, 0]


@both
def test_bfloat16_is_the_upper_half_of_float32(write, fake_torch, tmp_path):
    values = np.array([0x3F80, 0xC000, 0x0000, 0x7F80], np.uint16)
    storage = Storage("0", values, "BFloat16Storage")
    state = {"w": Tensor(storage, (2, 2), (1, 2)), "x": Tensor(storage, (), ())}
    read = read_state(write(tmp_path / "g.pth", state))
    np.testing.assert_array_equal(read["w"], [[1, 0], [-2, np.inf]])
    assert read["x"].shape == () and read["x"] == 1


@both
def test_shared_storages_strides_and_offsets(write, fake_torch, tmp_path):
    storage = Storage("0", np.arange(24, dtype=np.float32))
    state = {
        "transposed": Tensor(storage, (4, 3), (1, 4)),
        "inner": Tensor(storage, (2, 2), (12, 3), offset=5),
        "old": Tensor(storage, (24,), (1,), rebuild="_rebuild_tensor"),
        "parameter": Tensor(storage, (2,), (1,), offset=22, rebuild="_rebuild_parameter"),
        "empty": Tensor(storage, (0, 5), (5, 1), offset=24),
    }
    read = read_state(write(tmp_path / "g.pth", state))
    values = np.arange(24.0)
    np.testing.assert_array_equal(read["transposed"], values[:12].reshape(3, 4).T)
    np.testing.assert_array_equal(read["inner"], [[5, 8], [17, 20]])
    np.testing.assert_array_equal(read["old"], values)
    np.testing.assert_array_equal(read["parameter"], [22, 23])
    assert read["empty"].shape == (0, 5)
    assert all(array.flags.c_contiguous for array in read.values())


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_that_torch_save_offers(protocol, fake_torch, tmp_path):
    path = zipped(tmp_path / "g.pth", {"a": small()["w"], "b": small()["n"]}, protocol)
    assert sorted(read_state(path)) == ["a", "b"]


def test_python_2_gave_the_items_of_an_ordered_dict_at_once():
    content = b"\x80\x02ccollections\nOrderedDict\n](](X\x01\x00\x00\x00aK\x01eetR."
    content = content.replace(b"](]", b"(](]", 1)
    assert read_pickle(io.BytesIO(content)).value == {"a": 1}


@both
def test_a_state_dictionary_within_a_checkpoint_is_found(write, fake_torch, tmp_path):
    saved = {"epoch": 3, "state_dict": small(), "optimizer": {"state": {}, "lr": 0.1}}
    assert list(read_state(write(tmp_path / "g.pth", saved))) == ["w", "n"]
    refused(write(tmp_path / "g.pth", {"G": small(), "D": small()}), "several .*'G', 'D'.*save one")
    refused(write(tmp_path / "g.pth", {"epoch": 3}), r"no state dictionary.*torch\.save\(net")
    refused(write(tmp_path / "g.pth", {}), "no state dictionary")


def test_big_endian_files_are_refused(fake_torch, tmp_path):
    refused(zipped(tmp_path / "g.pth", small(), order=b"big"), "big-endian.*little-endian")
    refused(old(tmp_path / "g.pth", small(), little=False), "big-endian.*little-endian")


@both
@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (lambda s: Tensor(s, (7,), (1,)), r"'w' reaches beyond its storage \(value 6 of 6\)"),
        (lambda s: Tensor(s, (2, 3), (4, 1)), "reaches beyond"),
        (lambda s: Tensor(s, (2,), (1,), offset=5), "reaches beyond"),
        (lambda s: Tensor(s, (2,), (-1,), offset=5), "described wrongly"),
        (lambda s: Tensor(s, (2,), (1,), offset=-1), "described wrongly"),
        (lambda s: Tensor(s, (2,), (1, 1)), "described wrongly"),
        (lambda s: Tensor(s, (2.0,), (1,)), "described wrongly"),
        (lambda s: Tensor(s, "ab", (1,)), "described wrongly"),
        (lambda s: Tensor(None, (2,), (1,)), "described wrongly"),
        (lambda s: Tensor(s, (10**60,), (0,)), "described wrongly"),
        (lambda s: Tensor(s, (10**6, 10**6), (0, 0)), "expanded view of 6 values"),
    ],
)
def test_a_tensor_must_lie_within_its_storage(write, tensor, message, fake_torch, tmp_path):
    storage = Storage("0", np.zeros(6, np.float32))
    refused(write(tmp_path / "g.pth", {"w": tensor(storage), "v": small()["w"]}), message)


def test_a_storage_must_be_in_the_file(fake_torch, tmp_path):
    long = Storage("0", np.zeros(6, np.float32), count=2**40)
    refused(
        zipped(tmp_path / "g.pth", {"w": Tensor(long, (6,), (1,))}),
        "storage '0' of tensor 'w' has 24 bytes instead of 4398046511104",
    )
    refused(
        zipped(tmp_path / "g.pth", {"w": Tensor(long, (2**40,), (1,))}),
        "1099511627776 values in all, more than 1073741824",
    )
    path = old(tmp_path / "g.pth", small())
    count = struct.pack("<q", 6)
    path.write_bytes(path.read_bytes().replace(count, struct.pack("<q", 2**40)))
    refused(path, "storage '0' of 1099511627776 values reaches beyond the file; download")
    path.write_bytes(path.read_bytes().replace(struct.pack("<q", 2**40), struct.pack("<q", -1)))
    refused(path, "reaches beyond the file")


def test_all_values_together_have_a_limit(fake_torch, tmp_path, monkeypatch):
    monkeypatch.setattr(torch_tensors, "MOST_VALUES", 6)
    refused(zipped(tmp_path / "g.pth", small()), "7 values in all, more than 6")


def test_compressed_and_strange_zips_are_refused(fake_torch, tmp_path):
    path = zipped(tmp_path / "g.pth", small(), compression=zipfile.ZIP_DEFLATED)
    refused(path, "compressed.*torch.save")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("photo.jpg", b"")
    refused(path, r"without PyTorch's data\.pkl")
    with zipfile.ZipFile(zipped(path, small())) as archive:
        kept = {n: archive.read(n) for n in archive.namelist() if not n.endswith("data/0")}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in kept.items():
            archive.writestr(name, content)
    refused(path, "the zip lacks 'latest_net_G/data/0'")


@both
def test_a_damaged_file_is_an_error_or_only_other_numbers(write, fake_torch, tmp_path):
    path = write(tmp_path / "g.pth", small())
    whole = path.read_bytes()
    draw = np.random.default_rng(0)
    for keep in draw.integers(0, len(whole), 40):
        path.write_bytes(whole[:keep])
        refused(path, ".")
    for _ in range(400):
        damaged = bytearray(whole)
        damaged[draw.integers(len(whole))] = draw.integers(256)
        path.write_bytes(damaged)
        try:
            read_state(path)
        except ValueError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "neither"),
        (b"a picture", "neither"),
        (pickle.dumps({"w": 1}, 2), "not PyTorch's"),
        (b"PK\x03\x04 and no more", "damaged zip"),
        (struct.pack("<Q", 2**40) + b"{}", "not a whole safetensors file"),
        (b"\x80\x02" + b"(" * 10**5, "damaged"),
        (b"\x80\x02)" + b"\x85" * 10**5 + b".", "not PyTorch's"),
        (b"\x80\x02}" + b")" + b"\x85" * 10**5 + b"K\x01s.", "neither text nor numbers"),
        (b"\x80\x02K\x01r\xff\xff\xff\xff.", "not PyTorch's"),
        (b"\x80\x04\x8d" + b"\xff" * 7 + b"\x7f", "damaged"),
    ],
)
def test_other_files_are_refused(content, message, tmp_path):
    path = tmp_path / "g.pth"
    path.write_bytes(content)
    refused(path, message)
    refused(tmp_path / "missing.pth", "cannot be read .No such file")


class Call:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def attacks(proof):
    """Pickles that make the file `proof`, or try to change what reads them."""
    touch = f"touch {proof}".encode()
    code = f"open({str(proof)!r}, 'w').close()".encode()
    eval_ = b"cbuiltins\neval\n"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n"
    text = b"X" + struct.pack("<I", len(code)) + code
    return {
        "reduce": pickle.dumps(Call(os.system, touch.decode()), 2),
        "protocol 4": pickle.dumps(Call(os.system, touch.decode()), 4),
        "protocol 0": b"cos\nsystem\n(S'" + touch + b"'\ntR.",
        "nested": pickle.dumps({"state_dict": {"w": [Call(eval, code.decode())]}}, 2),
        "global alone": b"\x80\x02" + eval_ + b".",
        "eval": b"\x80\x02" + eval_ + text + b"\x85R.",
        "exec, python 2": b"\x80\x02c__builtin__\nexec\n" + text + b"\x85R.",
        "inst": b"(" + text + b"ibuiltins\neval\n.",
        "obj": b"(" + eval_ + text + b"o.",
        "newobj": b"\x80\x02" + eval_ + text + b"\x85\x81.",
        "stack global": b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93" + text + b"\x85R.",
        "dotted": b"\x80\x04\x8c\x05torch\x8c\x0e_utils.os.path\x93.",
        "by way of an allowed module": b"\x80\x02ctorch._utils\nos.system\n" + text + b"\x85R.",
        "joined name": b"\x80\x04\x8c\x0ccollections \x8c\x0bOrderedDict\x93.",
        "extension": b"\x80\x02\x82\x01.",
        "build on a function": b"\x80\x02" + tensor + b"}X\x04\x00\x00\x00nameK\x01sb.",
        "slots on a function": b"\x80\x02"
        + tensor
        + b"N}X\x0c\x00\x00\x00__defaults__K\x01\x85s\x86b.",
        "build on a list": b"\x80\x02]}X\x01\x00\x00\x00aK\x01sb.",
        "calling a storage class": b"\x80\x02ctorch\nFloatStorage\n)R.",
        "calling text": b"\x80\x02X\x02\x00\x00\x00os)R.",
        "persistent id of another kind": b"\x80\x02" + text + b"Q.",
        "persistent id, protocol 0": b"P" + code + b"\n.",
    }


@pytest.mark.parametrize("name", attacks("x"))
def test_nothing_in_a_file_runs(name, tmp_path):
    pickled = attacks(tmp_path / "ran")[name]
    path = tmp_path / "g.pth"
    before = set(sys.modules)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
    refused(path, "nothing was executed|damaged|opcode|which is no function")
    head = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001)]
    machine = pickle.dumps({"little_endian": True}, 2)
    for content in (pickled, b"".join([*head, machine, pickled])):
        path.write_bytes(content)
        refused(path, ".")
    assert [file.name for file in tmp_path.iterdir()] == ["g.pth"]
    assert set(sys.modules) == before


def test_the_attacks_are_real(tmp_path):
    """Python's own unpickler runs them."""
    proof = tmp_path / "ran"
    for name in ("reduce", "protocol 4", "protocol 0", "nested", "eval", "inst", "obj"):
        pickle.loads(attacks(proof)[name])
        assert proof.exists(), name
        proof.unlink()


def test_what_a_file_asks_for_is_named(fake_torch, tmp_path):
    path = zipped(tmp_path / "g.pth", {"w": Call(os.system, "true")})
    refused(
        path, r"asks for '(posix|nt)\.system', which is no part.*nothing was executed.*torch\.s"
    )
    path = zipped(
        tmp_path / "g.pth", {"w": Tensor(Storage("0", [1], "QuantumStorage"), (1,), (1,))}
    )
    refused(path, r"asks for 'torch\.QuantumStorage'")


STATE = {
    "model.1.weight": np.random.default_rng(0).normal(size=(4, 3, 7, 7)).astype(np.float32),
    "model.1.bias": np.array([0.0, -0.0, np.float32(1e-45), 3e38], np.float32),
    "model.2.num_batches_tracked": np.zeros((), np.int64),
    "transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
}


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_what_is_written_is_read_bit_for_bit(suffix, tmp_path):
    path = write_state(tmp_path / "new" / f"a{suffix}", STATE)
    read = read_state(path)
    assert set(read) == set(STATE)
    for key, array in STATE.items():
        assert read[key].shape == array.shape
        assert read[key].tobytes() == array.astype(np.float32).tobytes(), key
    again = write_state(tmp_path / "new" / f"b{suffix}", STATE)
    assert again.read_bytes() == path.read_bytes()
    assert sorted(file.name for file in path.parent.iterdir()) == [f"a{suffix}", f"b{suffix}"]


def test_what_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"g\.onnx: unknown kind of file; end its name in \.pth"):
        write_state(tmp_path / "g.onnx", STATE)
    with pytest.raises(ValueError, match="w is float64; convert it to float32 or int64"):
        write_state(tmp_path / "g.pth", {"w": np.zeros(2)})
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ValueError, match="cannot be written"):
        write_state(tmp_path / "file" / "g.pth", STATE)


def test_safetensors_of_other_types(tmp_path):
    path = tmp_path / "g.safetensors"
    arrays = {"h": np.array([1.5], np.float16), "i": np.array(3), "d": np.array([[2.5]])}
    path.write_bytes(safetensors.numpy.save(arrays))
    read = read_state(path)
    assert {key: array.tolist() for key, array in read.items()} == {
        "h": [1.5],
        "i": 3,
        "d": [[2.5]],
    }
    for called, message in (("BF16", ""), ("U16", "'w' is of type U16; save it as float32")):
        header = f'{{"w":{{"dtype":"{called}","shape":[2],"data_offsets":[0,4]}}}}'.encode()
        header += b" " * (-len(header) % 8)
        path.write_bytes(struct.pack("<Q", len(header)) + header + b"\x80\x3f\x00\xc0")
        if message:
            refused(path, message)
        else:
            assert read_state(path)["w"].tolist() == [1, -2]
    path.write_bytes(safetensors.numpy.save({}))
    refused(path, "holds no tensors")


@pytest.mark.parametrize("zip_format", [True, False])
def test_pytorchs_own_files_are_read(zip_format, tmp_path):
    torch = pytest.importorskip("torch")
    base = torch.randn(4, 6)
    state = collections.OrderedDict(
        base=base,
        columns=base.t()[2:],
        half=torch.randn(3).half(),
        brain=torch.randn(2, 3).bfloat16(),
        count=torch.tensor(5),
        parameter=torch.nn.Parameter(torch.randn(2)),
    )
    torch.save(state, tmp_path / "g.pth", _use_new_zipfile_serialization=zip_format)
    read = read_state(tmp_path / "g.pth")
    assert list(read) == list(state)
    for key, tensor in state.items():
        np.testing.assert_array_equal(read[key], tensor.detach().float().numpy())


def test_pytorch_reads_what_is_written(tmp_path):
    torch = pytest.importorskip("torch")
    loaded = torch.load(write_state(tmp_path / "g.pth", STATE), weights_only=True)
    assert list(loaded) == list(STATE)
    for key, array in STATE.items():
        assert loaded[key].numpy().dtype == array.dtype
        np.testing.assert_array_equal(loaded[key].numpy(), array)
