"""A trained look on one photograph of any size.

Contract: the output has the input's size; it is a pure function of (bundle, image, seed, name,
strength); memory beside input and output is bounded whatever the size; no tile border shows.

Scale: a bundle was trained on photographs of `pixels_per_mm` pixels per millimetre of a 24x36 mm
frame, and grain and halation belong to the frame, not to the pixels. A `LookGenerator` on a larger
photograph therefore computes the colour of each pixel at full size, glow and grain on a copy shrunk
to the training scale, and enlarges these two. A smaller photograph is taken as it is. The other
generators cannot be taken apart; they run at full size, in tiles.
A generator that takes one size only is given pictures of that size alone.

Noise is a function of seed, name and position alone, so grain runs on across tile borders.
"""

import os
import zlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Key, UInt8
from PIL import Image

from retrojax.inference.bundle import Bundle
from retrojax.inference.enlarge import enlarged_rows, enlarging_matrix
from retrojax.inference.geometry import geometry
from retrojax.inference.noise import noise_at
from retrojax.inference.tiles import run_tiled
from retrojax.models.look import LookGenerator

# Longest side of a tile in pixels: about 0.6 GB of activations in a ResNet of 64 features.
TILE = 768
# Pixels of one colour computation; one shape for all pictures, so it is compiled once.
_CHUNK = 1 << 17
_FRAME_MM = 36  # Long side of the frame.

Band = tuple[slice, Float[np.ndarray, "rows w 3"]]
Finished = tuple[slice, UInt8[np.ndarray, "rows w 3"]]


def stylize(
    bundle: Bundle,
    image: UInt8[np.ndarray, "h w 3"],
    *,
    seed: int = 0,
    name: str = "",
    strength: float = 1.0,
    tile: int = TILE,
) -> UInt8[np.ndarray, "h w 3"]:
    """Gives a photograph the look of a bundle.

    Args:
        bundle: the trained model.
        image: sRGB, any height and width from 1 pixel.
        seed: of the grain, 0 to 2**32 - 1.
        name: of the photograph; two names have different grain under one seed.
        strength: 0 = the input, 1 = the look, linear between in encoded values.
        tile: longest side in pixels that is given to the network at once.

    Returns:
        sRGB, same size.

    Raises:
        ValueError: if the image is empty, or seed or strength is out of range.
    """
    check_options(seed=seed, strength=strength)
    if image.size == 0:
        raise ValueError(f"image has shape {image.shape}: it needs at least one pixel")
    key = jax.random.fold_in(
        jax.random.key(seed, impl="threefry2x32"), zlib.crc32(os.fsencode(name))
    )
    result = np.empty_like(image)
    if isinstance(bundle.module, LookGenerator):
        for rows, mixed in _look_bands(bundle, image, key, tile, strength):
            result[rows] = mixed
    else:
        for rows, styled in _network_bands(bundle, image, key, tile):
            result[rows] = _mixed(np, image[rows], styled, np.float32(strength))
    return result


def check_options(*, seed: int, strength: float) -> None:
    """Checks the options of `stylize` before anything is loaded.

    Raises:
        ValueError: for a seed or a strength that is out of range.
    """
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed {seed} is out of range: take 0 to {2**32 - 1}")
    if not 0.0 <= strength <= 1.0:
        raise ValueError(f"strength {strength} is out of range: take 0 (input) to 1 (full look)")


