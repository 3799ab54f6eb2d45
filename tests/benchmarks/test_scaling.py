"""The table of scaling, and the model of it, against numbers worked out by hand."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.scaling import _counts, main, table
from benchmarks.scaling_model import Machine

ROOT = Path(__file__).parents[2]


def test_efficiencies_are_those_of_their_definitions():
    strong = [
        {"devices": 1, "batch_size": 16, "seconds": 0.8},
        {"devices": 4, "batch_size": 16, "seconds": 0.25},
    ]
    weak = [
        {"devices": 1, "batch_size": 4, "seconds": 0.2},
        {"devices": 4, "batch_size": 16, "seconds": 0.25},
    ]
    last = table(strong, weak).splitlines()[-1].split()
    assert last == ["4", "16", "250.0", "64.0", "80.0%", "16", "250.0", "64.0", "80.0%"]


def test_the_devices_double_up_to_all_as_far_as_they_divide_the_batch():
    assert _counts(8, 64) == [1, 2, 4, 8]
    assert _counts(6, 6) == [1, 2, 6]


def test_a_ring_sends_everything_but_a_share_twice():
    machine = Machine("made", 1e12, 8, 100e9, 10e9, 1e-6)
    assert machine.communication(1, 10**9) == 0
    assert machine.communication(8, 10**9) == pytest.approx(2 * 7 / 8 / 100 + 2 * 3e-6)
    assert machine.communication(16, 10**9) == pytest.approx(2 * 15 / 16 / 10 + 2 * 4e-6)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--devices=9"], "--devices=9, but there are 4"),
        (["--batch-size=6", "--devices=4"], "batch of 6 cannot be divided among 4 devices"),
        (["--preset=big"], "invalid choice: 'big'"),
    ],
)
def test_what_cannot_be_measured_is_one_line(arguments, says, capsys, monkeypatch):
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


@pytest.mark.slow
def test_the_documentation_shows_what_the_model_prints():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scaling_model"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    text = (ROOT / "docs" / "scaling.md").read_text()
    shown = re.search(r"<!-- scaling-model -->\n\n((?:\|.*\n)+)", text)
    assert shown is not None and shown[1] == done.stdout
