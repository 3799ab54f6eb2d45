"""Two domains: from two folders, from one set of photographs, and stretched as pix2pix does."""

import numpy as np
import pytest
from PIL import Image

from retrojax.data import Photo, PhotoData, Photos, open_data, resized_images, split_domains


def photo(value, size=(20, 30), *, target=False):
    image = np.full((*size, 3), value, np.uint8)
    return Photo(str(value), image, 255 - image if target else None)


def made(values, **options):
    photos = Photos(len(values), lambda index: photo(values[index], **options))
    return PhotoData(photos, (photo(200, **options),), "made", (), "made")


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("RETROJAX_CACHE", str(tmp_path / "cache"))
    for name, count in (("a", 4), ("b", 2)):
        (tmp_path / name).mkdir()
        for index in range(count):
            Image.new("RGB", (40, 36), (index, 0, 0)).save(tmp_path / name / f"{index}.png")
    return tmp_path


def test_two_folders_need_not_match(folders):
    data = open_data(f"unpaired:{folders / 'a'},{folders / 'b'}", photo_size=64, window=32)
    assert (len(data.train), len(data.targets)) == (3, 1)
    assert data.validation and data.validation_targets
    other = open_data(f"unpaired:{folders / 'b'},{folders / 'a'}", photo_size=64, window=32)
    assert other.fingerprint != data.fingerprint
    assert str(folders / "a") in data.description and str(folders / "b") in data.description


def test_one_folder_is_not_enough(folders):
    with pytest.raises(ValueError, match="unpaired:SOURCE,TARGET"):
        open_data(f"unpaired:{folders / 'a'}", photo_size=64, window=32)


def test_no_photograph_is_source_and_target():
    data = split_domains(made([1, 2, 3, 4, 5]))
    sources = {data.train[i].source[0, 0, 0] for i in range(len(data.train))}
    targets = {data.targets[i].source[0, 0, 0] for i in range(len(data.targets))}
    assert sources | targets == {1, 2, 3, 4, 5} and not sources & targets
    assert data.validation_targets == data.validation


def test_one_photograph_cannot_be_divided():
    with pytest.raises(ValueError, match="cannot be divided into two domains"):
        split_domains(made([1]))


def test_stretching_makes_squares_of_sources_and_targets():
    data = resized_images(made([10, 20], target=True), 24)
    for image in (data.train[1].source, data.train[1].target, data.validation[0].source):
        assert image.shape == (24, 24, 3)
    assert data.train[1].source[5, 5, 0] == 20 and data.train[1].target[5, 5, 0] == 235
    assert data.targets is None
    both = resized_images(split_domains(made([10, 20])), 24)
    assert both.targets[0].source.shape == (24, 24, 3)
