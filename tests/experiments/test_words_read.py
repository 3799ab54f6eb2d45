"""Words that a translation of printed words makes are read beside their sources."""

import numpy as np

from experiments.words_read import words_read
from retrojax.data import open_data
from retrojax.data.words import SIDE, WORDS, held_out_pair


def test_true_outputs_are_all_read_and_sources_hardly():
    count = 2 * len(WORDS)
    targets = np.stack([held_out_pair(0, index).photo.target for index in range(count)])
    shown = iter(np.split(targets / np.float32(127.5) - 1, [112]))
    figures = words_read(lambda source: next(shown)[: len(source)], count)
    assert figures["trained"]["word_accuracy"] == 1.0
    assert figures["the source"]["word_accuracy"] < 0.2


def test_words_are_opened_as_pairs():
    data = open_data("words", photo_size=64, window=SIDE)
    assert data.validation[0].target is not None
    assert len(data.validation) == 10 * len(WORDS)