def _network_bands(
    bundle: Bundle, image: np.ndarray, key: Key[Array, ""], tile: int
) -> Iterator[Band]:
    def run(rows: np.ndarray, columns: np.ndarray, top: int, left: int) -> np.ndarray:
        pixels = image[rows[:, None], columns]
        noise = _noise(bundle.module, key, (top, left), pixels.shape[:2])
        return np.asarray(_translate(bundle.module, bundle.variables, pixels, noise))

    multiple, reach, size = geometry(bundle.module)
    if size is not None:
        if image.shape[:2] != (size, size):
            raise ValueError(
                f"this model takes pictures of {size}x{size} pixels, not "
                f"{image.shape[1]}x{image.shape[0]}; give it what it was trained for"
            )
        whole = np.arange(size)
        return iter([(slice(0, size), run(whole, whole, 0, 0))])
    # Deep U-Nets reach farther than a tile is wide. What far pixels add there is blended away: to
    # be exact would mean to compute every pixel many times.
    reach = min(reach, tile // 8)
    return run_tiled(run, *image.shape[:2], tile=tile, reach=reach, multiple=multiple)


def _look_bands(
    bundle: Bundle, image: np.ndarray, key: Key[Array, ""], tile: int, strength: float
) -> Iterator[Finished]:
    look = bundle.module
    assert isinstance(look, LookGenerator)
    height, width = image.shape[:2]
    small = image
    scale = _FRAME_MM * bundle.pixels_per_mm / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = _shrunk(image, size)

    def run(rows: np.ndarray, columns: np.ndarray, top: int, left: int) -> np.ndarray:
        pixels = small[rows].take(columns, axis=1)
        noise = _noise(look, key, (top, left), pixels.shape[:2])
        return np.asarray(_look_effects(look, bundle.variables, pixels, noise))

    # The network's own padding is black; reflected surroundings keep its edge out of the picture.
    tiles = run_tiled(run, *small.shape[:2], tile=tile, reach=look.reach, surround=look.reach)
    effects = np.concatenate([band for _, band in tiles])
    down, across = enlarging_matrix(small.shape[0], height), enlarging_matrix(small.shape[1], width)
    # Pixels in one shape for all pictures, so that what is done with them is compiled once.
    count = max(_CHUNK, width)
    rows_at_once = count // width
    for first in range(0, height, rows_at_once):
        rows = slice(first, min(first + rows_at_once, height))
        pixels = _filled(image[rows], count)
        maps = _filled(enlarged_rows(effects, down, across, rows), count)
        colours = _look_colour(look, bundle.variables, pixels)
        mixed = np.asarray(_look_mixed(pixels, colours, maps, strength))
        shape = rows.stop - rows.start, width, 3
        yield rows, mixed[: shape[0] * width].reshape(shape)


def _filled(rows: np.ndarray, count: int) -> np.ndarray:
    """[count, channels]: the pixels of some rows, filled up with zeros."""
    pixels = rows.reshape(-1, rows.shape[2])
    missing = count - len(pixels)
    return np.pad(pixels, ((0, missing), (0, 0))) if missing else pixels


def _shrunk(image: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]) -> np.ndarray:
    """A smaller copy, (width, height); far smaller ones by whole pixels first, so faster."""
    return np.asarray(
        Image.fromarray(image).resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    )


@partial(jax.jit, static_argnames=("module",))
def _translate(
    module: nn.Module,
    variables: Any,
    pixels: UInt8[Array, "h w 3"],
    noise: Float[Array, "h w n"] | None,
) -> Float[Array, "h w 3"]:
    image = module.apply(variables, _signed(pixels)[None], _batched(noise), train=False)
    return image[0].astype(jnp.float32)


@partial(jax.jit, static_argnames=("look",))
def _look_effects(
    look: LookGenerator,
    variables: Any,
    pixels: UInt8[Array, "h w 3"],
    noise: Float[Array, "h w n"] | None,
) -> Float[Array, "h w 6"]:
    """Glow and grain, side by side in the channels."""

    def effects(look: LookGenerator, source: Array, noise: Array | None) -> Array:
        nothing = jnp.zeros_like(source)
        glow = look.glow(source) if look.glow_features else nothing
        clean = jnp.clip(look.colour(source) + glow, -1.0, 1.0)
        grain = nothing if noise is None else look.texture(clean, noise)
        return jnp.concatenate([glow, grain], axis=-1)

    return look.apply(variables, _signed(pixels)[None], _batched(noise), method=effects)[0]


@partial(jax.jit, static_argnames=("look",))
def _look_colour(
    look: LookGenerator, variables: Any, pixels: UInt8[Array, "n 3"]
) -> Float[Array, "n 3"]:
    # Linen parts that `setup` declares are met inside `apply` only.
    colours = look.apply(
        variables, _signed(pixels)[None, None], method=lambda module, x: module.colour(x)
    )
    return jnp.asarray(colours)[0, 0]


@jax.jit
def _look_mixed(
    pixels: UInt8[Array, "n 3"],
    colours: Float[Array, "n 3"],
    effects: Float[Array, "n 6"],
    strength: Float[Array, ""],
) -> UInt8[Array, "n 3"]:
    glow, grain = jnp.split(effects, 2, axis=-1)
    clean = jnp.clip(colours + glow, -1.0, 1.0)
    return _mixed(jnp, pixels, jnp.clip(clean + grain, -1.0, 1.0), strength)


def _mixed(xp: Any, source: Any, styled: Any, strength: Any) -> Any:
    """Between a photograph in 8 bits and a picture in [-1, 1], in 8 bits; `xp`: numpy or jax's."""
    source = source.astype(np.float32)
    mixed = source + strength * ((styled + 1.0) * 127.5 - source)
    return xp.clip(xp.rint(mixed), 0, 255).astype(np.uint8)


def _noise(
    module: Any, key: Key[Array, ""], place: tuple[int, int], size: tuple[int, int]
) -> Float[Array, "h w n"] | None:
    """Noise for a tile, or None if the module takes none."""
    if not module.noise_channels:
        return None
    top, left = (np.int32(start) for start in place)
    return noise_at(key, top, left, *size, module.noise_channels)


def _batched(noise: Float[Array, "h w n"] | None) -> Float[Array, "1 h w n"] | None:
    return None if noise is None else noise[None]


def _signed(pixels: UInt8[Array, "*shape"]) -> Float[Array, "*shape"]:
    return pixels.astype(jnp.float32) / 127.5 - 1.0
