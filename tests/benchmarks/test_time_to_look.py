"""Minutes to a look: both sides run, and the ratio is that of their last steps."""

import json

import numpy as np
import pytest

from benchmarks.time_to_look import last_line, lines, look_batches, main
from experiments.presets import preset
from retrojax.training.logging import RunLog


def test_pytorchs_batches_are_rendered_pairs():
    config = preset("tiny")
    given = look_batches(config)
    assert len(given) == config.steps
    shape = (config.batch_size, config.crop, config.crop, 3)
    for batch in given[:2]:
        assert {name: x.shape for name, x in batch.items()} == dict.fromkeys(
            ("source", "target"), shape
        )
        assert np.abs(batch["source"] - batch["target"]).max() > 0.1


@pytest.mark.parametrize("steps", [30, 1200])
def test_the_last_step_is_recognised_by_what_the_run_prints(steps, tmp_path, capsys):
    with RunLog(tmp_path, total_steps=steps, first_step=0, images_per_step=16) as log:
        for done in (steps // 10, steps):
            log.metrics(done, {"g/adversarial": 0.5})
    printed = capsys.readouterr().out.splitlines()
    assert [line.startswith(last_line(steps)) for line in printed] == [False, True]


def test_the_table_names_both_clocks():
    report = {
        "preset": "tiny",
        "steps": 4,
        "load_average": None,
        "product": {"trained": 2.0, "whole": 3.0, "compile": 1.0, "train": 0.5},
        "torch": {
            "pairs": {
                **{"trained": 4.0, "steps": 4, "title": "look", "device": "cpu (cpu)"},
                **{"versions": {"torch": "2"}, "ratio": 0.5, "whole_ratio": 0.75},
            }
        },
    }
    text = dict(lines(report))
    assert text["product, to the last step"].startswith("2.0 s")
    assert text["PyTorch, pairs"] == "look, 2 eager"
    assert text["  product / PyTorch"].startswith("0.500")
    assert text["  whole / PyTorch"].startswith("0.750")


@pytest.mark.slow
def test_the_smallest_run_beside_pytorch(tmp_path, capsys):
    pytest.importorskip("torch")
    options = ["--against=look", "--against=pairs", f"--json={tmp_path / 'found.json'}"]
    main(["--preset=tiny", "--steps=2", *options])
    found = json.loads((tmp_path / "found.json").read_text())
    assert list(found["torch"]) == ["look", "pairs"]
    for theirs in found["torch"].values():
        assert theirs["ratio"] == found["product"]["trained"] / theirs["trained"]
        assert theirs["whole_ratio"] == found["product"]["whole"] / theirs["trained"]
        assert theirs["steps"] == 2
    assert capsys.readouterr().out.count("product / PyTorch") == 2
