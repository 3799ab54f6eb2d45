"""Large pages: asked for once, where the system has them and nobody has chosen otherwise."""

import os
import platform
import runpy
import subprocess
import sys

import pytest

from retrojax import huge_pages
from retrojax.cli import main
from retrojax.huge_pages import TUNABLES, VARIABLE, are_missing

PROGRAM = """
import os, sys
from retrojax import huge_pages
huge_pages.are_missing = lambda environment: huge_pages.VARIABLE not in environment
huge_pages.start_again_with_them()
print(os.getpid(), os.environ[huge_pages.VARIABLE], sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("offered", "environment", "missing"),
    [
        ("always [madvise] never", {}, True),
        ("[always] madvise never", {}, True),
        ("always madvise [never]", {}, False),
        ("always [madvise] never", {VARIABLE: ""}, False),
        (None, {}, False),
    ],
)
def test_they_are_missing_only_where_nobody_chose(
    offered, environment, missing, tmp_path, monkeypatch
):
    monkeypatch.setattr(sys, "platform", "linux")
    support = tmp_path / "enabled"
    if offered:
        support.write_text(offered)
    assert are_missing(environment, support) is missing


def test_other_systems_have_none(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    support = tmp_path / "enabled"
    support.write_text("always [madvise] never")
    assert not are_missing({}, support)


LARGE = """
import resource
from retrojax import huge_pages
huge_pages.keep_what_is_large()
import jax, jax.numpy as jnp
narrow = jnp.ones((16384, 8))
step = jax.jit(lambda narrow: jnp.tanh(narrow @ jnp.ones((8, 2048))) @ jnp.ones((2048, 8)))
taken = []
for _ in range(6):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    step(narrow).block_until_ready()
    taken.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(min(taken))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="settings of glibc")
def test_large_temporaries_are_kept_from_call_to_call():
    environment = {**os.environ, VARIABLE: TUNABLES, "JAX_PLATFORMS": "cpu"}
    environment.pop("XLA_FLAGS", None)
    done = subprocess.run(
        [sys.executable, "-c", LARGE], env=environment, capture_output=True, text=True, check=True
    )
    # 128 MB anew would be 64 pages of 2 MB, or 32768 of 4 KB.
    assert int(done.stdout) < 32


@pytest.mark.skipif(not hasattr(os, "execve"), reason="needs POSIX")
def test_a_program_goes_on_in_its_place_with_its_arguments():
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "--preset=look", "a b"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    said, _ = process.communicate(timeout=60)
    assert said == f"{process.pid} {TUNABLES} ['--preset=look', 'a b']\n"


def test_a_choice_stays(monkeypatch):
    monkeypatch.setenv(VARIABLE, "glibc.malloc.arena_max=1")
    monkeypatch.setattr(os, "execve", None)
    huge_pages.start_again_with_them()


@pytest.mark.parametrize(
    "program", ["experiments.run", "benchmarks.step_time", "benchmarks.stylize"]
)
def test_programs_that_train_start_with_them(program, monkeypatch, capsys):
    started = []
    monkeypatch.setattr(huge_pages, "start_again_with_them", lambda: started.append(program))
    monkeypatch.setattr(sys, "argv", [program, "--help"])
    monkeypatch.delitem(sys.modules, program, raising=False)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(program, run_name="__main__")
    assert ended.value.code == 0
    assert started == [program]


def test_the_command_stylizes_with_them(monkeypatch, capsys):
    started = []
    monkeypatch.setattr(huge_pages, "start_again_with_them", lambda: started.append(True))
    monkeypatch.setattr(sys, "argv", ["retrojax", "looks"])
    assert main() == 0 and not started
    monkeypatch.setattr(sys, "argv", ["retrojax", "stylize", "nowhere.png"])
    assert main() == 2 and started
    assert main(["stylize", "nowhere.png"]) == 2 and len(started) == 1


def test_training_keeps_what_is_large(monkeypatch, tmp_path):
    from experiments.run import main as train

    kept = []
    monkeypatch.setattr(huge_pages, "keep_what_is_large", lambda: kept.append("large"))
    assert train([f"--data=folder:{tmp_path}", f"--run-dir={tmp_path / 'run'}"]) == 2
    assert kept == ["large"]
