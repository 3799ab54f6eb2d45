"""Stages that map each pixel's colour, with no reach in space.

`expose` and `balance` work in linear light, all others on encoded values. Inputs may lie outside
[0, 1] (an earlier stage may have over-exposed); every function is smooth there, finite, and clips
nothing but the negative values that a power cannot take.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from retrojax.film.colour import LUMINANCE, as_rgb, luma, power
from retrojax.film.look import Exposure, Fade, Matrix, SplitTone, Tone, WhiteBalance

# Encoded value of the deepest black a film or a print holds: density 3 under a display gamma of
# 2.2. A scanner's black point has set it to 0; stages that work in density undo that.
GAMMA = 2.2
DEEPEST = 10 ** (-3.0 / GAMMA)


def expose(linear: Float[Array, "h w 3"], exposure: Exposure) -> Float[Array, "h w 3"]:
    """Multiplies linear light by 2^stops."""
    return linear * jnp.exp2(jnp.asarray(exposure.stops, linear.dtype))


def balance(linear: Float[Array, "h w 3"], white: WhiteBalance) -> Float[Array, "h w 3"]:
    """Multiplies the channels of linear light by the gains of a warmth and a tint, in stops."""
    warmth, tint = (jnp.asarray(x, linear.dtype) for x in (white.warmth, white.tint))
    stops = jnp.stack([warmth / 2 + tint / 4, -tint / 2, -warmth / 2 + tint / 4])
    return linear * jnp.exp2(stops).reshape(1, 1, 3)


def mix(encoded: Float[Array, "h w 3"], matrix: Matrix) -> Float[Array, "h w 3"]:
    """Applies a colour matrix."""
    rows = matrix.red, matrix.green, matrix.blue
    # Summed as in `luma`: what red, green and blue give to all three channels.
    red, green, blue = (
        encoded[..., c, None] * as_rgb(tuple(row[c] for row in rows), encoded) for c in range(3)
    )
    return red + green + blue


def tone_curve(encoded: Float[Array, "h w 3"], tone: Tone) -> Float[Array, "h w 3"]:
    """Applies each channel's characteristic curve.

    With contrast n and pivot g the curve is s(v) = v^n (1 + g^n) / (v^n + g^n), which is logistic
    in log v as the curve of Hurter and Driffield is in log exposure. s(0) = 0 and s(1) = 1; beyond
    1 it runs on into the shoulder, up to 1 + g^n. The result is black + (white - black) s(v).
    """
    n, g = as_rgb(tone.contrast, encoded), as_rgb(tone.pivot, encoded)
    black, white = as_rgb(tone.black, encoded), as_rgb(tone.white, encoded)
    # At the floor the slope of v^n is finite for every n; the value there is invisible.
    powered = power(jnp.maximum(encoded, 1e-4), n)
    curve = powered * (1 + g**n) / (powered + g**n)
    return black + (white - black) * curve


def split_tone(encoded: Float[Array, "h w 3"], split: SplitTone) -> Float[Array, "h w 3"]:
    """Adds one tint to the shadows and another to the highlights and leaves luma as it was."""
    weights = jnp.asarray(LUMINANCE, encoded.dtype).reshape(1, 1, 3)
    shadows, highlights = as_rgb(split.shadows, encoded), as_rgb(split.highlights, encoded)
    shadows = shadows - jnp.sum(shadows * weights)
    highlights = highlights - jnp.sum(highlights * weights)
    y = jnp.clip(luma(encoded), 0.0, 1.0)[..., None]
    return encoded + shadows * (1 - y) ** 2 + highlights * y**2


def to_film(encoded: Float[Array, "h w 3"]) -> Float[Array, "h w 3"]:
    """Encoded values as the film holds them, in [DEEPEST, 1]: density is -GAMMA log10 of this."""
    return DEEPEST + (1 - DEEPEST) * jnp.clip(encoded, 0.0, 1.0)


def from_film(film: Float[Array, "h w 3"]) -> Float[Array, "h w 3"]:
    """Sets the deepest black back to 0: the inverse of `to_film`."""
    return (film - DEEPEST) / (1 - DEEPEST)


def fade(encoded: Float[Array, "h w 3"], faded: Fade) -> Float[Array, "h w 3"]:
    """Takes away a fraction of each channel's density and lays the image on toned paper.

    Density D becomes (1 - loss) D: contrast falls and blacks lift, most where the loss is largest
    (cyan dye, which absorbs red, is usually the first to go).
    """
    kept = 1 - as_rgb(faded.loss, encoded)
    return from_film(power(to_film(encoded), kept)) * as_rgb(faded.paper, encoded)
