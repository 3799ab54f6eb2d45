"""Preparation by Apache Beam's local runner writes the records that plain preparation writes."""

import io
import sys

import numpy as np
import pytest
from PIL import Image

from retrojax.cli import main
from retrojax.data import open_data
from retrojax.data.builder import prepare
from retrojax.data.photo_files import find_photos, match_pairs
from retrojax.data.tfds_source import tfds

# TFDS with the protobuf that Beam asks for.
pytestmark = pytest.mark.filterwarnings("ignore:label.. is deprecated:DeprecationWarning")


@pytest.fixture
def folder(tmp_path):
    """Photographs of different sizes, larger and smaller than they are trained on; one broken."""
    rng = np.random.default_rng(0)
    for index in range(7):
        for side in ("a", "b"):
            path = tmp_path / side / f"{index}.png"
            path.parent.mkdir(exist_ok=True)
            pixels = rng.integers(0, 255, (20 + 5 * index, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
    (tmp_path / "a" / "3x.jpg").write_bytes(b"no picture")
    (tmp_path / "b" / "3x.jpg").write_bytes(b"no picture")
    return tmp_path


@pytest.mark.parametrize("pairs", [False, True])
def test_beam_writes_what_plain_preparation_writes(folder, pairs):
    pytest.importorskip("apache_beam")
    a, b = folder / "a", folder / "b"
    files = match_pairs(a, b) if pairs else find_photos(a)
    plain, beam = (
        prepare(files, photo_size=32, cache_dir=folder / name, label="set", beam=flags)
        for name, flags in (("plain", None), ("beam", ()))
    )
    assert len(beam.records) == len(plain.records) == 7
    for mine, theirs in zip(beam.records, plain.records, strict=True):
        assert mine == theirs
    assert beam._replace(records=()) == plain._replace(records=())
    assert len(beam.skipped) == 1


def test_the_command_prepares_by_beam_what_a_run_finds(folder, monkeypatch, capsys):
    pytest.importorskip("apache_beam")
    from retrojax.data import beam

    given, configure = [], beam.download_config
    monkeypatch.setattr(beam, "download_config", lambda f: given.append(f) or configure(f))
    monkeypatch.setenv("RETROJAX_CACHE", str(folder / "command"))
    options = ["--photo-size=32", "--beam", "--beam-options=save_main_session,job_name=some"]
    assert main(["prepare", f"folder:{folder / 'a'}", *options]) == 3
    assert given == [["--save_main_session", "--job_name=some"]]
    said = capsys.readouterr()
    assert f"prepared below {folder / 'command'}" in said.out
    assert "retrojax: skipped " in said.err and "3x.jpg" in said.err
    (made,) = (folder / "command").iterdir()
    found, plain = (
        prepare(find_photos(folder / "a"), photo_size=32, cache_dir=folder / name, label=label)
        for name, label in (("command", made.name.rpartition("-")[0]), ("plain", "set"))
    )
    assert list((folder / "command").iterdir()) == [made]
    assert list(found.records) == list(plain.records)


class Piped(tfds.core.GeneratorBasedBuilder):
    """A dataset of TFDS that can only be prepared by Beam."""

    VERSION = tfds.core.Version("1.0.0")
    code_path = None

    def _info(self):
        photo = tfds.features.Image(shape=(None, None, 3), encoding_format="png")
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict({"photo": photo})
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        import apache_beam as beam

        return beam.Create(range(9)) | beam.Map(flat)


def flat(value):
    png = io.BytesIO()
    Image.new("RGB", (30, 20), (value, 0, 0)).save(png, "PNG")
    return value, {"photo": png.getvalue()}


def test_a_dataset_of_tfds_is_prepared_by_its_own_pipeline(folder, monkeypatch):
    pytest.importorskip("apache_beam")
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(folder / "tfds"))
    data = open_data("tfds:piped", photo_size=32, window=8, beam=())
    found = [photo.source for part in (data.train, data.validation) for photo in part]
    assert sorted(int(image[0, 0, 0]) for image in found) == list(range(9))
    assert all(image.shape == (20, 30, 3) for image in found)


def test_nothing_readable_is_one_line(folder):
    pytest.importorskip("apache_beam")
    for path in (folder / "a").glob("*.png"):
        path.write_bytes(b"no picture")
    with pytest.raises(
        ValueError, match="pipeline failed: The total number of generated examples is 0"
    ) as caught:
        open_data(
            f"folder:{folder / 'a'}", photo_size=32, window=8, cache_dir=folder / "c", beam=()
        )
    assert "\n" not in str(caught.value)


def test_without_beam_one_line_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam.options.pipeline_options", None)
    with pytest.raises(ValueError, match=r"pip install 'retrojax\[beam\]'"):
        open_data(
            f"folder:{folder / 'a'}", photo_size=32, window=8, cache_dir=folder / "c", beam=()
        )
