"""Whole images as small squares: what a noise-to-image network learns from."""

from dataclasses import replace

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from .photos import Photo, PhotoData, Photos


def square(image: UInt8[np.ndarray, "h w 3"], size: int) -> UInt8[np.ndarray, "size size 3"]:
    """The largest square in the middle of an image, scaled to `size` pixels (bicubic)."""
    side = min(image.shape[:2])
    top, left = ((n - side) // 2 for n in image.shape[:2])
    middle = Image.fromarray(image[top : top + side, left : left + side])
    return np.asarray(middle.resize((size, size), Image.Resampling.BICUBIC))


def whole_images(data: PhotoData, size: int) -> PhotoData:
    """The same images, each as one square of `size` pixels; small ones are enlarged.

    Args:
        data: images of any size; targets are dropped.
        size: side in pixels.
    """

    def scaled(photo: Photo) -> Photo:
        return Photo(photo.name, square(photo.source, size), None)

    return replace(
        data,
        train=Photos(len(data.train), lambda index: scaled(data.train[index])),
        validation=tuple(scaled(photo) for photo in data.validation),
        fingerprint=f"{data.fingerprint}:whole-{size}",
    )
