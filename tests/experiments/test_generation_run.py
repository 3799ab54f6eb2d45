"""A noise-to-image run as it is typed: what it refuses, what it leaves, and what becomes of it."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

from experiments import generation_run
from experiments.faces import faces_found
from experiments.generation_run import HELD_OUT, compare, slerp
from experiments.run import main
from retrojax.cli import main as retrojax
from retrojax.data.embedded import digits, faces
from retrojax.data.whole import square
from retrojax.training.log_file import read_lines


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generation") / "run"
    # The document's networks have one size; DCGAN's may be narrow.
    flags = ["--preset=dcgan64-tiny", "--data=digits", "--take=whole", "--no-flip"]
    flags += ["--steps=2", f"--run-dir={folder}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generation_run, "MOST_IMAGES", 70)
        assert main(flags) == 0
    return folder, flags


def test_a_run_leaves_samples_neighbours_an_interpolation_a_model_and_a_report(finished):
    folder, _ = finished
    for name in ("samples", "interpolation", "nearest"):
        with Image.open(folder / "samples" / f"final-{name}-output.png") as picture:
            assert np.asarray(picture).std() > 5, name
    with Image.open(folder / "samples" / "00000002.png") as sheet:
        assert sheet.size == (8 * (3 * 64 + 4) + 4,) * 2
    page = (folder / "report.html").read_text()
    assert "coverage of real images" in page and "dcgan64-tiny" in page
    events = {line.get("event") for line in read_lines(folder / "metrics.jsonl")}
    assert {"figures", "timing", "formula"} <= events


def test_a_finished_run_prints_its_figures_and_trains_nothing(finished, capsys):
    folder, flags = finished
    before = (folder / "metrics.jsonl").read_bytes()
    assert main(flags) == 0
    said = capsys.readouterr().out
    assert "coverage of real images" in said and "retrojax generate --model" in said
    assert (folder / "metrics.jsonl").read_bytes() == before


def test_the_model_makes_images_which_depend_on_seed_and_index_alone(finished, tmp_path, capsys):
    model = str(finished[0] / "model")
    for name, flags in {
        "a": ["--count=3"],
        "b": ["--count=2"],
        "c": ["--count=1", "--seed=5"],
    }.items():
        command = ["generate", f"--model={model}", f"--output={tmp_path / name}", *flags]
        assert retrojax(command) == 0
    assert "1 images of" in capsys.readouterr().out
    read = {
        path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*.png")
    }
    assert set(read) == {"a/0-0000.png", "a/0-0001.png", "a/0-0002.png", "b/0-0000.png",
                         "b/0-0001.png", "c/5-0000.png"}  # fmt: skip
    assert read["a/0-0001.png"] == read["b/0-0001.png"]
    assert len({read["a/0-0000.png"], read["a/0-0001.png"], read["c/5-0000.png"]}) == 3


def test_models_are_not_mistaken_for_one_another(finished, tmp_path, capsys):
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    model = str(finished[0] / "model")
    wrong = ["stylize", str(tmp_path / "a.png"), "--model", model, "--output", str(tmp_path / "o")]
    assert retrojax(wrong) == 2
    assert "makes images from noise" in capsys.readouterr().err
    wrong = ["generate", "--model=faded-print", f"--output={tmp_path / 'o'}"]
    assert retrojax(wrong) == 2
    assert "changes photographs" in capsys.readouterr().err
    assert (
        retrojax(["generate", f"--model={model}", "--count=0", f"--output={tmp_path / 'o'}"]) == 2
    )
    assert "count must be at least 1, not 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--size=30",), "--size must be a multiple of 4 for --generator=document, not 30"),
        (("--generator=dcgan",), "--size must be 64 for the dcgan networks, not 16"),
        (("--look=sepia",), "--look=sepia needs --take=crops"),
    ],
)
def test_values_that_do_not_go_together_are_refused(flags, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--preset=document-tiny", *flags])
    assert stopped.value.code == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--data=nothing",), "is not one of the forms"),
        (("--data=pairs:a,b",), "is for learning a look"),
        (("--data=tfds:cifra10",), "no such TFDS dataset; near it are cifar10"),
        (("--data=faces", "--batch-size=128"), "80 images to train on, fewer than a batch of 128"),
        (("--batch-size=3",), "batch of 3 cannot be divided among 4 devices"),
        (("--augment=colour",), "unknown augmentation 'colour'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(flags, message, tmp_path, capsys):
    assert main(["--preset=document-tiny", *flags, f"--run-dir={tmp_path / 'run'}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "run").exists()


def test_the_configuration_is_kept(finished):
    config = json.loads((finished[0] / "config.json").read_text())
    assert config["generator"] == "dcgan" and config["data"] == "digits"


def test_memorised_images_are_seen_as_copies_and_held_out_ones_are_not():
    images = np.stack([square(np.repeat(d[..., None], 3, -1), 8) for d in digits()[0][:300]])
    real, held_out = images[:200] / 127.5 - 1, images[200:] / 127.5 - 1
    figures = compare(real, held_out, real.copy(), None)
    assert figures["generated"]["copies"] < 1e-6 and figures["generated"]["coverage"] == 1.0
    assert 0.8 < figures[HELD_OUT]["copies"] < 1.3


def test_the_detector_finds_faces_in_faces_and_none_in_noise():
    real = np.stack([square(np.repeat(f[..., None], 3, -1), 32) for f in faces()[:12]]) / 127.5 - 1
    noise = np.random.default_rng(0).uniform(-1, 1, (6, 32, 32, 3))
    assert faces_found(real) >= 0.8
    assert faces_found(noise) == 0.0
    assert faces_found(np.repeat(real.mean((1, 2), keepdims=True), 32, 1).repeat(32, 2)) == 0.0


def test_the_way_between_two_latents_keeps_their_length():
    a, b = jax.random.normal(jax.random.key(0), (2, 100))
    way = np.asarray(slerp(a, b, 5))
    np.testing.assert_allclose(way[[0, -1]], np.stack([a, b]), atol=1e-5)
    lengths = np.linalg.norm(way, axis=1)
    assert lengths.min() > 0.98 * min(np.linalg.norm(a), np.linalg.norm(b))
