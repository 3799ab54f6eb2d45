"""The peak memory of a process is its own, not that of the process that started it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
GROWN, PARENT = 100_000_000, 400_000_000


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux inherits the peak")
def test_a_large_parent_does_not_count_but_what_was_freed_does():
    parent = np.ones(PARENT, np.uint8)
    code = (
        "from experiments.memory import peak_memory; before = peak_memory(); "
        f"block = bytearray(b'1') * {GROWN}; del block; print(before, peak_memory())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    before, after = map(int, done.stdout.split())
    assert 1_000_000 < before < parent.nbytes / 4
    assert GROWN < after < parent.nbytes
