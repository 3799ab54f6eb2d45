"""`LookGenerator`: a generator made for looks, split into what it can know and what it must invent.

* The colour part is a learned 3-D LUT: it maps each pixel's colour by itself (no spatial reach:
  no seams, exact at any size), and learns in a few hundred steps what a network of 1x1 convolutions
  still misses after thousands.
* The glow part adds what light does around a pixel (halation): learned lights, spread by Gaussians
  of three widths. It is zero where a picture is flat, so colours are the colour part's alone.
* The texture part adds grain: seeded noise through radial convolutions, scaled by the pixel's
  colour. It is linear in the noise, so its mean is zero and the picture without noise, `clean`, is
  the mean of the pictures over all seeds (up to clipping).

Each part has its own teacher, unless `joint`. `image` passes gradients to the texture alone, so
that an adversary that judges it makes grain and cannot disturb the colours; colour and glow learn
from losses on `clean`, which has no noise for them to average away.

Radial kernels weigh a neighbour by its distance alone, as film does: the grain has no direction.
"""

from collections.abc import Callable
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from jax import lax
from jaxtyping import Array, Float

from retrojax.film.lut import apply_lut

# Initial weight of a neighbour in a `RadialConv`, relative to the centre's.
NEIGHBOUR = 0.1
# Pixels of a side that are blurred in one product.
BLOCK = 64


class LookOutput(NamedTuple):
    """What a `LookGenerator` returns.

    Attributes:
        image: the look with grain, in [-1, 1].
        clean: the look without grain, in [-1, 1]; not clipped while training, so that colours
            which have gone too far are still pulled back.
    """

    image: Float[Array, "b h w 3"]
    clean: Float[Array, "b h w 3"]


def radial_basis(size: int) -> np.ndarray:
    """One-hot masks of the distances that occur in a `size` x `size` kernel within its circle.

    Returns:
        [size, size, n] float32; entry (i, j, k) is 1 if the tap lies at the k-th distance from the
        centre. Taps outside the inscribed circle belong to no mask.
    """
    offsets = np.arange(size) - size // 2
    squared = offsets[:, None] ** 2 + offsets[None, :] ** 2
    distances = np.unique(squared[squared <= (size / 2) ** 2])
    return (squared[..., None] == distances).astype(np.float32)


class RadialConv(nn.Module):
    """Convolution whose kernel depends on the distance from its centre alone; no bias.

    The borders are wrapped, which keeps independent noise as strong there as inside. It starts
    close to a 1x1 convolution: noise nearly as white as it came, until something asks for coarser
    grain. Started as white as it came, the low octaves of the grain stayed 2 to 3 dB short after
    800 steps; with all weights alike they were too strong.

    Attributes:
        features: output channels.
        size: odd kernel size in pixels.
        dtype: computation type; the parameters are float32.
    """

    features: int
    size: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w f"]:
        """Applies the convolution; height and width stay.

        One product with sums over rings: a fifth of the kernel's products, and of the time on CPU.
        """
        rings = _rings(x, radial_basis(self.size))
        shape = (len(rings), x.shape[-1], self.features)
        weights = self.param("kernel", _central, shape).reshape(-1, self.features)
        found, weights = promote_dtype(jnp.concatenate(rings, -1), weights, dtype=self.dtype)
        return _each_pixel(lambda pixels: pixels @ weights, found)


