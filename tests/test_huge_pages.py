"""Large pages: asked for once, where the system has them and nobody has chosen otherwise."""

import os
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
