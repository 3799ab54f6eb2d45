"""What `benchmarks/stylize.py` compares is the same work; no test looks at how long it took."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import stylize
from benchmarks.handover import load, save
from benchmarks.photographs import write_photographs
from benchmarks.stylize import check_equal, compared
from benchmarks.stylize_product import StylizeProduct
from retrojax.inference import stylize as product
from retrojax.inference.bundle import load_bundle, save_bundle
from retrojax.inference.photo import decode
from retrojax.models import MLPGenerator, ResNetGenerator

ROOT = Path(__file__).parents[2]
SIZE = (56, 40)


@pytest.fixture(scope="module")
def side(tmp_path_factory):
    """The product's side with two photographs."""
    place = tmp_path_factory.mktemp("stylize")
    (place / "photographs").mkdir()
    write_photographs(place / "photographs", count=2, size=SIZE)
    return StylizeProduct(
        model="faded-print",
        photographs=str(place / "photographs"),
        output=str(place / "stylized"),
    )


@pytest.fixture(scope="module")
def handed_over(side, tmp_path_factory):
    file = tmp_path_factory.mktemp("handover") / "handover.npz"
    side.hand_over(str(file))
    return file


def test_photographs_differ_and_are_the_same_when_made_again(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        write_photographs(tmp_path / name, count=10, size=SIZE)
    made = [path.read_bytes() for path in sorted((tmp_path / "a").iterdir())]
    assert len(set(made)) == 10, "eight bundled ones, and two that differ in their noise"
    assert made == [path.read_bytes() for path in sorted((tmp_path / "b").iterdir())]
    assert decode(tmp_path / "a" / "0009.jpg").pixels.shape == (SIZE[1], SIZE[0], 3)


def test_recorded_calls_are_those_that_make_the_picture(side, monkeypatch):
    """Handed back in turn, they give the very picture, and none is left over."""
    job = side.jobs[0]
    pixels = decode(job.source).pixels
    expected = product.stylize(load_bundle("faded-print"), pixels, name=job.source.name)
    results = iter([np.asarray(call.run(*call.arrays)) for call in side.calls[0]])
    for name in ("_look_effects", "_look_colour"):
        monkeypatch.setattr(product, name, lambda *_: next(results))
    again = product.stylize(load_bundle("faded-print"), pixels, name=job.source.name)
    np.testing.assert_array_equal(again, expected)
    assert next(results, None) is None


def test_each_picture_has_its_own_calls(side):
    first, second = ([np.asarray(call.arrays[0]) for call in calls] for calls in side.calls)
    assert [x.shape for x in first] == [x.shape for x in second]
    assert all((x != y).any() for x, y in zip(first, second, strict=True))


def test_a_round_of_the_folder_and_of_the_files_writes_every_file(side):
    written = {}
    for what in ("folder", "files"):
        for job in side.jobs:
            job.target.unlink(missing_ok=True)
        assert side.round(what) > 0
        written[what] = [decode(job.target).pixels for job in side.jobs]
    sources = [decode(job.source).pixels.astype(int) for job in side.jobs]
    for source, styled, copied in zip(sources, *written.values(), strict=True):
        assert np.abs(styled - source).mean() > 5 * np.abs(copied - source).mean()
    assert side.round("generator") > 0


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """The folder of a network that is no look."""
    module = ResNetGenerator(features=2, blocks=1)
    variables = module.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=False)
    return save_bundle(
        tmp_path_factory.mktemp("network"),
        variables=variables,
        generator_name="resnet",
        generator_options={"features": 2, "blocks": 1},
        about={},
    )


def test_other_generators_have_their_calls_too(network, tmp_path):
    (tmp_path / "in").mkdir()
    write_photographs(tmp_path / "in", count=2, size=SIZE)
    side = StylizeProduct(
        model=str(network), photographs=str(tmp_path / "in"), output=str(tmp_path / "out")
    )
    assert [call.program for calls in side.calls for call in calls] == ["_translate"] * 2
    assert side.round("generator") > 0 and side.round("folder") > 0
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_pytorch_is_asked_for_looks_alone(network, monkeypatch, capsys):
    monkeypatch.setattr(stylize, "find_spec", lambda name: "there")
    with pytest.raises(SystemExit) as stopped:
        stylize.main(["--against=torch", f"--model={network}"])
    assert stopped.value.code == 2
    assert "the generator of looks alone" in capsys.readouterr().err