def _rings(x: Float[Array, "b h w c"], basis: np.ndarray) -> list[Float[Array, "b h w c"]]:
    """For each distance of a basis the sum of the pixels that far away; the borders are wrapped."""
    height, width = x.shape[1:3]
    edge = (basis.shape[0] // 2, basis.shape[0] // 2)
    padded = jnp.pad(x, ((0, 0), edge, edge, (0, 0)), mode="wrap")
    return [
        reduce(jnp.add, (padded[:, u : u + height, v : v + width] for u, v in np.argwhere(mask)))
        for mask in np.moveaxis(basis, -1, 0)
    ]


def _each_pixel(
    layer: Callable[[Float[Array, "n c"]], Float[Array, "n f"]], maps: Float[Array, "b h w c"]
) -> Float[Array, "b h w f"]:
    """A layer without reach on maps, whose pixels are handed to it as rows of one matrix.

    The gradient of its kernel then is one product of two matrices as they lie; of maps with three
    axes XLA turns both around on CPU, which takes five times as long as the product.
    """
    return layer(maps.reshape(-1, maps.shape[-1])).reshape(*maps.shape[:-1], -1)


def _central(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """Initial [distance, in, out] weights: a mix of the channels, a tenth as strong farther out."""
    weights = jax.random.normal(key, shape, dtype) / shape[1] ** 0.5
    return weights * jnp.where(jnp.arange(shape[0]) == 0, 1.0, NEIGHBOUR)[:, None, None]


def spread(x: Float[Array, "b h w c"], *, reach: int) -> Float[Array, "b h w 3*c"]:
    """Blurs maps by three Gaussians, of deviation reach / 8, / 4 and / 2 pixels, cut at `reach`.

    Each is two products with a band matrix: exact derivatives of any order at the speed of a
    matrix product, where a wide convolution of few channels is slow, on CPU above all. Long sides
    are cut into blocks, which see what is within reach. Borders are continued by their last pixel.

    Args:
        x: maps of any height and width.
        reach: pixels beyond which nothing is spread, at least 1.
    """
    height, width = x.shape[1:3]
    rows, columns = (
        jnp.asarray(np.stack([_band(n, reach / k, reach) for k in (8, 4, 2)]), x.dtype)
        for n in (height, width)
    )
    seen = _windows(x, 1, reach)
    tall = jnp.einsum("ksi,bniwc->kbnswc", rows, seen)
    tall = tall.reshape(3, x.shape[0], -1, width, x.shape[3])[:, :, :height]
    seen = _windows(tall, 3, reach)
    both = jnp.einsum("ksj,kbhnjc->bhnskc", columns, seen)
    return both.reshape(x.shape[0], height, -1, 3 * x.shape[3])[:, :, :width]


def _windows(x: Array, axis: int, reach: int) -> Array:
    """[..., blocks, what a block sees, ...] in place of an axis; beyond borders, their pixels."""
    length = x.shape[axis]
    if length <= BLOCK:
        return jnp.expand_dims(x, axis)
    blocks = -(-length // BLOCK)
    edges = [(0, 0)] * x.ndim
    edges[axis] = (reach, blocks * BLOCK - length + reach)
    padded = jnp.pad(x, edges, mode="edge")
    seen = [
        lax.slice_in_dim(padded, n * BLOCK, (n + 1) * BLOCK + 2 * reach, axis=axis)
        for n in range(blocks)
    ]
    return jnp.stack(seen, axis)


def _band(length: int, sigma: float, reach: int) -> np.ndarray:
    """float32 weights, for each blurred pixel of a block, of the pixels that the block sees.

    [BLOCK, BLOCK + 2 reach]; for a side of one block [length, length]: the pixels at the border
    stand for those beyond.
    """
    offsets = np.arange(-reach, reach + 1)
    taps = np.exp(-0.5 * (offsets / sigma) ** 2)
    rows = np.arange(min(length, BLOCK))
    band = np.zeros((len(rows), len(rows) + 2 * reach), np.float32)
    for offset, tap in zip(offsets, taps / taps.sum(), strict=True):
        band[rows, rows + reach + offset] = tap
    if length > BLOCK:
        return band
    folded = band[:, reach:-reach]
    folded[:, 0] += band[:, :reach].sum(1)
    folded[:, -1] += band[:, -reach:].sum(1)
    return folded


class ColourLUT(nn.Module):
    """Trilinear 3-D LUT on [-1, 1]^3 as a differentiable layer; starts as the identity.

    The table is the sum of a fine one and of a coarse one (3 nodes per axis) that is interpolated
    at the fine one's nodes: colours that are rare in training follow their neighbours through the
    coarse nodes.

    Attributes:
        size: nodes per axis of the fine table, at least 4.
        gain: the parameters are the tables' differences from the identity divided by this, so that
            Adam moves a table `gain` times faster than a convolution (the equalised learning
            rate of Karras et al. 2018, arXiv:1710.10196, section 4.1).
    """

    size: int
    gain: float

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"]) -> Float[Array, "b h w 3"]:
        """Maps colours; those outside [-1, 1] move as the nearest one inside does.

        Raises:
            ValueError: if the fine table is no finer than the coarse one.
        """
        if self.size <= 3:
            raise ValueError(f"the fine table needs more than 3 nodes per axis, not {self.size}")
        coarse, fine = (
            self.param(name, nn.initializers.zeros, (n, n, n, 3))
            for name, n in (("coarse", 3), ("fine", self.size))
        )
        hats = _hats(jnp.linspace(-1.0, 1.0, self.size), 3)
        return x + self.gain * _look_up(fine + _interpolated(coarse, hats, hats, hats), x)


@jax.custom_vjp
def _look_up(table: Array, x: Array) -> Array:
    """The table at colours in [-1, 1], trilinearly, in the form that is fastest on the platform.

    On CPU by gathers (16 images of 64x64, 9 nodes: 2 ms, and 5 ms for the table's gradient, where
    products take 28 and 35). Elsewhere by products with hat functions: the gradient of the table
    is then a matrix product, where that of a gather is a scatter.
    """
    return lax.platform_dependent(table, x, cpu=_by_gathers, default=_by_products)


def _look_up_forward(table: Array, x: Array) -> tuple[Array, tuple[Array, Array]]:
    return _look_up(table, x), (table, x)


def _look_up_backward(saved: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    # Apart from the forward pass, so that a form's own residuals are not kept for the other.
    return lax.platform_dependent(*saved, g, cpu=_back_by_gathers, default=_back_by_products)


_look_up.defvjp(_look_up_forward, _look_up_backward)


def _by_gathers(table: Array, x: Array) -> Array:
    return apply_lut(table, (x + 1.0) / 2.0)


def _back_by_gathers(table: Array, x: Array, g: Array) -> tuple[Array, Array]:
    """Gradients of the table and of the colours; the table's shares of all corners in one scatter.

    Eight scatters, as JAX derives them, take twice the time; a sharded batch, eight exchanges.
    """
    n = table.shape[0]
    place = (jnp.clip(x, -1.0, 1.0) + 1.0) / 2.0 * (n - 1)
    low = jnp.clip(jnp.floor(place), 0, n - 2).astype(jnp.int32)
    weights = 1.0 - (place - low), place - low
    nodes, shares = [], []
    for corner in np.ndindex(2, 2, 2):
        red, green, blue = (low[..., axis] + step for axis, step in enumerate(corner))
        nodes.append((red * n + green) * n + blue)
        share = [weights[step][..., axis, None] for axis, step in enumerate(corner)]
        shares.append(share[0] * share[1] * share[2] * g)
    summed = jnp.zeros((n**3, 3), g.dtype).at[jnp.stack(nodes)].add(jnp.stack(shares))
    (colours,) = jax.vjp(partial(_by_gathers, table), x)[1](g)
    return summed.reshape(table.shape), colours


def _back_by_products(table: Array, x: Array, g: Array) -> tuple[Array, Array]:
    return jax.vjp(_by_products, table, x)[1](g)


def _by_products(table: Array, x: Array) -> Array:
    n = table.shape[0]
    red, green, blue = jnp.moveaxis(_hats(jnp.clip(x, -1.0, 1.0), n), -2, 0)
    corners = (red[..., :, None] * green[..., None, :]).reshape(*x.shape[:-1], n * n)
    columns = (corners @ table.reshape(n * n, n * 3)).reshape(*x.shape[:-1], n, 3)
    return (columns * blue[..., None]).sum(-2)


def _hats(x: Array, n: int) -> Array:
    """[*x, n]: what each of n nodes, evenly from -1 to 1, weighs at places in [-1, 1]."""
    nodes = jnp.linspace(-1.0, 1.0, n).reshape(*(1,) * x.ndim, n)
    return nn.relu(1.0 - jnp.abs(x[..., None] - nodes) * (n - 1) / 2)


def _interpolated(table: Array, red: Array, green: Array, blue: Array) -> Array:
    """The table at all crossings of three rows of places, each given by its nodes' weights."""
    precise = lax.Precision.HIGHEST
    return jnp.einsum("ri,gj,bk,ijkc->rgbc", red, green, blue, table, precision=precise)


class LookGenerator(nn.Module):
    """Translation generator for looks; see the module's docstring.

    Attributes:
        lut_size: nodes per axis of the colour part, at least 4.
        lut_gain: how many times faster the colour part learns than the rest, see `ColourLUT`.
        glow_features: lights that the glow part spreads; 0 = no glow.
        glow_reach: how far it spreads them, in pixels.
        features: width of the layer that decides how strong the grain is at a colour.
        texture_features: channels of filtered noise.
        texture_size: odd reach of a grain in pixels.
        noise_channels: channels of the noise input; 0 = no texture.
        joint: whether `image` passes gradients to colour and glow too, and stays unclipped while
            training: for tasks without a target, whose adversary has to teach the colours.
        dtype: computation type of the convolutions; parameters, colours and outputs are float32.
    """

    lut_size: int = 9
    lut_gain: float = 10.0
    glow_features: int = 4
    glow_reach: int = 8
    features: int = 16
    texture_features: int = 12
    texture_size: int = 5
    noise_channels: int = 3
    joint: bool = False
    dtype: Any = None

    @property
    def reach(self) -> int:
        """How far, in pixels, a pixel of the source can influence the output."""
        return max(self.glow_reach if self.glow_features else 0, self.texture_size // 2)

    def setup(self) -> None:
        """Declares the parts."""
        self.colour = ColourLUT(self.lut_size, self.lut_gain)
        if self.glow_features:
            self.glow_in = nn.Dense(self.glow_features, dtype=self.dtype)
            self.glow_mix = nn.Dense(4 * self.glow_features, use_bias=False, dtype=self.dtype)
            self.glow_out = nn.Dense(3, use_bias=False, kernel_init=nn.initializers.zeros)
        if self.noise_channels:
            self.texture_filter = RadialConv(self.texture_features, self.texture_size, self.dtype)
            self.texture_hidden = nn.Dense(self.features, dtype=self.dtype)
            self.texture_scale = nn.Dense(self.texture_features)
            self.texture_out = nn.Dense(
                3, use_bias=False, kernel_init=nn.initializers.normal(0.003)
            )

    def glow(self, source: Float[Array, "b h w 3"]) -> Float[Array, "b h w 3"]:
        """What the light of the neighbours adds to a pixel; 0 where all neighbours are equal."""
        lights = nn.relu(_each_pixel(self.glow_in, source))
        received = spread(lights, reach=self.glow_reach) - jnp.tile(lights, 3)

        def seen(received: Array) -> Array:
            return self.glow_out(nn.relu(self.glow_mix(received))).astype(jnp.float32)

        return _each_pixel(seen, received)

    def texture(
        self, clean: Float[Array, "b h w 3"], noise: Float[Array, "b h w n"]
    ) -> Float[Array, "b h w 3"]:
        """Grain for a developed picture, linear in the noise."""

        def scale(clean: Array) -> Array:
            return self.texture_scale(nn.relu(self.texture_hidden(clean)))

        grain = self.texture_filter(noise) * _each_pixel(scale, clean)
        return _each_pixel(self.texture_out, grain).astype(jnp.float32)

    def __call__(
        self,
        source: Float[Array, "b h w 3"],
        noise: Float[Array, "b h w n"] | None = None,
        *,
        train: bool = False,
    ) -> LookOutput:
        """Gives photographs the look.

        Args:
            source: photographs in [-1, 1], any height and width.
            noise: standard normal noise with `noise_channels` channels; None = no grain, `image`
                is `clean`. Its borders are wrapped.
            train: whether `clean` is left unclipped.

        Returns:
            `LookOutput(image, clean)`.

        Raises:
            ValueError: if there is noise and it has another number of channels.
        """
        clean = self.colour(source)
        if self.glow_features:
            clean = clean + self.glow(source)
        clean = jnp.clip(clean, -1.0, 1.0) if not train else clean
        clipped = not (self.joint and train)
        if noise is None:
            return LookOutput(jnp.clip(clean, -1.0, 1.0) if clipped else clean, clean)
        if not self.noise_channels or noise.shape[-1] != self.noise_channels:
            raise ValueError(f"noise has {noise.shape[-1]} channels, not {self.noise_channels}")
        base = clean if self.joint else jax.lax.stop_gradient(clean)
        image = base + self.texture(jax.lax.stop_gradient(base), noise)
        return LookOutput(jnp.clip(image, -1.0, 1.0) if clipped else image, clean)
