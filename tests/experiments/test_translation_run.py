"""The translation family as commands: every tiny preset end to end, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from experiments.presets import PRESETS, preset
from experiments.run import main
from experiments.translation_run import open_translation_run
from retrojax.inference.bundle import load_bundle


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Six pictures and three: two domains of different lengths and colours."""
    root = tmp_path_factory.mktemp("domains")
    for name, count, tint in (("a", 6, (1.0, 1.0, 1.0)), ("b", 3, (1.0, 0.7, 0.4))):
        (root / name).mkdir()
        for index in range(count):
            rng = np.random.default_rng(index)
            small = rng.integers(0, 256, (6, 8 + index, 3)) * tint
            image = Image.fromarray(small.astype(np.uint8)).resize((80, 60))
            image.save(root / name / f"{index}.png")
    return root


def run(*flags):
    # Tests have four virtual devices, which share a batch.
    return main([*flags, "--batch-size=4", "--sample-every-steps=0"])


@pytest.mark.slow
def test_a_run_leaves_models_a_report_and_figures_beside_histogram_matching(tmp_path):
    folder = tmp_path / "run"
    # A critic and terms that compile quickly; what is left of the game is CycleGAN's.
    flags = ("--discriminator=pixel", "--identity-weight=0", "--steps=2")
    assert run("--preset=cyclegan-tiny", *flags, f"--run-dir={folder}") == 0
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    figures = next(line["figures"] for line in lines if line.get("event") == "figures")
    assert list(figures) == ["untouched input", "histogram matching", "trained"]
    assert figures["untouched input"]["colour_ratio"] == 1.0
    assert figures["histogram matching"]["colour_ratio"] < 1.0
    assert (folder / "report.html").stat().st_size > 10_000
    for model in ("model", "model-reverse"):
        assert load_bundle(folder / model).about["method"] == "unpaired"
    forward, backward = (
        load_bundle(folder / m).variables["params"]["stem"]["kernel"]
        for m in ("model", "model-reverse")
    )
    assert np.abs(forward - backward).max() > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name for name in PRESETS if name.endswith("-tiny") and "dcgan" not in name]
)
def test_every_tiny_preset_runs_to_its_end(name, tmp_path):
    assert run(f"--preset={name}", f"--run-dir={tmp_path / 'run'}") == 0
    assert (tmp_path / "run" / "model" / "model.safetensors").exists()


def opened(tmp_path, name, **changes):
    config = replace(preset(name), **{"batch_size": 4, "run_dir": str(tmp_path / "run"), **changes})
    return open_translation_run(config)


def test_two_folders_are_two_domains_and_epochs_are_as_long_as_the_longer(tmp_path, folders):
    data = f"unpaired:{folders / 'a'},{folders / 'b'}"
    found = opened(
        tmp_path, "cyclegan-tiny", data=data, look="none", load_size=36, steps=0,
        epochs_constant=2, epochs_decay=1,
    )  # fmt: skip
    # One picture of each domain is held out: 5 and 2 are left, so 2 steps of 4 an epoch.
    assert (len(found.data.train), len(found.data.targets)) == (5, 2)
    assert found.config.steps == 6
    assert found.data.train[0].source.shape == (36, 36, 3)


def test_cut_loads_images_at_the_size_of_the_crop_while_the_rate_decays(tmp_path, folders):
    data = f"unpaired:{folders / 'a'},{folders / 'b'}"
    changes = {"data": data, "look": "none", "steps": 0, "load_size": 36, "batch_size": 4}
    epochs = {"epochs_constant": 3, "epochs_decay": 1}
    found = opened(tmp_path, "cut-tiny", decay_uncropped=True, **changes, **epochs)
    # 5 sources: 2 steps an epoch, and the decay starts after the third.
    assert found.config.steps == 8 and found.data.later_from == 6
    assert found.data.train[0].source.shape == found.data.targets[0].source.shape == (36, 36, 3)
    assert found.data.later.train[0].source.shape == (32, 32, 3)
    assert found.data.later.targets[0].source.shape == (32, 32, 3)
    assert preset("cut").decay_uncropped and preset("fastcut").decay_uncropped


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("cyclegan-tiny", {"look": "none"}, "has one domain"),
        ("pix2pix-tiny", {"data": "UNPAIRED", "look": "none"}, "two unrelated domains"),
        ("cyclegan-tiny", {"data": "PAIRS", "look": "none"}, "takes no pairs"),
        ("cyclegan-tiny", {"data": "UNPAIRED"}, "rendered on targets that"),
    ],
)
def test_data_that_does_not_fit_the_method_is_refused(tmp_path, folders, name, changes, message):
    a, b = folders / "a", folders / "b"
    if changes.get("data") == "UNPAIRED":
        changes = {**changes, "data": f"unpaired:{a},{b}"}
    if changes.get("data") == "PAIRS":
        changes = {**changes, "data": f"pairs:{a},{a}"}
    with pytest.raises(ValueError, match=message):
        opened(tmp_path, name, **changes)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("pix2pix-tiny", {"crop": 48}, "--crop must be a multiple of 32"),
        ("cut-tiny", {"generator": "unet", "levels": 3}, "compares features"),
        ("cut-tiny", {"nce_layers": "0,x"}, "--nce-layers must be numbers"),
        ("fastcut-tiny", {"identity_weight": 1.0}, "needs --nce-identity"),
        ("sincut-tiny", {"crop": 32}, "--crop must be 64"),
        ("text-tiny", {"crop": 44}, "--crop must be a multiple of 8 for --generator=encoder"),
        ("text-tiny", {"method": "unpaired"}, "--l2-weight=100.0 needs a target"),
        ("cyclegan", {"look": "sepia"}, "needs --load-size=0"),
        ("cyclegan", {"load_size": 200}, "smaller than the crop"),
        ("cut", {"load_size": 0}, "leave it out with --no-decay-uncropped"),
        ("cut", {"epochs_constant": 0, "epochs_decay": 0}, "needs --epochs-constant or"),
        ("cyclegan", {"zoom": 0.0}, "--zoom"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(name, changes, message):
    with pytest.raises(ValueError, match=message):
        replace(preset(name), **changes)


@pytest.mark.parametrize("name", ["pix2pix", "cyclegan", "cut", "fastcut", "sincut"])
def test_published_presets_hold_the_published_numbers(name):
    config = preset(name)
    epochs = {
        "pix2pix": (100, 100), "cyclegan": (100, 100), "cut": (200, 200), "fastcut": (150, 50),
        "sincut": (8, 8),
    }  # fmt: skip
    assert (config.epochs_constant, config.epochs_decay) == epochs[name]
    adam = (2e-3, 0.0, 0.99) if name == "sincut" else (2e-4, 0.5, 0.999)
    assert (config.learning_rate, config.b1, config.b2) == adam
    assert config.batch_size == (16 if name == "sincut" else 1)
    assert config.order == ("simultaneous" if name == "cyclegan" else "alternating")
