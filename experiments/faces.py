"""Is there a face? An independent detector, which no network here was trained with."""

from functools import cache
from typing import Any, Final

import numpy as np
from jaxtyping import Float
from PIL import Image

# The detector's window is 24 pixels; a face must be larger than that and have something around it.
_SIDE: Final = 96
_EDGE: Final = 24


@cache
def _detector() -> Any:
    import skimage.data
    from skimage.feature import Cascade

    return Cascade(skimage.data.lbp_frontal_face_cascade_filename())


def has_face(image: Float[np.ndarray, "h w c"]) -> bool:
    """Whether the LBP cascade of scikit-image (frontal faces) finds a face in an image.

    Args:
        image: in [-1, 1], filled by a face or not; it is enlarged, with its border continued.
    """
    grey = np.rint(np.clip(image.mean(-1) / 2 + 0.5, 0, 1) * 255).astype(np.uint8)
    large = Image.fromarray(grey).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    padded = np.pad(np.asarray(large), _EDGE, mode="edge")
    found = _detector().detect_multi_scale(
        padded, scale_factor=1.1, step_ratio=1, min_size=(48, 48), max_size=(144, 144)
    )
    return bool(found)


def faces_found(images: Float[np.ndarray, "n h w c"]) -> float:
    """Share of images in which a face is found."""
    return sum(has_face(image) for image in images) / len(images)
