import json
import math

import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.training import logging as run_logging
from retrojax.training.log_file import append_line, plain, read_lines
from retrojax.training.logging import RunLog, short_losses

STEPS = {"total_steps": 100, "images_per_step": 4}


def lines_of(folder):
    return read_lines(folder / "metrics.jsonl")


def metric_steps(folder):
    return [line["step"] for line in lines_of(folder) if "event" not in line]


@pytest.fixture(autouse=True)
def no_tensorboard(request, monkeypatch):
    if "tensorboard" not in request.node.name:
        monkeypatch.setattr(run_logging, "_tensorboard_writer", lambda folder, first_step: None)


def test_each_line_is_on_disk_as_soon_as_it_is_logged(tmp_path):
    with RunLog(tmp_path, **STEPS, first_step=0, quiet=True) as log:
        log.metrics(1, {"g/total": jnp.float32(0.25), "d/total": np.float32(1.5)})
        line = lines_of(tmp_path)[-1]
    assert line["step"] == 1 and line["g/total"] == 0.25 and line["d/total"] == 1.5
    assert line["images_per_second"] > 0 and line["seconds"] >= 0


def test_rate_counts_images_since_the_last_line(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(run_logging.time, "monotonic", lambda: now[0])
    with RunLog(tmp_path, **STEPS, first_step=0, quiet=True) as log:
        for step in (10, 20):
            now[0] += 5.0
            log.metrics(step, {})
        now[0] += 5.0
        log.metrics(21, {"images_per_second": 7.0})
    rates = [line["images_per_second"] for line in lines_of(tmp_path) if "event" not in line]
    assert rates == [8.0, 8.0, 7.0]
    assert [line["seconds"] for line in lines_of(tmp_path)] == [0.0, 5.0, 10.0, 15.0]


def test_non_finite_values_stay_valid_json_and_come_back(tmp_path):
    with RunLog(tmp_path, **STEPS, first_step=0, quiet=True) as log:
        log.metrics(1, {"g/total": math.nan, "d/total": -math.inf})
        log.event(1, "figures", figures={"trained": {"grain": math.inf, "n": np.int32(3)}})

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    for text in (tmp_path / "metrics.jsonl").read_text().splitlines():
        json.loads(text, parse_constant=refuse)
    metrics, event = lines_of(tmp_path)[-2:]
    assert math.isnan(metrics["g/total"]) and metrics["d/total"] == -math.inf
    assert event["event"] == "figures"
    assert event["figures"] == {"trained": {"grain": math.inf, "n": 3}}


def test_resuming_drops_lost_work_and_torn_lines(tmp_path):
    with RunLog(tmp_path, **STEPS, first_step=0, quiet=True) as log:
        for step in range(10, 60, 10):
            log.metrics(step, {"g/total": step})
        log.event(50, "figures", figures={})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 60, "g/tot')
    before = [line for line in lines_of(tmp_path) if line["step"] <= 30]
    with RunLog(tmp_path, **STEPS, first_step=30, quiet=True) as log:
        assert lines_of(tmp_path)[: len(before)] == before
        for step in (40, 50, 60):
            log.metrics(step, {"g/total": step})
    assert metric_steps(tmp_path) == [10, 20, 30, 40, 50, 60]
    assert not any(line.get("event") == "figures" for line in lines_of(tmp_path))
    seconds = [line["seconds"] for line in lines_of(tmp_path)]
    assert seconds == sorted(seconds)
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.jsonl"}


def test_a_run_from_the_start_forgets_all_and_a_finished_one_nothing(tmp_path):
    with RunLog(tmp_path, **STEPS, first_step=0, quiet=True) as log:
        log.metrics(100, {})
    written = lines_of(tmp_path)
    with RunLog(tmp_path, **STEPS, first_step=100, quiet=True):
        pass
    assert lines_of(tmp_path) == written
    with RunLog(tmp_path, **STEPS, first_step=0, quiet=True):
        pass
    assert [line["event"] for line in lines_of(tmp_path)] == ["environment"]


def test_without_a_terminal_lines_are_rare_and_the_last_step_always_shows(
    tmp_path, monkeypatch, capsys
):
    now = [0.0]
    monkeypatch.setattr(run_logging.time, "monotonic", lambda: now[0])
    with RunLog(tmp_path, **STEPS, first_step=0) as log:
        log.note("loss [lsgan]: D 1/2 (r-1)^2")
        for step in range(1, 101):
            now[0] += 0.5
            log.advance(step)
            log.metrics(step, {"g/adversarial": 0.5})
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "loss [lsgan]: D 1/2 (r-1)^2"
    assert 5 <= len(out) - 1 <= 7
    assert out[-1].startswith("step 100/100") and "g.adver 0.5" in out[-1]
    assert "\x1b" not in "".join(out)


def test_on_a_terminal_there_is_a_bar_with_notes_above_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm-256color")
    with RunLog(tmp_path, **STEPS, first_step=20) as log:
        log.note("resumed [bold] at 20")
        log.metrics(40, {"g/adversarial": 0.25, "d/real": 0.75})
    out = capsys.readouterr().out
    assert "resumed [bold] at 20" in out
    assert "40/100" in out and "g.adver 0.25" in out and "d.real 0.75" in out


def test_quiet_prints_nothing(tmp_path, capsys):
    with RunLog(tmp_path, **STEPS, first_step=0, quiet=True) as log:
        log.note("unheard")
        log.metrics(100, {"g/total": 1.0})
    assert capsys.readouterr().out == ""
    assert metric_steps(tmp_path) == [100]


def test_an_exception_passes_and_leaves_whole_lines(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        with RunLog(tmp_path, **STEPS, first_step=0, quiet=True) as log:
            log.metrics(1, {"g/total": 1.0})
            raise KeyboardInterrupt
    assert metric_steps(tmp_path) == [1]


def test_tensorboard_files_are_written_when_it_is_installed(tmp_path):
    pytest.importorskip("tensorboardX")
    with RunLog(tmp_path, **STEPS, first_step=0, quiet=True) as log:
        log.metrics(1, {"g/total": 1.0, "d/total": math.nan})
        log.image(1, "samples", np.zeros((8, 8, 3), np.uint8))
    (events,) = (tmp_path / "tensorboard").iterdir()
    data = events.read_bytes()
    assert b"g/total" in data and b"samples" in data and b"d/total" not in data


def test_losses_fit_the_width_with_short_names():
    numbers = {"images_per_second": 9.0, "g/adversarial": 0.51234, "d/real": 0.25, "d/fake": 0.5}
    assert short_losses(numbers, 100) == "g.adver 0.512  d.real 0.25  d.fake 0.5"
    assert short_losses(numbers, 30) == "g.adver 0.512  d.real 0.25"
    assert short_losses(numbers, 5) == ""


def test_bad_use_is_refused(tmp_path):
    with pytest.raises(ValueError, match="got 120 of 100.*at least as many steps"):
        RunLog(tmp_path, **STEPS, first_step=120)
    with pytest.raises(ValueError, match="cannot hold .* of type object"):
        plain({"a": object()})
    with pytest.raises(ValueError, match="integer step, got None"):
        append_line(tmp_path / "metrics.jsonl", {"event": "timing"})
    assert read_lines(tmp_path / "missing.jsonl") == []
