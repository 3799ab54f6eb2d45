"""What the TPU's compiler makes of the joint step, ahead of time: no TPU is needed, libtpu is."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("libtpu") is None, reason="needs the extra tpu"),
]
ROOT = Path(__file__).parents[2]
# How tests compile for CPU; the TPU's compiler does not know these settings.
SETTINGS = ("JAX_DISABLE_MOST_OPTIMIZATIONS", "XLA_FLAGS")


def compiled(*options, file):
    """What `step_time` says of a program that it compiled only."""
    environment = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    subprocess.run(
        [sys.executable, "benchmarks/step_time.py", "--compile-only", *options, f"--json={file}"],
        cwd=ROOT, env=environment, check=True, capture_output=True,
    )  # fmt: skip
    return json.loads(file.read_text())


@pytest.mark.parametrize(
    # With one image a chip the compiler adds one exchange of its own.
    ("topology", "others"),
    [("v5e:2x2", 0), ("v5e:4x4", 1)],
)
def test_a_slice_exchanges_the_gradients_and_updates_the_state_in_place(topology, others, tmp_path):
    report = compiled(f"--topology={topology}", file=tmp_path / "report.json")
    assert abs(report["all_reduce_bytes"] - report["gradient_bytes"]) <= (
        0.01 * report["gradient_bytes"]
    )
    assert report["aliased_bytes"] >= 0.99 * report["state_bytes"]
    assert report["other_collectives"] <= others


def test_micro_batches_take_less_memory(tmp_path):
    """Not so on CPU, where XLA's scheduler runs them side by side."""
    temporary = []
    for count in (1, 4):
        options = ("--preset=dcgan64", "--batch-size=256", f"--accumulate={count}")
        report = compiled(*options, file=tmp_path / f"{count}.json")
        temporary.append(report["memory"]["temp"])
    assert temporary[1] < 0.5 * temporary[0]
