"""How far two photographs are apart in colour and in structure.

Both functions take sRGB-encoded float images in [0, 1], height by width by 3, and return one float.
They are meant for reporting: they run on the host and have no gradient.
"""

from typing import Any

import numpy as np
from jaxtyping import Float

# Rec.709 weights, applied to encoded values as video does (luma, not luminance).
LUMA_WEIGHTS = (0.2126, 0.7152, 0.0722)

# Wang et al. (2004): an 11 x 11 Gaussian window of standard deviation 1.5 pixels.
SSIM_SIGMA = 1.5
SSIM_WINDOW = 11


def colour_difference(
    output: Float[np.ndarray, "h w 3"], target: Float[np.ndarray, "h w 3"], *, sigma: float = 3.0
) -> float:
    """Mean CIEDE2000 difference of two images after both are blurred.

    The blur takes fine grain out, so that two renderings of the same look with different grain
    come out close to 0. It acts on encoded values and reflects at the borders.

    Args:
        output: sRGB-encoded image in [0, 1].
        target: sRGB-encoded image in [0, 1], of the same size.
        sigma: Standard deviation of the Gaussian blur in pixels; 0 compares pixel by pixel.

    Returns:
        The mean difference; about 1 is just noticeable, 0 is equal.

    Raises:
        ValueError: If the sizes differ or a value lies outside [0, 1].

    Source: Sharma, Wu and Dalal (2005), "The CIEDE2000 color-difference formula"; D65, 2 degrees.
    """
    from scipy.ndimage import gaussian_filter
    from skimage.color import deltaE_ciede2000, rgb2lab

    check_pair(output, target)
    blurred = (
        gaussian_filter(image.astype(np.float64), (sigma, sigma, 0), mode="reflect")
        for image in (output, target)
    )
    # Rounding in the filter may leave [0, 1] by an ulp, where the transfer curve has no value.
    first, second = (rgb2lab(np.clip(image, 0.0, 1.0)) for image in blurred)
    return float(np.mean(deltaE_ciede2000(first, second)))


def luma_similarity(
    output: Float[np.ndarray, "h w 3"], target: Float[np.ndarray, "h w 3"]
) -> float:
    """Structural similarity (SSIM) of the Rec.709 luma of two images.

    Args:
        output: sRGB-encoded image in [0, 1], at least 11 x 11 pixels.
        target: sRGB-encoded image in [0, 1], of the same size.

    Returns:
        The mean SSIM in [-1, 1]; 1 for equal luma.

    Raises:
        ValueError: If the sizes differ, an image is smaller than the window, or a value lies
            outside [0, 1].

    Source: Wang et al. (2004), "Image quality assessment: from error visibility to structural
    similarity": Gaussian weights of standard deviation 1.5, population covariances, range 1.
    """
    from skimage.metrics import structural_similarity

    check_pair(output, target)
    if min(output.shape[:2]) < SSIM_WINDOW:
        raise ValueError(
            f"SSIM needs at least {SSIM_WINDOW} x {SSIM_WINDOW} pixels, got "
            f"{output.shape[0]} x {output.shape[1]}; measure on a larger crop"
        )
    first, second = (
        image.astype(np.float64) @ np.array(LUMA_WEIGHTS) for image in (output, target)
    )
    similarity: Any = structural_similarity(
        first,
        second,
        data_range=1.0,
        gaussian_weights=True,
        sigma=SSIM_SIGMA,
        use_sample_covariance=False,
    )
    return float(similarity)


def check_pair(output: Float[np.ndarray, "..."], target: Float[np.ndarray, "..."]) -> None:
    """Checks two images that are to be compared.

    Raises:
        ValueError: unless both have one size and lie in [0, 1].
    """
    if output.shape != target.shape:
        raise ValueError(
            f"the two images must have one size, got {output.shape} and {target.shape}; "
            "resize or crop one of them first"
        )
    for name, image in (("output", output), ("target", target)):
        low, high = float(image.min()), float(image.max())
        # Written so that NaN fails too; float32 arithmetic may overshoot by an ulp or two.
        if not (low >= -1e-5 and high <= 1.0 + 1e-5):
            raise ValueError(
                f"the {name} must lie in [0, 1], got [{low:.4g}, {high:.4g}]; "
                "divide uint8 by 255, or map [-1, 1] by (x + 1) / 2"
            )
