"""The convolutions of the benchmark's models, in both systems; no test looks at times."""

import jax
import numpy as np
import pytest

from benchmarks import operations
from benchmarks.convolutions import DIRECTIONS, Convolution, from_json
from benchmarks.games import game
from benchmarks.operations import Timed, table
from benchmarks.prepared import build, random_batches
from benchmarks.product_operations import array_shapes, operation
from benchmarks.recorded import networks, record

SHAPES = {
    "padded": Convolution(False, 2, (6, 6), 3, 4, 4, 2, (1, 1)),
    "same": Convolution(False, 2, (6, 6), 3, 4, 5, 2, (1, 2)),
    "valid": Convolution(False, 1, (7, 5), 3, 4, 3, 1, (0, 0)),
    "transposed": Convolution(True, 2, (3, 3), 3, 4, 4, 2, (1, 1)),
    "transposed same": Convolution(True, 2, (3, 3), 3, 4, 5, 2, (1, 2)),
    "transposed odd": Convolution(True, 1, (3, 4), 3, 4, 3, 2, (1, 0)),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_sizes_are_those_of_the_product(shape):
    x, w, g = (jax.ShapeDtypeStruct(side, np.float32) for side in array_shapes(shape))
    made = [jax.eval_shape(operation(shape, direction), x, w, g).shape for direction in DIRECTIONS]
    assert made == [g.shape, x.shape, w.shape]
    assert from_json(list(shape)) == shape


def test_flops_count_every_tap_and_a_transpose_has_those_of_what_it_transposes():
    assert SHAPES["valid"].flops == 2 * 5 * 3 * 9 * 3 * 4
    down = Convolution(False, 2, (6, 6), 4, 3, 4, 2, (1, 1))
    assert SHAPES["transposed"].flops == down.flops


@pytest.mark.parametrize("model", ["document", "dcgan64", "pix2pix", "cyclegan", "look"])
def test_every_kernel_of_the_networks_is_recorded(model):
    small = {"document": {}, "cyclegan": {"blocks": 1}}.get(model, {"features": 2})
    played = game(model, batch_size=2, **small)
    task, (batch,) = build(played), random_batches(played, count=1)
    players = jax.eval_shape(task.init, jax.random.key(0), batch)
    for found, variables in zip(networks(played).values(), players, strict=True):
        kernels = [x for x in jax.tree.leaves(variables["params"]) if len(x.shape) == 4]
        # The tables of the look's colours have four axes, too.
        kernels = [x for x in kernels if x.shape[0] != x.shape[2] or model != "look"]
        sizes = sorted(one.kernel**2 * one.inputs * one.outputs for one in found)
        assert sizes == sorted(x.size for x in kernels)


def test_equal_convolutions_are_one_and_no_step_differentiates_its_noise():
    uses = record([game("dcgan64", batch_size=2), game("cyclegan", blocks=3, size=64)])
    latent = Convolution(True, 2, (1, 1), 100, 512, 4, 1, (0, 0))
    assert set(uses[latent]) == {"forward", "weight gradient"}
    block = Convolution(False, 1, (18, 18), 256, 256, 3, 1, (0, 0))
    assert uses[block] == dict.fromkeys(DIRECTIONS, ("cyclegan",))


def test_the_table_has_a_row_for_each_operation():
    one = Timed(SHAPES["padded"], "forward", ("look", "pix2pix"), (2e-3, 4e-3, 3e-3), (1e-3,) * 3)
    rows = table([one]).splitlines()[:-2]
    assert len(rows) == 3 and all(row.count("|") == 10 for row in rows)
    shown = [cell.strip() for cell in rows[2].strip("|").split("|")]
    assert shown[:6] == [one.convolution.title, "forward", "3.00", "1.00", "3.00", "2.00 to 4.00"]
    speed = one.convolution.flops / 1e-3 / 1e9
    assert shown[6:] == [f"{speed / 3:.1f}", f"{speed:.1f}", "look, pix2pix"]


def test_the_last_line_counts_the_operations_that_miss_the_goal():
    times = {"padded": (1.0, 1.0, 9.0), "valid": (1.5,) * 3, "same": (1.51,) * 3}
    found = [Timed(SHAPES[name], "forward", (), took, (1.0,) * 3) for name, took in times.items()]
    assert table(found).splitlines()[-2:] == ["", "1 of 3 above 1.5"]
    assert table(found[:1]).endswith("\n0 of 1 above 1.5")


def test_the_worst_operation_comes_first(monkeypatch, capsys):
    def measured(models, *, rounds, threads):
        for name, ratio in (("padded", 1.0), ("valid", 3.0), ("same", 2.0)):
            yield Timed(SHAPES[name], "forward", models, (ratio,) * rounds, (1.0,) * rounds)

    monkeypatch.setattr(operations, "find_spec", lambda name: object())
    monkeypatch.setattr(operations, "measure", measured)
    rates = iter([8e10, 4e10])
    monkeypatch.setattr(operations, "exchange_rate", lambda: next(rates))
    operations.main(["--models=look", "--rounds=2", "--threads=1"])
    printed = capsys.readouterr().out.splitlines()
    assert "before and after: median 60.00 GB/s, 40.00 GB/s to 80.00 GB/s" in printed[-1]
    rows = printed[2:5]
    wanted = [SHAPES[name].title for name in ("valid", "same", "padded")]
    assert [row.split("|")[1].strip() for row in rows] == wanted


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "operations: this needs PyTorch: pip install '.[bench]'"),
        (["--models=look,vgg"], "'vgg' is none of document, dcgan64, pix2pix, cyclegan, look"),
        (["--rounds=0"], "--rounds: must be a whole number of at least 1"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(arguments, says, capsys, monkeypatch):
    monkeypatch.setattr(operations, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stopped:
        operations.main(arguments)
    out, err = capsys.readouterr()
    assert stopped.value.code == 2 and says in err and err.count("\n") == 1 and not out


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_both_systems_compute_the_same(shape, direction):
    torch = pytest.importorskip("torch")
    from benchmarks import torch_operations

    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(side).astype(np.float32) for side in array_shapes(shape)]
    ours = np.asarray(jax.jit(operation(shape, direction))(*arrays))
    # PyTorch has the larger pad first: it is given mirrored images where pads differ.
    turn = slice(None, None, -1) if shape.pads[0] < shape.pads[1] else slice(None)
    x, w, g = arrays
    tensors = [
        torch.from_numpy(np.ascontiguousarray(array))
        for array in (
            x[:, turn, turn].transpose(0, 3, 1, 2),
            w[turn, turn].transpose(3, 2, 0, 1),
            g[:, turn, turn].transpose(0, 3, 1, 2),
        )
    ]
    assert [tuple(t.shape) for t in tensors] == list(torch_operations.tensor_shapes(shape))
    theirs = torch_operations.operation(shape, direction)(*tensors).numpy()
    if direction == "weight gradient":
        theirs = theirs.transpose(2, 3, 1, 0)[turn, turn]
    else:
        theirs = theirs.transpose(0, 2, 3, 1)[:, turn, turn]
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
