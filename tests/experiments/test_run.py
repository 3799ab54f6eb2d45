"""The main job as it is typed: what it refuses, what it leaves, and how it goes on after a kill."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache
from PIL import Image

from experiments.run import main
from retrojax.training.log_file import read_lines

ROOT = Path(__file__).parents[2]
SMALL = (
    "--preset=tiny", "--batch-size=4", "--crop=16", "--photo-size=96", "--discriminator-layers=1",
    "--generator-features=4", "--discriminator-features=4", "--sample-every-steps=0",
)  # fmt: skip


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Prepared photographs of one test session, away from the user's."""
    monkeypatch.setenv("RETROJAX_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def photograph(path: Path, size=(90, 70), seed=0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def command(*flags: str) -> list[str]:
    return [sys.executable, "-m", "experiments.run", *SMALL, *flags]


def refused(capsys, *flags: str) -> str:
    """Runs the command, which must refuse in one line; returns that line."""
    assert main([*SMALL, *flags]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("experiments.run: error: ")
    return line


def test_an_unknown_loss_is_exit_code_2_and_lists_the_choices(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--loss=lsgna"])
    assert stopped.value.code == 2
    said = capsys.readouterr()
    for name in ("bce", "lsgan", "lsgan-document", "lsgan-pairwise", "hinge", "wgan"):
        assert name in said.err + said.out


def test_a_value_out_of_range_is_exit_code_2_and_says_the_range(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--learning-rate=0"])
    assert stopped.value.code == 2
    assert "--learning-rate must be above 0, not 0.0" in capsys.readouterr().err


def test_help_shows_the_formulas(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    assert "1/2 (r - 1)^2 + 1/2 f^2" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--preset=big",), "unknown preset 'big'"),
        (("--data=photos",), "is not one of the forms bundled, folder:PATH"),
        (("--data=folder:nowhere",), "nowhere"),
        (("--batch-size=3",), "batch of 3 cannot be divided among 4 devices"),
        (("--crop=128",), "choose a smaller --crop"),
        (("--data=tfds:cifra10",), "no such TFDS dataset; near it are cifar10"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2_before_anything_is_written(
    flags, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert message in refused(capsys, *flags, f"--run-dir={tmp_path / 'run'}")
    assert not (tmp_path / "run").exists()


def test_pairs_that_do_not_match_are_named(tmp_path, capsys):
    for name in ("a/1.png", "a/2.png", "b/1.png", "b/3.png"):
        photograph(tmp_path / name)
    line = refused(capsys, f"--data=pairs:{tmp_path / 'a'},{tmp_path / 'b'}")
    assert "2" in line and "3" in line


def test_photographs_smaller_than_the_window_are_named(tmp_path, capsys):
    photograph(tmp_path / "a.png")
    photograph(tmp_path / "tiny.png", (20, 70), 1)
    assert "tiny" in refused(capsys, f"--data=folder:{tmp_path}")


@pytest.fixture(autouse=True)
def programs_are_kept_by_no_other_test():
    """A run that is resumed in this process sets where; all that follows would be written there."""
    names = "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs"
    before = {name: getattr(jax.config, name) for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder of photographs (one of them broken) and a finished run on it."""
    root = tmp_path_factory.mktemp("main-job")
    for index in range(3):
        photograph(root / f"photos/{index}.png", seed=index)
    (root / "photos/broken.png").write_bytes(b"no picture")
    flags = (
        *(f"--data=folder:{root / 'photos'}", f"--run-dir={root / 'run'}"),
        *(f"--compilation-cache={root / 'compiled'}", "--profile", "--steps=4"),
    )
    done = subprocess.run(
        command(*flags),
        cwd=ROOT,
        env={**os.environ, "RETROJAX_CACHE": str(root / "cache")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return root, flags, done


def test_a_run_leaves_what_a_user_keeps(finished):
    root, _, done = finished
    run = root / "run"
    for name in ("config.json", "report.html", "model/model.safetensors", "model/model.json"):
        assert (run / name).stat().st_size > 0, name
    assert (run / "samples" / "00000004.png").exists()
    lines = read_lines(run / "metrics.jsonl")
    assert {"figures", "timing", "formula", "environment"} <= {line.get("event") for line in lines}
    figures = next(line for line in lines if line.get("event") == "figures")["figures"]
    assert list(figures) == ["untouched input", "LUT + noise", "trained"]
    assert "colour error / LUT" in done.stdout
    assert "1/2 (r - 1)^2 + 1/2 f^2" in done.stdout


def test_a_run_says_its_peak_memory_and_what_compiling_took(finished):
    root, _, done = finished
    (timing,) = [
        line for line in read_lines(root / "run/metrics.jsonl") if line.get("event") == "timing"
    ]
    assert 0 < timing["trace_seconds"] < timing["compile_seconds"]
    assert 0.1 < timing["peak_memory_gb"] < 100
    assert f"peak memory {timing['peak_memory_gb']:.1f} GB" in done.stdout
    assert f"waiting for data {timing['data_wait_share']:.1%};" in done.stdout
    assert 0 < timing["step_seconds"] <= timing["train_seconds"] / 4
    held = timing["stall_seconds"]["log"]
    assert 0 < held["median"] <= held["largest"]


def test_a_run_leaves_its_profile_and_its_compiled_programs_where_it_says(finished):
    root, _, done = finished
    (trace,) = (root / "run/profile").rglob("*.trace.json.gz")
    assert json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    assert f"profile of 4 steps in {root / 'run/profile'}" in done.stdout
    (own,) = (root / "compiled").iterdir()
    assert f"compiled programs are kept in {own}" in done.stdout
    assert list(own.glob("jit_step-*"))


def test_rematerialising_where_it_saves_nothing_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(jax, "__version_info__", (0, 10, 2))
    line = refused(capsys, "--remat", f"--run-dir={tmp_path / 'run'}")
    assert "--remat saves no memory on CPU" in line and "use --accumulate=K" in line
    assert not (tmp_path / "run").exists()


def test_an_unreadable_photograph_is_named_and_skipped(finished):
    _, _, done = finished
    (line,) = [line for line in done.stderr.splitlines() if "skipped" in line]
    assert "broken.png" in line


def test_a_finished_run_prints_its_summary_and_trains_nothing(finished, monkeypatch, capsys):
    root, flags, _ = finished
    monkeypatch.setenv("RETROJAX_CACHE", str(root / "cache"))
    before = (root / "run/metrics.jsonl").read_bytes()
    assert main([*SMALL, *flags]) == 0
    assert "colour error / LUT" in capsys.readouterr().out
    assert (root / "run/metrics.jsonl").read_bytes() == before


def test_another_configuration_in_the_same_folder_is_refused(finished, monkeypatch, capsys):
    root, flags, _ = finished
    monkeypatch.setenv("RETROJAX_CACHE", str(root / "cache"))
    line = refused_with(capsys, *flags, "--seed=5", "--loss=bce")
    assert "loss was 'lsgan', now 'bce'" in line
    assert "seed was 0, now 5" in line


def refused_with(capsys, *flags: str) -> str:
    """As `refused`, but files that are skipped may be named first."""
    assert main([*SMALL, *flags]) == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been_killed(finished):
    """SIGKILL at some moment after the second checkpoint; the weights are compared bit by bit."""
    root, _, _ = finished
    environment = {**os.environ, "RETROJAX_CACHE": str(root / "cache")}
    data = (f"--data=folder:{root / 'photos'}", "--steps=24", "--save-every-steps=2")

    def arguments(name: str) -> list[str]:
        return command(*data, "--log-every-steps=1", f"--run-dir={root / name}")

    whole = subprocess.run(arguments("whole"), cwd=ROOT, env=environment, capture_output=True)
    assert whole.returncode == 0, whole.stderr

    log = root / "killed" / "metrics.jsonl"
    process = subprocess.Popen(
        arguments("killed"), cwd=ROOT, env=environment, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not any(line["step"] >= 5 for line in read_lines(log)):
        assert process.poll() is None and time.monotonic() < deadline, "the run never got going"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (root / "killed/model").exists(), "the run ended before it was killed"

    again = subprocess.run(
        arguments("killed"), cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert again.returncode == 0, again.stderr
    assert "resuming at step " in again.stdout
    weights = [root / name / "model/model.safetensors" for name in ("whole", "killed")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    steps = [line["step"] for line in read_lines(log) if "event" not in line]
    assert steps == list(range(1, 25))


@pytest.mark.slow
def test_more_steps_go_on_with_a_finished_run(finished, monkeypatch):
    root, flags, _ = finished
    monkeypatch.setenv("RETROJAX_CACHE", str(root / "cache"))
    assert main([*SMALL, *flags[:-1], "--steps=6"]) == 0
    assert json.loads((root / "run/config.json").read_text())["steps"] == 6
    assert (root / "run/samples/00000006.png").exists()
