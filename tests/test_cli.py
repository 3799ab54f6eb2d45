"""The command `retrojax`: exit codes, one-line errors, and files where they are promised."""

import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from retrojax.cli import main
from retrojax.data import builder, open_data
from retrojax.inference.bundle import save_bundle, shipped_bundles
from retrojax.inference.torch_file import read_state, write_state
from retrojax.inference.torch_layout import to_torch
from retrojax.models import LookGenerator, PatchDiscriminator, ResNetGenerator

OPTIONS = {"lut_size": 4, "glow_features": 0, "texture_features": 3, "texture_size": 3}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny model with grain."""
    blank = jnp.zeros((1, 8, 8, 3))
    variables = LookGenerator(**OPTIONS).init(jax.random.key(0), blank, blank)
    return save_bundle(
        tmp_path_factory.mktemp("model"),
        variables=jax.tree.map(lambda leaf: leaf + 0.05, variables),
        generator_name="look",
        generator_options=OPTIONS,
        about={"look": "test", "pixels_per_mm": 2.0},
    )


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "in" / "photo.png"
    path.parent.mkdir()
    pixels = np.random.default_rng(0).integers(40, 200, (33, 47, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_a_photograph_keeps_its_size_and_its_seed_decides_the_grain(photo, model, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        flags = ["--model", str(model), "--output", str(tmp_path / name), "--seed", str(seed)]
        assert main(["stylize", str(photo), *flags]) == 0
    first, same, other = (pixels(tmp_path / name / "photo.png") for name in "abc")
    assert first.shape == pixels(photo).shape
    assert (first == same).all()
    assert (first != other).any()


def test_strength_zero_is_the_photograph(photo, model, tmp_path):
    flags = ["--model", str(model), "--output", str(tmp_path / "out"), "--strength", "0"]
    assert main(["stylize", str(photo), *flags]) == 0
    assert (pixels(tmp_path / "out/photo.png") == pixels(photo)).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.jpg"], "nowhere.jpg: no such file or folder"),
        ([], "at least one photograph"),
        (["PHOTO", "--seed", "-1"], "seed -1 is out of range"),
        (["PHOTO", "--strength", "2"], "strength 2.0 is out of range"),
        (["PHOTO", "--shard", "3/2"], "--shard must be I/N with I from 1 to N"),
        (["PHOTO", "--model", "polaroid"], "no model 'polaroid'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, message, photo, tmp_path, capsys):
    named = [str(photo) if word == "PHOTO" else word for word in arguments]
    assert main(["stylize", *named, "--output", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("retrojax: error: ") and message in line


def test_parts_make_together_what_one_call_makes(photo, model, tmp_path, capsys):
    for index in range(4):
        shutil.copy(photo, photo.with_name(f"{index}.png"))
    flags = ["stylize", str(photo.parent), "--model", str(model), "--output"]
    assert main([*flags, str(tmp_path / "whole")]) == 0
    made = []
    for part in ("1/2", "2/2"):
        assert main([*flags, str(tmp_path / "shared"), "--shard", part]) == 0
        made.append(len(list((tmp_path / "shared").iterdir())))
        assert f"(part {part}) done" in capsys.readouterr().out
    assert made == [3, 5]
    for path in (tmp_path / "whole").iterdir():
        assert path.read_bytes() == (tmp_path / "shared" / path.name).read_bytes()


def test_a_broken_file_is_named_and_the_others_are_done(photo, model, tmp_path, capsys):
    (photo.parent / "broken.jpg").write_bytes(b"no picture")
    output = tmp_path / "out"
    arguments = ["stylize", str(photo.parent), "--model", str(model), "--output", str(output)]
    assert main(arguments) == 3
    assert "broken.jpg" in capsys.readouterr().err
    assert [path.name for path in output.iterdir()] == ["photo.png"]


def test_nothing_done_is_exit_code_1(model, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    flags = ["--model", str(model), "--output", str(tmp_path / "out")]
    assert main(["stylize", str(tmp_path / "broken.jpg"), *flags]) == 1


@pytest.mark.parametrize("name", shipped_bundles())
def test_a_shipped_look_gives_another_picture_than_the_photograph(name, photo, tmp_path):
    assert main(["stylize", str(photo), "--model", name, "--output", str(tmp_path / "out")]) == 0
    styled, source = pixels(tmp_path / "out/photo.png"), pixels(photo)
    assert np.abs(styled.astype(int) - source).mean() > 5


def test_at_least_three_looks_are_shipped_below_5_mb_and_one_is_the_default(capsys):
    folders = shipped_bundles()
    assert len(folders) >= 3 and "faded-print" in folders
    size = sum(file.stat().st_size for folder in folders.values() for file in folder.iterdir())
    assert size < 5_000_000
    assert main(["looks"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(folders)


@pytest.fixture
def generator(tmp_path):
    """The state dictionary of a tiny ResNet generator, as PyTorch saves it."""
    module = ResNetGenerator(features=4, blocks=1, norm="batch", dropout=0.5)
    variables = module.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    return write_state(tmp_path / "latest_net_G.pth", to_torch(module, variables))


def test_weights_of_pytorch_are_imported_used_and_exported_again(
    generator, photo, tmp_path, capsys
):
    model, output = tmp_path / "model", tmp_path / "out"
    assert main(["import-torch", str(generator), "-o", str(model)]) == 0
    assert "resnet (features=4, blocks=1, norm=batch, dropout=0.5," in capsys.readouterr().out
    assert main(["stylize", str(photo), "--model", str(model), "--output", str(output)]) == 0
    styled = pixels(output / "photo.png")
    assert styled.shape == pixels(photo).shape and (styled != pixels(photo)).any()
    for name in ("back.pth", "back.safetensors"):
        assert main(["export-torch", str(model), "--output", str(tmp_path / name)]) == 0
        back, state = read_state(tmp_path / name), read_state(generator)
        assert set(back) == set(state)
        assert all(np.array_equal(back[key], state[key]) for key in state)
    assert (tmp_path / "back.pth").read_bytes() == generator.read_bytes()


def test_a_discriminator_is_imported_but_changes_no_photograph(photo, tmp_path, capsys):
    module = PatchDiscriminator(features=2, layers=1)
    variables = module.init(jax.random.key(0), jnp.zeros((1, 32, 32, 6)))
    path = write_state(tmp_path / "latest_net_D.pth", to_torch(module, variables))
    model = str(tmp_path / "model")
    assert main(["import-torch", str(path), "-o", model]) == 0
    assert "it judges photographs and changes none" in capsys.readouterr().out
    assert main(["stylize", str(photo), "--model", model, "--output", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "a PatchDiscriminator judges photographs" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["import-torch", "nowhere.pth", "-o", "OUT"], "nowhere.pth: cannot be read"),
        (["import-torch", "PHOTO", "-o", "OUT"], "photo.png: neither a .pth file"),
        (
            ["import-torch", "FILE", "-o", "OUT", "--architecture", "unet"],
            "latest_net_G.pth: keys such as model.1.weight, model.2.weight",
        ),
        (["import-torch", "FILE", "-o", "PHOTO"], "cannot be written to"),
        (["export-torch", "faded-print", "-o", "OUT.pth"], "a LookGenerator has no counterpart"),
        (["export-torch", "nowhere", "-o", "OUT.pth"], "no model 'nowhere'"),
        (["export-torch", "faded-print", "-o", "OUT.onnx"], "end its name in .pth, .pt, .safet"),
    ],
)
def test_a_mistake_with_pytorchs_files_is_one_line_too(
    arguments, message, generator, photo, tmp_path, capsys
):
    names = {"FILE": str(generator), "PHOTO": str(photo), "OUT": str(tmp_path / "out")}
    named = [names.get(word, word.replace("OUT", str(tmp_path / "out"))) for word in arguments]
    assert main(named) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("retrojax: error: ") and message in line
    assert not (tmp_path / "out").exists()


def test_a_prepared_folder_is_decoded_by_no_run_again(photo, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RETROJAX_CACHE", str(tmp_path / "cache"))
    shutil.copy(photo, photo.with_name("other.png"))
    data = f"folder:{photo.parent}"
    assert main(["prepare", data, "--photo-size=32"]) == 0
    assert f"prepared below {tmp_path / 'cache'}" in capsys.readouterr().out
    (photo.parent / "broken.png").write_bytes(b"no picture")
    assert main(["prepare", data, "--photo-size=32"]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("retrojax: skipped ") and "broken.png" in line
    monkeypatch.setattr(builder, "_decoded", None)
    found = open_data(data, photo_size=32, window=8)
    assert {photo.name for photo in found.validation} <= {"photo.png", "other.png"}
    with pytest.raises(TypeError):
        open_data(data, photo_size=31, window=8)


def test_options_of_beam_without_beam_are_refused(photo, capsys):
    assert main(["prepare", f"folder:{photo.parent}", "--beam-options=runner=FlinkRunner"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--beam-options=runner=FlinkRunner goes with --beam" in line


def test_help_answers_without_loading_jax():
    code = (
        "import sys; from retrojax.cli import main\n"
        "try: main(['stylize', '--help'])\n"
        "except SystemExit as stopped: assert stopped.code == 0\n"
        "assert 'jax' not in sys.modules and 'numpy' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--strength" in done.stdout
