"""Enlarged maps are Pillow's, whichever rows are asked for."""

import numpy as np
import pytest
from PIL import Image

from retrojax.inference.enlarge import enlarged_rows, enlarging_axis


@pytest.mark.parametrize(
    ("size", "enlarged"),
    [((12, 17), (12, 17)), ((12, 17), (31, 40)), ((5, 150), (9, 401)), ((1, 2), (7, 9))],
)
def test_rows_are_those_of_pillow(size, enlarged):
    maps = np.random.default_rng(0).normal(size=(2, *size)).astype(np.float32)
    down, across = (enlarging_axis(n, m) for n, m in zip(size, enlarged, strict=True))
    found = np.empty((2, *enlarged), np.float32)
    for first in range(0, enlarged[0], 4):
        rows = slice(first, min(first + 4, enlarged[0]))
        enlarged_rows(maps, down, across, rows, found[:, rows])
    for one, mine in zip(maps, found, strict=True):
        pillow = Image.fromarray(one).resize(enlarged[::-1], Image.Resampling.LANCZOS)
        np.testing.assert_allclose(mine, np.asarray(pillow), atol=2e-6)
