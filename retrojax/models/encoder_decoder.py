"""`EncoderDecoderGenerator`: the whole source through one short code, then the picture from it.

An encoder-decoder without skips and with fully connected layers at its bottom, as in context
encoders (Pathak et al. 2016, arXiv:1604.07379), but with a decoder that is one dense layer: for
small pictures of few things, such as printed words, where the target shares no pixel with the
source and skips would carry nothing. It takes one size, that of its parameters.
"""

import math
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from retrojax.models.layers import Conv, join_noise, leaky_relu

HE = nn.initializers.he_normal()


class EncoderDecoderGenerator(nn.Module):
    """`levels` halvings by 4x4 convolutions, a dense layer to the code, a dense one to the picture.

    Level l has features * 1, 2, 4 ... channels; LeakyReLU 0.2; no norm, which would take away how
    much ink a place has; kernels by He et al. 2015 (arXiv:1502.01852), without which a signal
    through layers without norm fades.

    Attributes:
        size: height and width in pixels, a multiple of 2^levels.
        features: width of the first level.
        levels: halvings before the code.
        code: length of the code.
        noise_channels: channels of the noise input; 0 = takes no noise.
        dtype: computation type; parameters and the image are float32.
        out_channels: channels of the image.
    """

    size: int = 48
    features: int = 16
    levels: int = 3
    code: int = 256
    noise_channels: int = 0
    dtype: Any = None
    out_channels: int = 3

    @nn.compact
    def __call__(
        self,
        source: Float[Array, "b h w c"],
        noise: Float[Array, "b h w n"] | None = None,
        *,
        train: bool = False,
    ) -> Float[Array, "b h w o"]:
        """Translates images.

        Args:
            source: in [-1, 1], `size` high and wide.
            noise: standard normal, `noise_channels` channels; None if that is 0.
            train: nothing here depends on it.

        Returns:
            Images in [-1, 1], float32.

        Raises:
            ValueError: for images of another size, a size that does not halve, or noise that does
                not fit.
        """
        multiple = 2**self.levels
        if self.size % multiple:
            raise ValueError(
                f"an encoder-decoder of {self.levels} levels takes a size that is a multiple of "
                f"{multiple}, got {self.size}; choose another size or fewer levels"
            )
        height, width = source.shape[1:3]
        if (height, width) != (self.size, self.size):
            raise ValueError(
                f"this encoder-decoder takes images of {self.size}x{self.size} pixels, got "
                f"{height}x{width}; crop or resize the images"
            )
        x = join_noise(source, noise, self.noise_channels)
        for level in range(self.levels):
            conv = Conv(
                self.features * 2**level, 4, 2, 1, dtype=self.dtype, kernel_init=HE,
                name=f"down_{level + 1}",
            )  # fmt: skip
            x = leaky_relu(conv(x))
        x = x.reshape(len(x), -1)
        x = leaky_relu(nn.Dense(self.code, dtype=self.dtype, kernel_init=HE, name="code")(x))
        shape = (self.size, self.size, self.out_channels)
        x = nn.Dense(math.prod(shape), dtype=self.dtype, name="image")(x)
        return jnp.tanh(x.reshape(-1, *shape).astype(jnp.float32))
