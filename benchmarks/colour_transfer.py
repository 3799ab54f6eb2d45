"""Colour transfer from an example picture, the way it was done before networks; numpy alone.

Both methods know the example's colours and not where they belong: they give a photograph of a
meadow the colours of a portrait. Neither has any grain of its own.
"""

from typing import Final

import numpy as np
from jaxtyping import Float, UInt8

ITERATIONS: Final = 10

_RGB_TO_LMS: Final = np.array(
    [[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]], np.float32
)
# Rows l (lightness), alpha (yellow - blue), beta (red - green); orthonormal.
_LMS_TO_LAB: Final = (
    np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]]) / np.sqrt([[3], [6], [2]])
).astype(np.float32)


def reinhard(
    photo: UInt8[np.ndarray, "h w 3"], example: UInt8[np.ndarray, "h2 w2 3"]
) -> UInt8[np.ndarray, "h w 3"]:
    """Gives a photograph the example's mean and deviation in each channel of l-alpha-beta.

    Source: Reinhard, Ashikhmin, Gooch and Shirley (2001), "Color transfer between images", eq. 4,
    6, 8, 10 and 11; taken, as published implementations do, on encoded values (the paper takes the
    pixels as they are), with the exact inverse for the paper's rounded one.

    Args:
        photo: sRGB.
        example: sRGB, of any size.
    """
    ours, theirs = to_lab(photo), to_lab(example)
    deviation, wanted = ours.std(axis=(0, 1)), theirs.std(axis=(0, 1))
    # A channel without deviation has nothing to be stretched.
    scale = wanted / np.where(deviation > 0, deviation, 1)
    return from_lab((ours - ours.mean(axis=(0, 1))) * scale + theirs.mean(axis=(0, 1)))


def to_lab(image: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w 3"]:
    """Ruderman's l-alpha-beta: an orthonormal basis of the decimal logarithms of L, M and S."""
    # Black has no logarithm: it is lifted to the darkest grey of eight bits.
    unit = np.maximum(image, 1).astype(np.float32) / 255
    return np.log10(unit @ _RGB_TO_LMS.T) @ _LMS_TO_LAB.T


def from_lab(lab: Float[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """The inverse of `to_lab`, clipped and rounded to eight bits."""
    lms = np.power(np.float32(10), lab @ _LMS_TO_LAB)
    return _bytes(lms @ np.linalg.inv(_RGB_TO_LMS).T * 255)


def sliced_transport(
    photo: UInt8[np.ndarray, "h w 3"],
    example: UInt8[np.ndarray, "h2 w2 3"],
    *,
    iterations: int = ITERATIONS,
) -> UInt8[np.ndarray, "h w 3"]:
    """Moves a photograph's colours onto the example's distribution, three directions at a time.

    Each iteration turns the colours by a random rotation and replaces, along each axis, the value
    of rank r by the example's value of the same rank: optimal transport in one dimension. The
    rotations are drawn anew for each iteration and are the same for every picture, so there is
    nothing random in the result.

    Source: Pitie, Kokaram and Dahyot (2005), "N-dimensional probability density function transfer
    and its application to colour transfer"; it is the step of Rabin, Peyre, Delon and Bernot
    (2011), "Wasserstein barycenter and its application to texture mixing", with an orthonormal
    basis for the set of directions and step size 1.

    Args:
        photo: sRGB.
        example: sRGB, of any size.
        iterations: rotations, at least 0; the papers take 10 to 30.
    """
    random = np.random.default_rng(0)
    colours = photo.reshape(-1, 3).T.astype(np.float32)
    wanted = example.reshape(-1, 3).T.astype(np.float32)
    rotation = _LMS_TO_LAB
    for _ in range(iterations):
        pairs = zip(rotation @ colours, rotation @ wanted, strict=True)
        colours = rotation.T @ np.stack([_match(*pair) for pair in pairs])
        rotation = np.linalg.qr(random.standard_normal((3, 3)))[0].astype(np.float32)
    return _bytes(colours.T.reshape(photo.shape))


def _match(values: Float[np.ndarray, "n"], wanted: Float[np.ndarray, "m"]) -> np.ndarray:
    """The wanted values in the order of `values`: equal ranks, or equal quantiles where n != m."""
    ordered = np.sort(wanted)
    if len(values) != len(wanted):
        quantiles = (np.arange(len(values)) + 0.5) / len(values)
        ordered = np.interp(quantiles, (np.arange(len(wanted)) + 0.5) / len(wanted), ordered)
    matched = np.empty_like(values)
    matched[np.argsort(values)] = ordered
    return matched


def _bytes(image: Float[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    return np.rint(np.clip(image, 0, 255)).astype(np.uint8)
