"""How many of the words that a translation of printed words makes are the right ones."""

from collections.abc import Callable

import jax
import numpy as np

from retrojax.data.words import held_out_pair, target_words
from retrojax.metrics.words import word_accuracy

SOURCE, TRAINED = "the source", "trained"
TOGETHER = 112


def words_read(draw: Callable[[np.ndarray], jax.Array], count: int) -> dict[str, dict[str, float]]:
    """Word accuracy on printings that no training pair shows.

    An output is read as the Russian word whose clean print is nearest. The
    source is read the same way: what is gained without translating.

    Args:
        draw: uint8 sources [n, h, w, 3] -> images in [-1, 1].
        count: how many printings are read.
    """
    pairs = [held_out_pair(0, index) for index in range(count)]
    source = np.stack([pair.photo.source for pair in pairs])
    output = np.concatenate(
        [np.asarray(draw(source[i : i + TOGETHER])) for i in range(0, count, TOGETHER)]
    )
    output = np.rint(np.clip(output / 2 + 0.5, 0, 1) * 255).astype(np.uint8)
    words = [pair.word for pair in pairs]
    return {
        name: {"word_accuracy": word_accuracy(images, words, target_words())}
        for name, images in ((SOURCE, source), (TRAINED, output))
    }
