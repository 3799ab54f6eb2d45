"""What `benchmarks/input_pipeline.py` does and says; no test looks at how long it took."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks import input_pipeline
from benchmarks.input_pipeline import loader, table
from benchmarks.photo_rates import bare, rounds
from benchmarks.photographs import write_photographs
from experiments.presets import preset
from retrojax.data import open_data
from retrojax.data.photo_files import decode_photo, find_photos

SIZE = (640, 480)


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    write_photographs(folder, count=2, size=SIZE)
    return folder


def test_pillow_alone_makes_the_very_photograph_that_the_product_makes(photographs):
    for photo_size in (64, 300, 1000):
        for file in find_photos(photographs):
            np.testing.assert_array_equal(
                bare(file.source, photo_size), decode_photo(file.source, photo_size=photo_size)
            )


def test_every_way_is_timed_once_a_round(photographs):
    files = find_photos(photographs)
    seconds = rounds(files, photo_size=64, count=2, threads=2)
    assert {name: len(times) for name, times in seconds.items()} == {
        "pillow": 2,
        "decoding": 2,
        "preparing": 2,
    }
    assert min(min(times) for times in seconds.values()) > 0


def test_a_photograph_that_cannot_be_read_is_no_faster_one(photographs):
    Image.new("F", (8, 8)).save(photographs / "float.tif")
    with pytest.raises(ValueError, match="floating-point pixels"):
        rounds(find_photos(photographs), photo_size=64, count=1, threads=1)


def test_the_loader_is_that_of_training_and_is_read_to_its_end(monkeypatch):
    config, asked, taken = preset("tiny"), [], []
    data = open_data(config.data, photo_size=config.photo_size, window=config.window)
    training_stream = input_pipeline.batches

    def watched(*arguments, **options):
        asked.append(options)
        for batch in training_stream(*arguments, **options):
            taken.append(batch["source"].shape)
            yield batch

    monkeypatch.setattr(input_pipeline, "batches", watched)
    assert loader(config, data, 3)["images_per_second"] > 0
    assert asked[0]["batch_size"] == config.batch_size and asked[0]["window"] == config.window
    assert taken == [(config.batch_size, config.window, config.window, 3)] * (
        3 + input_pipeline.WARMUP
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--preset=big"], "invalid choice: 'big' (choose from look, tiny"),
        (["--batches=0"], "--batches: must be a whole number of at least 1, not '0'"),
        (["--folder=nowhere"], "nowhere: no such folder"),
        (["--folder=nowhere", "--width=9"], "--width does not go with --folder"),
        (["--json=no/such/folder.json"], "is not a file's name in an existing folder"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(arguments, says, capsys):
    with pytest.raises(SystemExit) as stopped:
        input_pipeline.main(arguments)
    out, err = capsys.readouterr()
    assert stopped.value.code == 2
    assert says.replace("'", "") in err.replace("'", "") and err.count("\n") == 1 and not out


def test_ratios_are_rates_over_rates():
    spread = {"median": 0.9, "least": 0.8, "most": 1.0, "low": 0.85, "high": 0.95}
    report = {
        "preset": "look",
        "device": "cpu",
        "cpu_count": 2,
        "load_average": None,
        "versions": {"jax": "0"},
        "loader": {
            "images_per_second": 300.0,
            "batches": 10,
            "demand": 60.0,
            "step_seconds": 0.2,
            "steps": 5,
        },
        "photographs": {
            "files": 3,
            "photo_size": 512,
            "threads": 2,
            "rounds": 7,
            "per_second": {"pillow": 10.0, "decoding": 9.0, "preparing": 8.5},
            "ratios": {"decoding": spread, "preparing": spread},
        },
        "run": {"steps": 100, "train_seconds": 30.0, "data_wait_share": 0.0123},
    }
    lines = {line.split("  ")[0]: " ".join(line.split()) for line in table(report).splitlines()}
    assert lines["loader / step"].endswith("5.00; goal at least 2")
    assert "median 0.900, 0.800 to 1.000" in lines["preparing / Pillow"]
    assert "1.23% of 30.0 s (100 steps" in lines["waiting for data"]


@pytest.mark.slow
def test_the_whole_benchmark_prints_and_writes_what_a_real_run_said(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(input_pipeline, "WARMUP", 1)
    sizes = ["--photographs=2", "--width=320", "--height=240", "--rounds=1"]
    counts = ["--batches=2", "--steps=1", "--run-steps=2"]
    file = tmp_path / "input.json"
    input_pipeline.main(["--preset=tiny", *sizes, *counts, f"--json={file}"])
    printed, report = capsys.readouterr().out, json.loads(file.read_text())
    assert printed.startswith("preset") and printed.count("\n") == len(printed.splitlines())
    assert report["run"]["steps"] == 2 and 0 <= report["run"]["data_wait_share"] <= 1
    assert report["photographs"]["files"] == 2
