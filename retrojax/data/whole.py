"""Images at the size they are learned from: whole as small squares, or as pix2pix loads them."""

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


def resized_images(data: PhotoData, size: int) -> PhotoData:
    """The same images, each stretched to a square of `size` pixels (bicubic).

    As the loaders of pix2pix, CycleGAN and CUT do ("resize_and_crop"), which cut their crops from
    it.
    """

    def stretched(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "size size 3"]:
        return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC))

    def scaled(photo: Photo) -> Photo:
        target = None if photo.target is None else stretched(photo.target)
        return Photo(photo.name, stretched(photo.source), target)

    targets = data.targets
    return replace(
        data,
        train=Photos(len(data.train), lambda index: scaled(data.train[index])),
        validation=tuple(scaled(photo) for photo in data.validation),
        fingerprint=f"{data.fingerprint}:resized-{size}",
        targets=targets and Photos(len(targets), lambda index: scaled(targets[index])),
        validation_targets=tuple(scaled(photo) for photo in data.validation_targets),
    )


def split_domains(data: PhotoData) -> PhotoData:
    """Photographs of one domain as two: the first half are sources, the others targets.

    The look is rendered on the targets, so that no target shows what a source shows.

    Raises:
        ValueError: for fewer than two photographs to train on.
    """
    count = len(data.train)
    if count < 2:
        raise ValueError(
            f"{count} photograph to train on cannot be divided into two domains; give at least 3 "
            "photographs (one is held out), or two folders: unpaired:SOURCE,TARGET"
        )
    half = count // 2
    return replace(
        data,
        train=Photos(half, lambda index: data.train[index]),
        targets=Photos(count - half, lambda index: data.train[half + index]),
        validation_targets=data.validation,
        description=f"{half} as sources, {count - half} others for the look, of {data.description}",
        fingerprint=f"{data.fingerprint}:two-domains",
    )
