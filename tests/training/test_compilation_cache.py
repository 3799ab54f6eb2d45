"""Compiled programs on disk: found by the next process, apart for each machine and version."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from retrojax.training import compilation_cache
from retrojax.training.compilation_cache import keep_compiled_programs, this_machine

ROOT = Path(__file__).parents[2]

# A process that takes the derivative of a network and says what was found, written and computed.
PROGRAM = """
import json, sys
import jax, jax.numpy as jnp
from retrojax.training.compilation_cache import keep_compiled_programs
events = []
jax.monitoring.register_event_listener(lambda name, **_: events.append(name))
own = keep_compiled_programs(sys.argv[1])
from retrojax.models import PatchDiscriminator
network = PatchDiscriminator(features=4, layers=1)
x = jnp.ones((1, 16, 16, 3))
variables = jax.jit(network.init)(jax.random.key(0), x)
loss = lambda variables: (network.apply(variables, x) ** 2).sum()
gradients = jax.jit(jax.grad(loss))(variables)
print(json.dumps({
    "folder": own.name,
    "hits": events.count("/jax/compilation_cache/cache_hits"),
    "misses": events.count("/jax/compilation_cache/cache_misses"),
    "gradients": [leaf.ravel().tolist() for leaf in jax.tree.leaves(gradients)],
}))
"""


def start(folder):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.mark.slow
def test_the_next_process_compiles_nothing_and_computes_the_same(tmp_path):
    cold, _ = start(tmp_path)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*-cache")}
    warm, said = start(tmp_path)
    assert cold["misses"] >= 2 and cold["hits"] == 0 and len(written) >= 2
    assert warm["misses"] == 0 and warm["hits"] == cold["misses"]
    assert warm["gradients"] == cold["gradients"]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*-cache")} == written
    assert [path.name for path in tmp_path.iterdir()] == [cold["folder"]] == [this_machine()]
    assert "machine features" not in said, "code of another machine was loaded"


def test_another_processor_or_version_has_another_folder(monkeypatch):
    here = this_machine()
    assert jax.__version__ in here and "cpu" in here
    monkeypatch.setattr(compilation_cache, "_processor", lambda: "another model, fewer flags")
    assert this_machine() != here
    monkeypatch.undo()
    assert this_machine() == here
    monkeypatch.setattr(jax, "__version__", "0.0.1")
    assert this_machine() != here


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    before = jax.config.jax_compilation_cache_dir
    with pytest.raises(ValueError, match="--compilation-cache=.*file cannot be written to .*leave"):
        keep_compiled_programs(tmp_path / "file")
    assert jax.config.jax_compilation_cache_dir == before
