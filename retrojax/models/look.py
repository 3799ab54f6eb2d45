"""`LookGenerator`: a generator made for looks, split into what it can know and what it must invent.

* The colour part maps each pixel's colour by itself (no spatial reach: no seams, exact at any
  size, exportable as a 3-D LUT).
* The glow part adds what light does around a pixel (halation) through one radial convolution.
* The texture part adds grain: seeded noise through radial convolutions, scaled by the pixel's
  colour. It is linear in the noise, so its mean is zero and the picture without noise, `clean`, is
  the mean of the pictures over all seeds (up to clipping).

Radial kernels weigh a neighbour by its distance alone, as film does: the grain has no direction.
"""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

from retrojax.models.conv import conv


class LookOutput(NamedTuple):
    """What a `LookGenerator` returns.

    Attributes:
        image: the look with grain, in [-1, 1].
        clean: the look without grain, in [-1, 1].
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

    Attributes:
        features: output channels.
        size: odd kernel size in pixels.
        border: how the borders are padded, a mode of `jnp.pad`. "wrap" keeps independent noise
            exactly as strong at the border as inside; "edge" is for pictures.
        dtype: computation type; the parameters are float32.
    """

    features: int
    size: int
    border: Literal["edge", "wrap"]
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w f"]:
        """Applies the convolution; height and width stay."""
        basis = radial_basis(self.size)
        shape = (basis.shape[2], x.shape[-1], self.features)
        taps = basis.sum((0, 1, 2)) * x.shape[-1]
        weights = self.param("kernel", nn.initializers.normal(float(taps) ** -0.5), shape)
        kernel = jnp.einsum("hwk,kio->hwio", basis, weights)
        x, kernel = nn.dtypes.promote_dtype(x, kernel, dtype=self.dtype)
        edge = (self.size // 2, self.size // 2)
        x = jnp.pad(x, ((0, 0), edge, edge, (0, 0)), mode=self.border)
        return conv(x, kernel, 1, ((0, 0), (0, 0)))


class LookGenerator(nn.Module):
    """Translation generator for looks; see the module's docstring.

    Attributes:
        colour_features: width of the colour part's two hidden layers.
        glow_features: channels that the glow part spreads; 0 = no glow.
        glow_size: odd reach of the glow in pixels.
        texture_features: channels of filtered noise.
        texture_size: odd reach of a grain in pixels.
        noise_channels: channels of the noise input; 0 = no texture.
        dtype: computation type; parameters, colour sums and outputs are float32.
    """

    colour_features: int = 32
    glow_features: int = 4
    glow_size: int = 13
    texture_features: int = 12
    texture_size: int = 5
    noise_channels: int = 3
    dtype: Any = None

    @property
    def reach(self) -> int:
        """How far, in pixels, an input pixel can influence the output."""
        return max(self.glow_size, self.texture_size) // 2

    def setup(self) -> None:
        """Declares the parts."""
        hidden = lambda name: nn.Dense(self.colour_features, dtype=self.dtype, name=name)  # noqa: E731
        self.colour_hidden = [hidden("colour_0"), hidden("colour_1")]
        self.colour_out = nn.Dense(3, kernel_init=nn.initializers.zeros, name="colour_out")
        if self.glow_features:
            self.glow_in = nn.Dense(self.glow_features, dtype=self.dtype, name="glow_in")
            self.glow_spread = RadialConv(
                self.glow_features, self.glow_size, "edge", self.dtype, name="glow_spread"
            )
            self.glow_out = nn.Dense(3, kernel_init=nn.initializers.zeros, name="glow_out")
        if self.noise_channels:
            self.texture_filter = RadialConv(
                self.texture_features, self.texture_size, "wrap", self.dtype, name="texture_filter"
            )
            self.texture_hidden = hidden("texture_hidden")
            self.texture_scale = nn.Dense(self.texture_features, name="texture_scale")
            self.texture_out = nn.Dense(
                3, use_bias=False, kernel_init=nn.initializers.normal(0.003), name="texture_out"
            )

    def colour(self, source: Float[Array, "b h w 3"]) -> Float[Array, "b h w 3"]:
        """The per-pixel colour map alone, not clipped; starts as the identity."""
        h = source
        for layer in self.colour_hidden:
            h = nn.gelu(layer(h))
        return source + self.colour_out(h).astype(jnp.float32)

    def glow(self, source: Float[Array, "b h w 3"]) -> Float[Array, "b h w 3"]:
        """Light scattered from neighbours, added before the colour is developed."""
        lights = nn.relu(self.glow_in(source))
        return self.glow_out(nn.gelu(self.glow_spread(lights))).astype(jnp.float32)

    def texture(
        self, clean: Float[Array, "b h w 3"], noise: Float[Array, "b h w n"]
    ) -> Float[Array, "b h w 3"]:
        """Grain for a developed picture, linear in the noise."""
        scale = self.texture_scale(nn.gelu(self.texture_hidden(clean)))
        return self.texture_out(self.texture_filter(noise) * scale).astype(jnp.float32)

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
                equals `clean`.
            train: accepted like every generator's; this one behaves the same in both modes.

        Returns:
            `LookOutput(image, clean)`.

        Raises:
            ValueError: if the noise has another number of channels.
        """
        clean = self.colour(source)
        if self.glow_features:
            clean = clean + self.glow(source)
        clean = jnp.clip(clean, -1.0, 1.0) if not train else clean
        if noise is None or not self.noise_channels:
            return LookOutput(jnp.clip(clean, -1.0, 1.0), clean)
        if noise.shape[-1] != self.noise_channels:
            raise ValueError(f"noise has {noise.shape[-1]} channels, not {self.noise_channels}")
        texture = self.texture(jax.lax.stop_gradient(clean), noise)
        return LookOutput(jnp.clip(clean + texture, -1.0, 1.0), clean)
