"""TFDS datasets: prepared ones are read, others prepared or refused in one line."""

import io
import sys

import numpy as np
import pytest
from PIL import Image

from retrojax.data import batches, open_data
from retrojax.data.tfds_source import tfds


def png(index, size):
    buffer = io.BytesIO()
    Image.new("RGB", size, (index, 100, 200)).save(buffer, "PNG")
    return buffer.getvalue()


class Snapshots(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    code_path = None
    splits = {"train": 12}
    size = (48, 40)

    def _info(self):
        image = tfds.features.Image(shape=(None, None, 3), encoding_format="png")
        features = {"label": tfds.features.Text(), "photo": image, "mask": image}
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        return {name: self._generate_examples(n) for name, n in self.splits.items()}

    def _generate_examples(self, count):
        for i in range(count):
            yield i, {"label": "x", "photo": png(i, self.size), "mask": png(200, self.size)}


class WithTest(Snapshots):
    splits = {"train": 3, "test": 10}


class Tiny(Snapshots):
    size = (8, 8)


class NeedsTensorflow(Snapshots):
    def _split_generators(self, dl_manager):
        import tensorflow

        return {"train": tensorflow}


class Offline(Snapshots):
    def _split_generators(self, dl_manager):
        raise ConnectionError("the server\ndoes not answer")


class Wordy(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    code_path = None

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict({"text": tfds.features.Text()})
        )

    def _split_generators(self, dl_manager):
        return {}

    def _generate_examples(self):
        yield from ()


@pytest.fixture(autouse=True)
def own_data_dir(tmp_path, monkeypatch):
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path / "tfds"))


def opened(spec, window=32):
    return open_data(spec, photo_size=64, window=window)


def test_a_dataset_is_prepared_once_and_read_in_order():
    data = opened("tfds:snapshots")
    assert [photo.source[0, 0, 0] for photo in data.validation] == [6]
    assert [photo.source[0, 0, 0] for photo in data.train] == [i for i in range(12) if i != 6]
    assert data.train[0].source.shape == (40, 48, 3)
    assert data.train[0].name == "train-000000"
    assert opened("tfds:snapshots").fingerprint == data.fingerprint == "snapshots/1.0.0:photo:64"
    assert "tensorflow" not in sys.modules


def test_a_feature_can_be_named():
    assert (opened("tfds:snapshots:mask").train[0].source[..., 0] == 200).all()


def test_a_test_split_is_used_for_validation():
    data = opened("tfds:with_test")
    assert len(data.train) == 3
    assert [photo.name for photo in data.validation] == ["test-000005"]


def test_batches_come_from_a_dataset():
    stream = batches(
        opened("tfds:snapshots"), batch_size=3, window=32, seed=1, first_step=0, steps=2
    )
    assert [batch["source"].shape for batch in stream] == [(3, 32, 32, 3)] * 2


def test_an_unknown_dataset_is_named_with_its_neighbours():
    with pytest.raises(
        ValueError, match=r"^tfds:snapshot: no such TFDS dataset; near .* snapshots"
    ):
        opened("tfds:snapshot")


def test_an_unknown_feature_lists_the_image_features():
    with pytest.raises(
        ValueError, match=r"^tfds:snapshots .* 'label'; .*: (photo, mask|mask, photo)$"
    ):
        opened("tfds:snapshots:label")


def test_a_dataset_without_images_lists_its_features():
    with pytest.raises(ValueError, match=r"no image feature; its features: text"):
        opened("tfds:wordy")


def test_a_builder_that_needs_tensorflow_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ValueError, match=r"needs tensorflow .* pip install 'retrojax\[prepare\]'"):
        opened("tfds:needs_tensorflow")


def test_a_builder_that_fails_is_one_line():
    with pytest.raises(ValueError, match=r"^tfds:offline cannot be prepared: the server$"):
        opened("tfds:offline")


def test_photographs_smaller_than_the_window_are_found_from_their_headers():
    with pytest.raises(ValueError, match=r"is 8x8 pixels, smaller than the window of 32"):
        opened("tfds:tiny")


def test_records_without_random_access_are_refused(tmp_path, monkeypatch):
    opened("tfds:snapshots")
    monkeypatch.setattr(
        Snapshots, "as_data_source", lambda *_, **__: (_ for _ in ()).throw(NotImplementedError)
    )
    with pytest.raises(ValueError, match="file_format='array_record'"):
        opened("tfds:snapshots")


def test_pixels_survive_preparation():
    photo = opened("tfds:snapshots").train[3]
    np.testing.assert_array_equal(photo.source, np.full((40, 48, 3), (3, 100, 200), np.uint8))
