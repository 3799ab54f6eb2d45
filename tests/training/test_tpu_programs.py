"""What the TPU's compiler makes of the joint step, ahead of time: no TPU is needed, libtpu is."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# How tests compile for CPU; the TPU's compiler does not know these settings.
SETTINGS = ("JAX_DISABLE_MOST_OPTIMIZATIONS", "XLA_FLAGS")


@pytest.mark.slow
@pytest.mark.skipif(find_spec("libtpu") is None, reason="needs the extra tpu")
@pytest.mark.parametrize(
    # With one image a chip the compiler adds one exchange of its own.
    ("topology", "others"),
    [("v5e:2x2", 0), ("v5e:4x4", 1)],
)
def test_a_slice_exchanges_the_gradients_and_updates_the_state_in_place(topology, others, tmp_path):
    file = tmp_path / "report.json"
    environment = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    subprocess.run(
        [sys.executable, "benchmarks/step_time.py", "--compile-only", f"--topology={topology}",
         f"--json={file}"],
        cwd=ROOT, env=environment, check=True, capture_output=True,
    )  # fmt: skip
    report = json.loads(file.read_text())
    assert abs(report["all_reduce_bytes"] - report["gradient_bytes"]) <= (
        0.01 * report["gradient_bytes"]
    )
    assert report["aliased_bytes"] >= 0.99 * report["state_bytes"]
    assert report["other_collectives"] <= others
