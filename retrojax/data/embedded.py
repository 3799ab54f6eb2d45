"""Small images inside the scikit-learn and scikit-image wheels: data without a download.

`digits`: 1797 handwritten digits of 8x8 pixels (UCI). `faces`: the 100 faces of 25x25 pixels in
scikit-image's subset of Labelled Faces in the Wild (its other 100 pictures are no faces). Every
fifth image is held out.
"""

import hashlib

import numpy as np
from jaxtyping import Bool, UInt8

from .photos import Photo, PhotoData, Photos

_FACES = 100


def held_out_fifth(count: int) -> Bool[np.ndarray, "count"]:
    """Which of `count` images are held out: the third of every five."""
    return np.arange(count) % 5 == 2


def digits() -> tuple[UInt8[np.ndarray, "1797 8 8"], UInt8[np.ndarray, "1797"]]:
    """Handwritten digits, white on black, and which digit each one is."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(np.asarray(bunch["images"]) * (255 / 16)).astype(np.uint8)
    return images, np.asarray(bunch["target"]).astype(np.uint8)


def faces() -> UInt8[np.ndarray, "100 25 25"]:
    """Faces in grey."""
    from skimage.data import lfw_subset

    return np.rint(lfw_subset()[:_FACES] * 255).astype(np.uint8)


def embedded_images(name: str) -> PhotoData:
    """The images called "digits" or "faces", grey as three equal channels."""
    images = digits()[0] if name == "digits" else faces()
    colour = np.repeat(images[..., None], 3, axis=-1)
    chosen = held_out_fifth(len(images))
    held, rest = (np.flatnonzero(mask).tolist() for mask in (chosen, ~chosen))

    def photo(index: int) -> Photo:
        return Photo(f"{name}-{index:04d}", colour[index], None)

    return PhotoData(
        train=Photos(len(rest), lambda index: photo(rest[index])),
        validation=tuple(photo(index) for index in held),
        description=f"{len(rest)} bundled {name}; held out: {len(held)}",
        skipped=(),
        fingerprint=f"{name}:{hashlib.sha256(images.tobytes()).hexdigest()[:16]}",
    )
