"""Two processes are one run: same losses, same params, same checkpoints; a lost one is named."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from retrojax.training.log_file import read_lines
from tests.jobs import free_port, shared_programs
from tests.training.one_process import train

SCRIPT = Path(__file__).parent / "one_process.py"


def start(folder, runs, *, processes=2, devices=2, parallel="jit", die=None):
    """Starts the processes of a job, which talk over the loopback; jobs share their programs."""
    environment, port, started = os.environ | shared_programs(folder), free_port(), []
    for process in range(processes):
        job = {
            "coordinator": f"127.0.0.1:{port}",
            "processes": processes,
            "process": process,
            "devices": devices,
            "parallel": parallel,
            "runs": [[str(path), steps, *(used or [None])] for path, steps, *used in runs],
            "die": die,
        }
        file = folder / f"job-{process}.json"
        file.write_text(json.dumps(job))
        command = [sys.executable, str(SCRIPT), str(file)]
        with (folder / f"log-{process}.txt").open("w") as log:
            outputs = {"stdout": log, "stderr": subprocess.STDOUT}
            started.append(subprocess.Popen(command, env=environment, **outputs))
    return started


def finish(folder, *args, **options):
    """Runs a job to its end, which must be good."""
    started = start(folder, *args, **options)
    for number, process in enumerate(started):
        code = process.wait(timeout=300)
        assert code == 0, (folder / f"log-{number}.txt").read_text()[-3000:]


def resumed(folder):
    """The steps at which the runs of a folder's last job went on."""
    said = (folder / "log-0.txt").read_text()
    return [int(step) for step in re.findall(r"^resuming at step (\d+)$", said, re.MULTILINE)]


def metrics(folder):
    """Metrics by step, without the rate; a step has one line."""
    lines = [line for line in read_lines(folder / "metrics.jsonl") if "g/adversarial" in line]
    found = {
        line["step"]: {name: value for name, value in line.items() if "/" in name} for line in lines
    }
    assert len(found) == len(lines), f"written twice: {[line['step'] for line in lines]}"
    return found


def examples(folder, processes):
    """Hashes of the examples of each step, in the order of the global batch; read once each."""
    read = [(folder / f"read-{i}.jsonl").read_text().splitlines() for i in range(processes)]
    shares = [dict(json.loads(line) for line in lines) for lines in read]
    assert [len(share) for share in shares] == [len(lines) for lines in read]
    return {step: sum((share[step] for share in shares), []) for step in shares[0]}


def apart(a, b):
    """Relative L2 distance of two files of params."""
    a, b = np.load(a), np.load(b)
    assert set(a) == set(b)
    square = sum(float(np.square(np.float64(a[n]) - b[n]).sum()) for n in a)
    return np.sqrt(square / sum(float(np.square(np.float64(b[n])).sum()) for n in b))


@pytest.mark.parametrize("parallel", ["jit", pytest.param("pmap", marks=pytest.mark.slow)])
def test_two_processes_are_one_run_and_go_on_with_each_others_checkpoints(parallel, tmp_path):
    """The one process goes by `jit`: so each way also goes on with the other's checkpoint."""
    straight, moved, pair = (tmp_path / name for name in ("straight", "moved", "pair"))
    alone = {"processes": 1, "devices": 4, "parallel": "jit"}
    finish(tmp_path, [(moved, 4), (straight, 6)], **alone)
    # The checkpoint of the one process, taken on by the pair.
    finish(tmp_path, [(pair, 4), (moved, 6)], parallel=parallel)
    assert resumed(tmp_path) == [4]
    assert apart(moved / "params-4.npz", pair / "params-4.npz") <= 1e-6
    # The pair's checkpoint of step 4, taken on by one process.
    finish(tmp_path, [(pair, 6)], **alone)
    assert resumed(tmp_path) == [4]
    for folder in (pair, moved):
        assert apart(straight / "params-6.npz", folder / "params-6.npz") <= 1e-6
        assert metrics(folder).keys() == metrics(straight).keys() == set(range(1, 7))
        for step, values in metrics(straight).items():
            for name, value in values.items():
                np.testing.assert_allclose(metrics(folder)[step][name], value, rtol=2e-5, atol=1e-6)
    whole = examples(straight, 1)
    assert len({image for step in whole.values() for image in step}) > 20
    shares = [json.loads(line) for line in (pair / "read-1.jsonl").read_text().splitlines()]
    assert {step: read for step, read in shares} == {s: whole[s][4:] for s in range(4)}


@pytest.mark.slow
def test_a_run_goes_on_with_other_numbers_of_devices(tmp_path):
    """4, then 2, 8 and 1: the same examples in the same order, and the same params."""
    straight, moved = tmp_path / "straight", tmp_path / "moved"
    train(straight, 8)
    counts = enumerate((4, 2, 8, 1), 1)
    runs = [(moved, 2 * sitting, count) for sitting, count in counts]
    finish(tmp_path, runs, processes=1, devices=8)
    assert resumed(tmp_path) == [2, 4, 6]
    assert examples(moved, 1) == examples(straight, 1)
    assert apart(straight / "params-8.npz", moved / "params-8.npz") <= 1e-5
    assert apart(straight / "params-8.npz", moved / "params-6.npz") > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_process_ends_the_run_by_name_and_starting_again_resumes(lost, tmp_path):
    folder = tmp_path / "run"
    # Batch 5, counted from 0, is read while step 5 runs: behind the checkpoint of step 4.
    started = start(tmp_path, [(folder, 6)], die=[5, lost])
    started[lost].wait(timeout=300)
    begin = time.monotonic()
    code = started[1 - lost].wait(timeout=60)
    took = time.monotonic() - begin
    said = (tmp_path / f"log-{1 - lost}.txt").read_text()
    assert code != 0
    assert took <= 40, f"the other process ended after {took:.0f} s"
    if lost:
        assert "unhealthy (stopped sending heartbeats):\n1" in said
    else:
        assert "leader task was preempted/died" in said
    finish(tmp_path, [(folder, 6)])
    # The files of step 4 may not have been whole yet.
    assert resumed(tmp_path) in ([2], [4])
    straight = tmp_path / "straight"
    train(straight, 6)
    assert apart(straight / "params-6.npz", folder / "params-6.npz") <= 1e-6


@pytest.mark.slow
def test_a_signal_at_one_process_stops_all_at_the_same_step(tmp_path):
    folder = tmp_path / "run"
    started = start(tmp_path, [(folder, 100_000)])
    deadline = time.monotonic() + 300
    while len(metrics(folder)) < 5 and time.monotonic() < deadline:
        time.sleep(0.5)
    started[1].send_signal(signal.SIGTERM)
    assert [process.wait(timeout=60) for process in started] == [143, 143]
    said = {(tmp_path / f"log-{i}.txt").read_text().splitlines()[-1] for i in (0, 1)}
    (line,) = said
    step = max(int(path.name) for path in (folder / "checkpoints").iterdir())
    assert line == f"stopped and saved at step {step}; run the same command to go on"
