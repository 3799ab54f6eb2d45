"""Digits, faces, and whole images as squares."""

import numpy as np
import pytest

from retrojax.data import Photo, PhotoData, Photos, batches, open_data, whole_images
from retrojax.data.embedded import digits, faces
from retrojax.data.whole import square


def test_digits_are_white_on_black_with_their_labels():
    images, labels = digits()
    assert images.shape == (1797, 8, 8) and images.max() == 255 and images.min() == 0
    assert images[:, 0, 0].mean() < 1 and set(labels) == set(range(10))


def test_faces_are_the_hundred_faces_and_vary():
    images = faces()
    assert images.shape == (100, 25, 25)
    assert len(np.unique(images.reshape(100, -1), axis=0)) == 100


@pytest.mark.parametrize(("name", "count"), [("digits", 1797), ("faces", 100)])
def test_every_fifth_is_held_out(name, count):
    data = open_data(name, photo_size=64, window=1)
    assert len(data.train) + len(data.validation) == count
    assert len(data.validation) == pytest.approx(count / 5, abs=1)
    names = {photo.name for photo in data.train}
    assert not names & {photo.name for photo in data.validation}
    assert data.fingerprint.startswith(f"{name}:")


def test_images_smaller_than_the_window_are_named():
    with pytest.raises(ValueError, match="digits-0002 is 8x8 pixels, smaller than the window"):
        open_data("digits", photo_size=64, window=32)


def test_a_whole_image_is_its_middle_square():
    image = np.zeros((40, 80, 3), np.uint8)
    image[:, 20:60] = 200
    image[:, 60:] = 90
    assert (square(image, 16) == 200).all()
    assert square(image, 16).shape == (16, 16, 3)


def test_whole_images_come_as_batches_of_their_size():
    def read(index: int) -> Photo:
        return Photo(str(index), np.full((5 + index, 7, 3), 10 * index, np.uint8), None)

    data = PhotoData(Photos(4, read), (read(4),), "", (), "some")
    whole = whole_images(data, 8)
    (batch,) = batches(whole, batch_size=4, window=8, seed=0, first_step=0, steps=1)
    assert sorted(batch["source"][:, 0, 0, 0]) == [0, 10, 20, 30]
    assert batch["source"].shape == (4, 8, 8, 3)
    assert whole.fingerprint != data.fingerprint
