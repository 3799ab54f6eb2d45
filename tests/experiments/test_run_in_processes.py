"""The command in two processes: what it leaves, what it says of a lost one, how it goes on."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from retrojax.training.log_file import read_lines
from tests.jobs import free_port, shared_programs

ROOT = Path(__file__).parents[2]
SMALL = (
    "--preset=tiny", "--batch-size=4", "--crop=16", "--photo-size=96", "--discriminator-layers=1",
    "--generator-features=4", "--discriminator-features=4", "--sample-every-steps=0",
    "--save-every-steps=2", "--save-every-seconds=0", "--log-every-steps=1",
)  # fmt: skip
STEPS, MORE = 4, 30


def start(folder, steps):
    """Starts both processes, of two devices each."""
    own = {"JAX_NUM_CPU_DEVICES": "2", "RETROJAX_CACHE": str(folder / "cache")}
    flags = (
        *SMALL, f"--steps={steps}", f"--run-dir={folder / 'run'}",
        f"--coordinator=127.0.0.1:{free_port()}", "--num-processes=2",
    )  # fmt: skip
    started = []
    for process in range(2):
        command = [sys.executable, "-m", "experiments.run", *flags, f"--process-id={process}"]
        with (folder / f"log-{process}.txt").open("w") as log:
            outputs = {"stdout": log, "stderr": subprocess.STDOUT, "cwd": ROOT}
            environment = os.environ | shared_programs(folder) | own
            started.append(subprocess.Popen(command, env=environment, **outputs))
    return started


def finish(folder, steps):
    """Runs both to their end, which must be good; returns what each said."""
    started = start(folder, steps)
    codes = [process.wait(timeout=600) for process in started]
    said = [(folder / f"log-{process}.txt").read_text() for process in range(2)]
    assert codes == [0, 0], [text[-3000:] for text in said]
    return said


def check(folder, said, steps):
    """The log has each step once, and all that is left and said at the end is the first's."""
    run = folder / "run"
    lines = read_lines(run / "metrics.jsonl")
    assert [line["step"] for line in lines if "event" not in line] == list(range(1, steps + 1))
    for event in ("figures", "formula", "timing"):
        assert [line["step"] for line in lines if line.get("event") == event].count(steps) == 1
    for name in ("report.html", "model/model.safetensors", f"samples/{steps:08d}.png"):
        assert (run / name).stat().st_size > 0, name
    assert f"report  {run / 'report.html'}" in said[0]
    for of_the_first in ("compiling the step", "report", "model"):
        assert of_the_first in said[0] and of_the_first not in said[1]


@pytest.mark.slow
def test_two_processes_leave_one_run_and_a_lost_one_is_named_and_resumed(tmp_path):
    said = finish(tmp_path, STEPS)
    assert "compiling the step for 4 device(s) of 2 processes" in said[0]
    assert "resuming" not in said[0]
    check(tmp_path, said, STEPS)

    first, lost = start(tmp_path, MORE)
    log, deadline = tmp_path / "run/metrics.jsonl", time.monotonic() + 300
    while not any(line["step"] >= STEPS + 6 for line in read_lines(log)):
        assert first.poll() is None and time.monotonic() < deadline, "the run never got going"
        time.sleep(0.01)
    lost.kill()
    lost.wait()
    killed = time.monotonic()
    assert first.wait(timeout=120) != 0
    took = time.monotonic() - killed
    assert took <= 40, f"the other process ended after {took:.0f} s"
    said = (tmp_path / "log-0.txt").read_text()
    assert "unhealthy (stopped sending heartbeats):\n1" in said
    assert f"resuming at step {STEPS}\n" in said
    last = max(line["step"] for line in read_lines(log) if "event" not in line)
    assert STEPS + 6 <= last < MORE, "the run ended before it was killed"

    said = finish(tmp_path, MORE)
    (resumed,) = re.findall(r"^resuming at step (\d+)$", said[0], re.MULTILINE)
    # At most the last checkpoint was not whole yet.
    assert STEPS < last - 4 <= int(resumed) <= last
    check(tmp_path, said, MORE)
