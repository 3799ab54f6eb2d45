"""Enlarged maps are Pillow's, whichever rows are asked for."""

import numpy as np
import pytest
from PIL import Image

from retrojax.inference.enlarge import enlarged_rows, enlarging_matrix


@pytest.mark.parametrize(
    ("size", "enlarged"),
    [((12, 17), (12, 17)), ((12, 17), (31, 40)), ((5, 150), (9, 401)), ((1, 2), (7, 9))],
)
def test_rows_are_those_of_pillow(size, enlarged):
    maps = np.random.default_rng(0).normal(size=(*size, 2)).astype(np.float32)
    down, across = (enlarging_matrix(n, m) for n, m in zip(size, enlarged, strict=True))
    parts = [slice(first, min(first + 4, enlarged[0])) for first in range(0, enlarged[0], 4)]
    found = np.concatenate([enlarged_rows(maps, down, across, rows) for rows in parts])
    assert found.dtype == np.float32 and found.shape == (*enlarged, 2)
    for channel in range(2):
        one = Image.fromarray(np.ascontiguousarray(maps[..., channel]))
        pillow = np.asarray(one.resize(enlarged[::-1], Image.Resampling.LANCZOS))
        np.testing.assert_allclose(found[..., channel], pillow, atol=2e-6)
