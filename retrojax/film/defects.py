"""Effects that have a place in the frame: vignette, light leak, dust and scratches.

The image is taken to be the whole frame. Vignette and leak work in linear light, dust and
scratches lie on top of the finished, encoded picture. Numbers of things (specks, fibres,
scratches) are differentiable: the last one of a fractional count is drawn in part.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from retrojax.film.colour import as_rgb
from retrojax.film.look import Dust, LightLeak, Scalar, Scratches, Vignette

MOST_SPECKS = 64
MOST_FIBRES = 4
MOST_SCRATCHES = 8
BEADS = 64  # A fibre is a string of this many blots.


def vignette(linear: Float[Array, "h w 3"], lens: Vignette) -> Float[Array, "h w 3"]:
    """Darkens by the cos^4 law: gain (1 + strength r^2)^-2, r = 0 in the centre, 1 in a corner."""
    height, width, _ = linear.shape
    y, x = _centred(height), _centred(width)
    half_diagonal2 = (height / 2) ** 2 + (width / 2) ** 2
    r2 = (y[:, None] ** 2 + x[None, :] ** 2) / half_diagonal2
    return linear * ((1 + lens.strength * r2) ** -2)[..., None]


def leak(
    key: Key[Array, ""], linear: Float[Array, "h w 3"], light: LightLeak
) -> Float[Array, "h w 3"]:
    """Adds light that fell through one of the four edges: hot at the edge, red further in."""
    height, width, _ = linear.shape
    edge_key, place_key = jax.random.split(key)
    long_side = max(height, width)
    y = _centred(height)[:, None] / long_side
    x = _centred(width)[None, :] / long_side
    inward = jnp.stack(
        [
            x + width / 2 / long_side + 0 * y,
            width / 2 / long_side - x + 0 * y,
            y + height / 2 / long_side + 0 * x,
            height / 2 / long_side - y + 0 * x,
        ]
    )
    along = jnp.stack([y + 0 * x, y + 0 * x, x + 0 * y, x + 0 * y])
    edge = jax.random.randint(edge_key, (), 0, 4)
    depth, place = inward[edge], along[edge]
    centre, width_along = jax.random.uniform(
        place_key, (2,), minval=jnp.asarray([-0.3, 0.15]), maxval=jnp.asarray([0.3, 0.4])
    )
    # The front is slanted and softly bounded, like light past the felt of a cassette.
    window = jnp.exp(-0.5 * ((place - centre) / width_along) ** 2)
    reach = jnp.asarray(light.reach, linear.dtype) * jnp.asarray([1.0, 0.75, 0.6], linear.dtype)
    falloff = jnp.exp(-0.5 * (depth[..., None] / reach.reshape(1, 1, 3)) ** 2)
    return linear + light.strength * as_rgb(light.colour, linear) * window[..., None] * falloff


def add_dust(
    key: Key[Array, ""], encoded: Float[Array, "h w 3"], dust: Dust, *, pixels_per_mm: float
) -> Float[Array, "h w 3"]:
    """Covers the picture with specks and curved fibres of one shade."""
    height, width, _ = encoded.shape
    keys = jax.random.split(key, 5)
    frame = jnp.asarray([height, width]) / pixels_per_mm
    size = jnp.asarray(dust.size_um, encoded.dtype) / 1000

    centre = jax.random.uniform(keys[0], (MOST_SPECKS, 2)) * frame.reshape(1, 2)
    # Log-normal sizes: many small specks and a few large ones.
    radius = size * jnp.exp(0.5 * jax.random.normal(keys[1], (MOST_SPECKS, 2)))
    specks = _blots(centre, radius, _first(MOST_SPECKS, dust.specks), encoded, pixels_per_mm)

    start = jax.random.uniform(keys[2], (MOST_FIBRES, 1, 2)) * frame.reshape(1, 1, 2)
    heading, bend, length = jax.random.uniform(
        keys[3],
        (3, MOST_FIBRES, 1),
        minval=jnp.asarray([0.0, -2.0, 1.0]).reshape(3, 1, 1),
        maxval=jnp.asarray([6.3, 2.0, 2.5]).reshape(3, 1, 1),
    )
    t = jnp.linspace(0.0, 1.0, BEADS)[None]
    angle = heading + bend * t + 0.6 * jnp.sin(9 * t + heading)
    step = jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=-1) * (length / BEADS)[..., None]
    beads = (start + jnp.cumsum(step, axis=1)).reshape(-1, 2)
    weight = jnp.repeat(_first(MOST_FIBRES, dust.fibres), BEADS)
    thickness = jnp.full(beads.shape, 0.2) * size
    fibres = _blots(beads, thickness, weight, encoded, pixels_per_mm)

    cover = dust.opacity * jnp.clip(specks + fibres, 0.0, 1.0)[..., None]
    return encoded + cover * (as_rgb(dust.shade, encoded) - encoded)


def add_scratches(
    key: Key[Array, ""],
    encoded: Float[Array, "h w 3"],
    scratches: Scratches,
    *,
    pixels_per_mm: float,
) -> Float[Array, "h w 3"]:
    """Draws wavering, broken lines along the long side of the frame."""
    height, width, _ = encoded.shape
    upright = height > width
    across, along = (width, height) if upright else (height, width)
    keys = jax.random.split(key, 3)
    place = jax.random.uniform(keys[0], (MOST_SCRATCHES, 1)) * across / pixels_per_mm
    phase, waves, gap = jax.random.uniform(keys[1], (3, MOST_SCRATCHES, 1)) * 6.3
    s = jnp.arange(along, dtype=encoded.dtype)[None] / along
    path = place + 0.08 * jnp.sin(phase + waves * s)  # [scratch, along], in mm
    # Pressure comes and goes: a scratch starts, fades and starts again.
    pressure = jax.nn.sigmoid(6 * jnp.sin(gap + (2 + waves) * s + jnp.sin(5 * s + phase)))
    width_mm = jnp.asarray(scratches.width_um, encoded.dtype) / 1000
    sigma, gain = _visible(width_mm, pixels_per_mm)
    y = (jnp.arange(across, dtype=encoded.dtype) / pixels_per_mm)[None, :, None]
    profile = jnp.exp(-0.5 * ((y - path[:, None]) / sigma) ** 2) * gain
    weight = _first(MOST_SCRATCHES, scratches.count)[:, None, None]
    cover = jnp.clip(jnp.sum(weight * profile * pressure[:, None], axis=0), 0.0, 1.0)
    cover = scratches.opacity * (cover.T if upright else cover)[..., None]
    return encoded + cover * (as_rgb(scratches.shade, encoded) - encoded)


def _centred(size: int) -> Float[Array, " n"]:
    """Pixel centres as distances from the middle, in pixels."""
    return jnp.arange(size) - (size - 1) / 2


def _first(most: int, count: Scalar) -> Float[Array, " n"]:
    """Weights that keep the first `count` of `most` things, the last of them in part."""
    return jnp.clip(count - jnp.arange(most), 0.0, 1.0)


def _visible(
    sigma: Float[Array, "..."], pixels_per_mm: float
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Widens a profile to at least half a pixel and weakens it by as much."""
    wide = jnp.sqrt(sigma**2 + (0.5 / pixels_per_mm) ** 2)
    return wide, sigma / wide


def _blots(
    centre: Float[Array, "n 2"],
    radius: Float[Array, "n 2"],
    weight: Float[Array, " n"],
    like: Float[Array, "h w c"],
    pixels_per_mm: float,
) -> Float[Array, "h w"]:
    """Sum of elliptic blots, in millimetres: a matrix product, since a Gaussian is separable."""
    height, width, _ = like.shape
    sigma, gain = _visible(radius / 1.5, pixels_per_mm)
    y = jnp.arange(height, dtype=like.dtype)[:, None] / pixels_per_mm
    x = jnp.arange(width, dtype=like.dtype)[None, :] / pixels_per_mm
    rows = jnp.exp(-0.5 * ((y - centre[None, :, 0]) / sigma[None, :, 0]) ** 2)
    columns = jnp.exp(-0.5 * ((x - centre[:, 1:]) / sigma[:, 1:]) ** 2)
    height_of_blot = weight * gain[:, 0] * gain[:, 1]
    # Squaring up the peak gives a speck a flat top and a crisp rim.
    return jnp.clip(1.6 * (rows * height_of_blot[None]) @ columns, 0.0, 1.0)
