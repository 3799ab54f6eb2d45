"""Whether an output shows the right word: nearest rendered word, on the host.

The vocabulary is closed, so that reading a word is choosing one of its renderings. The candidates
are the clean prints of all words, each where an output should have it: a right word at a wrong
place is not read.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8


def nearest_word(
    image: UInt8[np.ndarray, "h w 3"], candidates: UInt8[np.ndarray, "words h2 w2 3"]
) -> int:
    """Reads a picture as the candidate at the least squared distance.

    Args:
        image: sRGB, as a network's output is written to a file.
        candidates: one rendering for each word, of the image's size.

    Returns:
        The candidate's number; of several at one distance, the first.

    Raises:
        ValueError: the sizes differ, or there is no candidate.
    """
    if not len(candidates) or candidates.shape[1:] != image.shape:
        raise ValueError(
            f"candidates have shape {candidates.shape}, must be (words, "
            f"{', '.join(map(str, image.shape))}) with at least one word"
        )
    # Wide integers: uint8 would wrap around.
    difference = candidates.astype(np.int32) - image.astype(np.int32)
    return int(np.argmin(np.square(difference).sum(axis=(1, 2, 3), dtype=np.int64)))


def word_accuracy(
    images: UInt8[np.ndarray, "n h w 3"],
    words: Sequence[int],
    candidates: UInt8[np.ndarray, "words h2 w2 3"],
) -> float:
    """Share of pictures that `nearest_word` reads as the right word.

    A blank picture and a mean of all words are each read as one word, so they score what that word
    is worth: 1 / words where all words are equally frequent.

    Args:
        images: outputs, sRGB.
        words: the right word's number in the candidates, for each image.
        candidates: one rendering for each word, of the images' size.

    Returns:
        In [0, 1].

    Raises:
        ValueError: there is no image, or not one word for each, or the sizes differ.
    """
    if not len(images):
        raise ValueError("word accuracy needs at least one image, got none")
    if len(words) != len(images):
        raise ValueError(f"{len(images)} images need as many words, got {len(words)}")
    read = [nearest_word(image, candidates) for image in images]
    return float(np.mean(np.equal(read, words)))
