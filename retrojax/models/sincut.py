"""`SinCUTGenerator` and `SinCUTDiscriminator`: CUT's networks for learning from a single image.

Park et al. 2020 (arXiv:2007.15651, appendix), layer by layer as the authors' PyTorch code
(`stylegan_networks.py`): StyleGAN2's residual blocks (Karras et al. 2020, arXiv:1912.04958) with
weights N(0, 1) scaled at run time, LeakyReLU 0.2 times sqrt(2), blurs [1, 3, 3, 1].
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from retrojax.models.conv import conv, conv_transpose
from retrojax.models.layers import leaky_relu, resample_down, smooth
from retrojax.models.stages import run_stage
from retrojax.models.taps import Features, Layer, run_layers

UNIT = nn.initializers.normal(1.0)


def _act(layer: nn.Module, x: Array) -> Array:
    """sqrt(2) LeakyReLU(x + bias): keeps the variance."""
    bias = layer.param("bias", nn.initializers.zeros, (x.shape[-1],))
    return math.sqrt(2) * leaky_relu(x + bias.astype(x.dtype).reshape((1,) * (x.ndim - 1) + (-1,)))


class EqualConv(nn.Module):
    """Convolution with run-time scale 1 / sqrt(fan in); its size stays, or is halved after a blur.

    Attributes:
        features: output channels.
        kernel_size: 1 or 3.
        down: blur and halve the map.
        act: add a bias and apply LeakyReLU times sqrt(2).
        dtype: computation type; the parameters are float32.
    """

    features: int
    kernel_size: int
    down: bool = False
    act: bool = True
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h2 w2 o"]:
        """Applies the layer; a halved map has floor(h / 2) rows."""
        k = self.kernel_size
        kernel = self.param("kernel", UNIT, (k, k, x.shape[-1], self.features))
        kernel = kernel / math.sqrt(k * k * x.shape[-1])
        x = x.astype(self.dtype or x.dtype)
        pad = k // 2
        if not self.down:
            x = conv(x, kernel, 1, ((pad, pad), (pad, pad)))
        elif k == 1:
            # Only every second pixel of the blurred map is used.
            x = conv(resample_down(x), kernel, 1, ((0, 0), (0, 0)))
        else:
            x = conv(smooth(x, pad + 1), kernel, 2, ((0, 0), (0, 0)))
        return _act(self, x) if self.act else x


class EqualDense(nn.Module):
    """Dense layer with run-time scale 1 / sqrt(fan in) and a bias.

    Attributes:
        features: outputs.
        act: apply LeakyReLU times sqrt(2).
    """

    features: int
    act: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "b i"]) -> Float[Array, "b o"]:
        """Applies the layer."""
        kernel = self.param("kernel", UNIT, (x.shape[-1], self.features))
        x = x @ (kernel / math.sqrt(x.shape[-1])).astype(x.dtype)
        if self.act:
            return _act(self, x)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return x + bias.astype(x.dtype)[None]


class EqualBlock(nn.Module):
    """(act(3x3 of act(3x3 of x)) + skip) / sqrt(2); skip is x or, halved, a 1x1 convolution of it.

    Attributes:
        features: output channels; those of the input unless `down`.
        down: halve the map in the second layer.
        dtype: computation type; the parameters are float32.
    """

    features: int
    down: bool = False
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h2 w2 o"]:
        """Applies the block."""
        x = x.astype(self.dtype or x.dtype)
        y = EqualConv(x.shape[-1], 3, dtype=self.dtype, name="conv_0")(x)
        y = EqualConv(self.features, 3, self.down, dtype=self.dtype, name="conv_1")(y)
        if self.down:
            x = EqualConv(self.features, 1, True, False, self.dtype, name="skip")(x)
        return (y + x) / math.sqrt(2)


class StyledUp(nn.Module):
    """StyleGAN2's doubling 3x3 convolution with a constant style: demodulated, with noise.

    Attributes:
        features: output channels.
        noisy: whether noise is added, times a learned weight that starts at 0.
        dtype: computation type; the parameters are float32.
    """

    features: int
    noisy: bool = True
    dtype: Any = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w i"], noise: Float[Array, "b h2 w2 1"] | None
    ) -> Float[Array, "b h2 w2 o"]:
        """Applies the layer; h2 = 2 h."""
        kernel = self.param("kernel", UNIT, (3, 3, self.features, x.shape[-1]))
        kernel = kernel / math.sqrt(9 * x.shape[-1])
        # A style of ones leaves this of the modulation: each output's kernel gets length 1.
        length = jnp.square(kernel).sum((0, 1, 3), keepdims=True)
        # 4 is the gain of the blur: zeros lie between the pixels.
        kernel = kernel * (4 * jax.lax.rsqrt(length + 1e-8))
        x = conv_transpose(x.astype(self.dtype or x.dtype), kernel, 2, ((0, 0), (0, 0)))
        x = smooth(x, 1)
        if self.noisy and noise is not None:
            weight = self.param("noise_weight", nn.initializers.zeros, (1,))
            x = x + (weight.reshape(1, 1, 1, 1) * noise).astype(x.dtype)
        return _act(self, x)


class SinCUTGenerator(nn.Module):
    """1x1 in, residual blocks at half the size, a styled doubling, 1x1 out; no norm and no tanh.

    Attributes:
        features: width at full size; twice that at half the size. The code's `ngf` times 8.
        blocks: residual blocks in the encoder after the halving one, and again in the decoder.
        noise_channels: 1 = the doubling adds noise, as the authors' does; 0 = takes no noise.
        dtype: computation type; parameters and the image are float32.
        out_channels: channels of the image.
        remat: whether stages keep no activations, see `models.stages`.
    """

    features: int = 80
    blocks: int = 3
    noise_channels: int = 1
    dtype: Any = None
    out_channels: int = 3
    remat: bool = False

    @nn.compact
    def __call__(
        self,
        source: Float[Array, "b h w c"],
        noise: Float[Array, "b h w n"] | None = None,
        *,
        train: bool = False,
        taps: tuple[int, ...] = (),
        encode_only: bool = False,
    ) -> Float[Array, "b h w o"] | tuple[Float[Array, "b h w o"], Features] | Features:
        """Translates images.

        Args:
            source: in [-1, 1]; even height and width, 4 or more.
            noise: standard normal, `noise_channels` channels; None if that is 0 or with
                `encode_only`.
            train: nothing here depends on it.
            taps: layers whose results are wanted too: 0 = the source, 1 = the 1x1 convolution,
                2 = the halving block, 3 .. blocks + 2 = the others of the encoder, then the
                decoder's. PatchNCE reads 0, 2 and 4.
            encode_only: return the features and compute nothing after the last of them.

        Returns:
            Images, nominally in [-1, 1] but not clipped, float32; with taps (images, features),
            with `encode_only` features: a map for every tap, in the computation type.

        Raises:
            ValueError: for another size, noise that does not fit, a tap that does not exist or
                none to encode.
        """
        height, width = source.shape[1:3]
        if height % 2 or width % 2 or min(height, width) < 4:
            raise ValueError(
                f"the SinCUT generator takes even heights and widths of at least 4, got "
                f"{height}x{width}; crop or pad the images"
            )
        if not encode_only:
            _check_noise(source, noise, self.noise_channels)

        def conv(features: int, name: str) -> Layer:
            return lambda x: EqualConv(features, 1, dtype=self.dtype, name=name)(x)

        def block(name: str, down: bool = False) -> Layer:
            return lambda x: EqualBlock(2 * self.features, down, self.dtype, name=name)(x)

        def up(x: Array) -> Array:
            noisy = bool(self.noise_channels)
            return StyledUp(self.features, noisy, self.dtype, name="up")(x, noise)

        stages = [
            [lambda x: x, conv(self.features, "stem")],
            [block("down", True)],
            *([block(f"encoder_{i}")] for i in range(self.blocks)),
            *([block(f"decoder_{i}")] for i in range(self.blocks)),
            [up],
            [conv(self.out_channels, "image"), lambda x: x.astype(jnp.float32)],
        ]
        return run_layers(self, stages, source, taps=taps, encode_only=encode_only)


def _check_noise(source: Array, noise: Array | None, channels: int) -> None:
    if channels not in (0, 1):
        raise ValueError(f"noise_channels of the SinCUT generator is 0 or 1, not {channels}")
    wanted = (*source.shape[:3], 1) if channels else None
    if (None if noise is None else noise.shape) != wanted:
        raise ValueError(
            f"noise is {None if noise is None else noise.shape}, must be {wanted}: the SinCUT "
            f"generator has noise_channels={channels}"
        )


class SinCUTDiscriminator(nn.Module):
    """Image of 64 pixels -> one logit: residual blocks down to 4x4, two dense layers.

    No minibatch deviation.

    Attributes:
        widths: of the maps, from the image's size down to 4x4; the code's `ndf` 8 gives these.
        dtype: computation type of the convolutions; parameters and logits are float32.
        remat: whether stages keep no activations, see `models.stages`.
    """

    widths: Sequence[int] = (32, 64, 128, 256, 384)
    dtype: Any = None
    remat: bool = False

    @nn.compact
    def __call__(
        self, images: Float[Array, "b h w c"], *, train: bool = False
    ) -> Float[Array, "b"]:
        """Judges images.

        Args:
            images: in [-1, 1], squares of 4 * 2^(len(widths) - 1) pixels, 64 by default.
            train: nothing here depends on it.

        Returns:
            Raw logits, one for each image, float32.

        Raises:
            ValueError: for images of another size.
        """
        side = 4 * 2 ** (len(self.widths) - 1)
        height, width = images.shape[1:3]
        if (height, width) != (side, side):
            raise ValueError(
                f"this SinCUT discriminator takes images of {side}x{side} pixels, got "
                f"{height}x{width}; crop the images or use other widths"
            )

        def down(name: str, features: int, x: Array) -> Array:
            return EqualBlock(features, True, self.dtype, name=name)(x)

        x = EqualConv(self.widths[0], 1, dtype=self.dtype, name="stem")(images)
        for i, features in enumerate(self.widths[1:]):
            x = run_stage(self, partial(down, f"down_{i}", features), x)
        x = EqualConv(self.widths[-1], 3, dtype=self.dtype, name="last")(x)
        x = x.reshape(x.shape[0], -1).astype(jnp.float32)
        x = EqualDense(self.widths[-1], name="dense")(x)
        return EqualDense(1, act=False, name="logits")(x)[:, 0]
