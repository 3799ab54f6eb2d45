"""A run's folder: the same configuration goes on, another is refused."""

import json

import pytest

from retrojax.training.run_folder import open_run

CONFIG = {"loss": "lsgan", "steps": 10, "crop": 64}
MAY_CHANGE = frozenset({"steps"})


def test_a_new_folder_holds_the_configuration_and_the_same_one_is_recognised(tmp_path):
    folder = tmp_path / "a" / "b"
    assert open_run(folder, CONFIG, may_change=MAY_CHANGE) is False
    assert json.loads((folder / "config.json").read_text()) == CONFIG
    assert open_run(folder, CONFIG, may_change=MAY_CHANGE) is True


def test_what_may_change_is_written_anew(tmp_path):
    open_run(tmp_path, CONFIG, may_change=MAY_CHANGE)
    assert open_run(tmp_path, {**CONFIG, "steps": 20}, may_change=MAY_CHANGE)
    assert json.loads((tmp_path / "config.json").read_text())["steps"] == 20


def test_every_other_difference_is_named_and_nothing_is_overwritten(tmp_path):
    open_run(tmp_path, CONFIG, may_change=MAY_CHANGE)
    changed = {**CONFIG, "loss": "bce", "crop": 32}
    with pytest.raises(ValueError, match=r"crop was 64, now 32; loss was 'lsgan', now 'bce'"):
        open_run(tmp_path, changed, may_change=MAY_CHANGE)
    assert json.loads((tmp_path / "config.json").read_text()) == CONFIG


def test_a_field_that_one_of_the_two_lacks_counts_as_a_difference(tmp_path):
    open_run(tmp_path, CONFIG, may_change=MAY_CHANGE)
    with pytest.raises(ValueError, match="seed was None, now 1"):
        open_run(tmp_path, {**CONFIG, "seed": 1}, may_change=MAY_CHANGE)


def test_a_broken_configuration_is_one_line(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="is not valid JSON.*another --run-dir"):
        open_run(tmp_path, CONFIG, may_change=MAY_CHANGE)


def test_a_file_in_the_way_is_one_line(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(ValueError, match="cannot write the run's folder"):
        open_run(tmp_path / "run", CONFIG, may_change=MAY_CHANGE)