def test_a_model_that_changes_no_photograph_is_refused(tmp_path, capsys):
    module = MLPGenerator(shape=(2,), widths=(3,))
    save_bundle(
        tmp_path / "points",
        variables=module.init(jax.random.key(0), jnp.zeros((1, 2))),
        generator_name="fully-connected",
        generator_options={"shape": [2], "widths": [3]},
        about={},
    )
    with pytest.raises(SystemExit) as stopped:
        stylize.main([f"--model={tmp_path / 'points'}"])
    assert stopped.value.code == 2
    assert "--model: a MLPGenerator makes images from noise" in capsys.readouterr().err


def test_pytorchs_generator_has_the_products_outputs(handed_over):
    pytest.importorskip("torch").set_num_threads(1)
    from benchmarks.torch_stylize import TorchStylize

    contender = TorchStylize()
    assert contender.load(str(handed_over)) < 1e-5
    assert contender.round() > 0


def test_pytorch_with_other_weights_is_found_out(handed_over, tmp_path):
    pytest.importorskip("torch")
    from benchmarks.torch_stylize import TorchStylize

    given = load(handed_over)
    other = given.generator
    other["params"]["texture_out"]["kernel"] = other["params"]["texture_out"]["kernel"] * 1.5
    save(tmp_path / "other.npz", given._replace(generator=other))
    with pytest.raises(RuntimeError, match=r"differ from the product's by .*; no times were taken"):
        check_equal(TorchStylize().load(str(tmp_path / "other.npz")))
    with pytest.raises(RuntimeError, match="by nan"):
        check_equal(float("nan"))


def test_the_folder_is_held_against_the_slower_of_its_bounds_in_each_round():
    seconds = {"folder": [2.0, 4.0], "generator": [1.0, 3.0], "files": [1.5, 1.0]}
    found = compared(seconds)
    assert [found["folder / slower of both"].least, found["folder / slower of both"].most] == [
        pytest.approx(0.75),
        pytest.approx(0.75),
    ]
    assert found["folder / generator"].median == pytest.approx((1 / 2 + 3 / 4) / 2)
    assert "generator / PyTorch's" not in found
    beside = compared({**seconds, "torch": [2.0, 6.0]})
    assert beside["generator / PyTorch's"].median == pytest.approx(2), "twice as many a second"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model=sepia"], "--model: no model 'sepia': it is neither a folder nor a shipped look"),
        (["--rounds=0"], "--rounds: must be a whole number of at least 1, not '0'"),
        (["--against=flax"], "invalid choice: 'flax'"),
        (["--against=torch"], "--against=torch needs PyTorch: pip install '.[bench]'"),
        (["--json=no/such/folder.json"], "is not a file's name in an existing folder"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(arguments, says, capsys, monkeypatch):
    monkeypatch.setattr(stylize, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stopped:
        stylize.main(arguments)
    out, err = capsys.readouterr()
    assert stopped.value.code == 2
    assert says.replace("'", "") in err.replace("'", "") and err.count("\n") == 1 and not out


@pytest.mark.slow
@pytest.mark.parametrize("model", ["faded-print", "trained"])
def test_started_by_its_path_it_prints_and_writes(model, network, tmp_path):
    # A folder is one below the working directory.
    shutil.copytree(network, tmp_path / "trained")
    options = ["--photographs=2", "--width=56", "--height=40", "--rounds=1", "--json=s.json"]
    options += [f"--model={model}"]
    command = [sys.executable, str(ROOT / "benchmarks" / "stylize.py"), *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "s.json").read_text())
    assert {name: len(times) for name, times in report["seconds"].items()} == {
        "folder": 1,
        "generator": 1,
        "files": 1,
    }
    printed = " ".join(done.stdout.split())
    assert "photographs 2 JPEG files of 56x40 pixels" in printed
    assert "folder / slower of both median" in printed and "goal at least 0.85" in printed
