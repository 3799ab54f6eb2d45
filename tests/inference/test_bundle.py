import hashlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from retrojax.inference import bundle as bundles
from retrojax.inference.bundle import load_bundle, save_bundle, shipped_bundles

RESNET_OPTIONS = {"features": 2, "blocks": 1, "norm": "none", "noise_channels": 1}


def rewritten(folder, change):
    """Changes model.json by a function on its dict."""
    path = folder / "model.json"
    description = json.loads(path.read_text())
    change(description)
    path.write_text(json.dumps(description))


def test_what_is_saved_is_loaded_bit_for_bit(tmp_path, resnet):
    folder = save_bundle(
        tmp_path / "deep" / "model",
        variables=resnet.variables,
        generator_name="resnet",
        generator_options=RESNET_OPTIONS,
        about={"look": "sepia", "steps": 12, "pixels_per_mm": 14.25},
    )
    loaded = load_bundle(folder)
    saved_leaves = flatten_dict(resnet.variables)
    loaded_leaves = flatten_dict(loaded.variables)
    assert saved_leaves.keys() == loaded_leaves.keys()
    for key, leaf in saved_leaves.items():
        assert loaded_leaves[key].dtype == jnp.float32
        assert np.array_equal(np.asarray(loaded_leaves[key]).view(np.int32), leaf.view(np.int32))
    assert loaded.module == resnet.module
    assert hash(loaded.module) == hash(resnet.module)
    assert loaded.about == {"look": "sepia", "steps": 12, "pixels_per_mm": 14.25}
    assert loaded.pixels_per_mm == 14.25


def test_two_files_and_no_temporary_ones(look_folder):
    assert sorted(path.name for path in look_folder.iterdir()) == [
        "model.json",
        "model.safetensors",
    ]
    description = json.loads((look_folder / "model.json").read_text())
    weights = (look_folder / "model.safetensors").read_bytes()
    assert description["format"] == 1
    assert description["sha256"] == hashlib.sha256(weights).hexdigest()
    assert set(description["versions"]) == {"retrojax", "jax"}


def test_bfloat16_weights_are_stored_as_float32(tmp_path, resnet):
    half = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), resnet.variables)
    folder = save_bundle(
        tmp_path / "m",
        variables=half,
        generator_name="resnet",
        generator_options=RESNET_OPTIONS,
        about={},
    )
    leaves = jax.tree.leaves(load_bundle(folder).variables)
    for stored, original in zip(leaves, jax.tree.leaves(half), strict=True):
        assert stored.dtype == jnp.float32
        assert jnp.array_equal(stored, original.astype(jnp.float32))


def test_any_flipped_bit_of_the_weights_is_found(look_folder):
    path = look_folder / "model.safetensors"
    whole = path.read_bytes()
    for position in np.random.default_rng(0).integers(0, 8 * len(whole), 50):
        damaged = bytearray(whole)
        damaged[position // 8] ^= 1 << (position % 8)
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"model\.safetensors: SHA-256 differs"):
            load_bundle(look_folder)


@pytest.mark.parametrize("keep", [0, 7, 0.5, 0.99])
def test_truncated_weights_are_found(look_folder, keep):
    path = look_folder / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if keep < 1 else keep])
    with pytest.raises(ValueError, match=r"model\.safetensors: SHA-256 differs.*copy"):
        load_bundle(look_folder)


def test_weights_that_are_no_safetensors_are_refused_even_with_the_right_hash(look_folder):
    content = b"\x80\x04not a safetensors file, and never unpickled"
    (look_folder / "model.safetensors").write_bytes(content)
    rewritten(look_folder, lambda d: d.update(sha256=hashlib.sha256(content).hexdigest()))
    with pytest.raises(ValueError, match="not a safetensors file"):
        load_bundle(look_folder)


def test_nan_weights_are_refused(tmp_path, resnet):
    broken = jax.tree.map(lambda leaf: leaf * np.nan, resnet.variables)
    folder = save_bundle(
        tmp_path / "m",
        variables=broken,
        generator_name="resnet",
        generator_options=RESNET_OPTIONS,
        about={},
    )
    with pytest.raises(ValueError, match="NaN or infinity.*earlier checkpoint"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format=2), r"model\.json: format 2, this retrojax reads 1"),
        (lambda d: d.pop("format"), "format None"),
        (lambda d: d.pop("generator"), r"generator\.name, generator\.options missing or wrong"),
        (lambda d: d.update(about=[]), "about, about.pixels_per_mm missing or wrong"),
        (lambda d: d["about"].update(pixels_per_mm=0), "about.pixels_per_mm missing or wrong"),
        (lambda d: d["about"].update(pixels_per_mm="14"), "about.pixels_per_mm missing"),
        (lambda d: d.pop("sha256"), "sha256 missing or wrong"),
        (
            lambda d: d["generator"].update(name="vae"),
            "unknown generator 'vae'; known: look, resnet",
        ),
        (lambda d: d["generator"]["options"].update(x=1), "wrong options for generator 'look'"),
        (lambda d: d["generator"]["options"].update(lut_size=5), "do not fit.*file .*gen"),
        (lambda d: d["generator"]["options"].update(lut_size=-1), "cannot be built"),
        (lambda d: d["generator"]["options"].update(noise_channels="3"), "wrong opt|cannot be"),
    ],
)
def test_a_wrong_description_is_refused(look_folder, change, message):
    rewritten(look_folder, change)
    with pytest.raises(ValueError, match=message) as caught:
        load_bundle(look_folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[1]", "\xff", "[" * 100_000])
def test_a_description_that_is_no_json_object_is_refused(look_folder, text):
    (look_folder / "model.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"model\.json: (not JSON|must hold a JSON object)"):
        load_bundle(look_folder)


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_a_missing_file_is_named(look_folder, name):
    (look_folder / name).unlink()
    with pytest.raises(ValueError, match=f"{name}: cannot be read .No such file"):
        load_bundle(look_folder)


def test_an_unknown_model_lists_the_shipped_ones(look_folder, monkeypatch):
    monkeypatch.setattr(bundles, "SHIPPED_FOLDER", look_folder.parent)
    with pytest.raises(ValueError, match="no model 'nope'.*one of: look-model"):
        load_bundle("nope")


def test_a_shipped_name_wins_over_a_folder_of_that_name(look_folder, monkeypatch, tmp_path):
    monkeypatch.setattr(bundles, "SHIPPED_FOLDER", look_folder.parent)
    working = tmp_path / "elsewhere"
    (working / "look-model").mkdir(parents=True)
    monkeypatch.chdir(working)
    assert list(shipped_bundles()) == ["look-model"]
    assert load_bundle("look-model").about["look"] == "test"
    with pytest.raises(ValueError, match="cannot be read"):
        load_bundle("./look-model")


def test_a_bundle_that_cannot_be_loaded_is_not_saved(tmp_path, resnet):
    with pytest.raises(ValueError, match="unknown generator 'gan'; known: look, resnet, unet"):
        save_bundle(
            tmp_path / "m",
            variables=resnet.variables,
            generator_name="gan",
            generator_options=RESNET_OPTIONS,
            about={},
        )
    with pytest.raises(ValueError, match="must be JSON values"):
        save_bundle(
            tmp_path / "m",
            variables=resnet.variables,
            generator_name="resnet",
            generator_options=RESNET_OPTIONS,
            about={"array": np.zeros(2)},
        )
    assert not (tmp_path / "m").exists()
