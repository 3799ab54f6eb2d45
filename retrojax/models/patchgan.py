"""`PatchDiscriminator`: judges every patch of an image, alone or with the image it came from.

Isola et al. 2017 (arXiv:1611.07004), layer by layer as the authors' PyTorch code
(`NLayerDiscriminator`): every convolution adds one zero on every side, so that the two 4x4 ones of
stride 1 lose a row and a column each (256 pixels -> 30 logits a side). `PixelDiscriminator` is
its smallest form, which sees one pixel at a time.
"""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from retrojax.models.layers import Conv, biased, blur_down, leaky_relu, make_norm
from retrojax.models.stages import run_stage


class PatchDiscriminator(nn.Module):
    """PatchGAN; by default the 70x70 one: each logit sees 70x70 pixels.

    `layers` convolutions of stride 2, then two of stride 1; widths features * 1, 2, 4, 8, 8 ...;
    LeakyReLU 0.2; no norm after the first convolution and none on the logits. The receptive field
    of layers = 1 .. 6 is 16, 34, 70, 142, 286, 574 pixels for 4x4 kernels.

    Attributes:
        features: width of the first layer.
        layers: number of convolutions with stride 2.
        norm: "instance", "batch" or "none"; inner convolutions have a bias only with "instance".
        dtype: computation type; parameters and logits are float32.
        kernel_size: of every convolution; they pad (kernel_size - 1) // 2 zeros.
        axis_name: mapped axis for the batch norm's statistics (`pmap`); None = none.
        detail: above 0, the input gets further channels: its difference from its 5x5 blur, this
            many times amplified. Grain is small beside the picture that it lies on, and a critic
            that has to find it first teaches none meanwhile. 0 = the paper's input.
        antialias: halve by a convolution of stride 1 and, after its LeakyReLU, a blur, as CUT
            does (Park et al. 2020, arXiv:2007.15651), not by a stride of 2. The maps keep their
            sizes; a 4x4 kernel's receptive fields of layers = 1 .. 3 are 18, 40 and 84 pixels.
        remat: whether stages keep no activations, see `models.stages`.
    """

    features: int = 64
    layers: int = 3
    norm: str = "instance"
    dtype: Any = None
    kernel_size: int = 4
    axis_name: str | None = None
    detail: float = 0.0
    antialias: bool = False
    remat: bool = False

    @property
    def minimum_size(self) -> int:
        """Smallest height or width of an image that leaves one logit."""
        k, pad = self.kernel_size, (self.kernel_size - 1) // 2
        size = 1
        for stride in (1, 1, *[2] * self.layers):
            if stride == 2 and self.antialias:
                # The blur reflects its border, which takes two pixels.
                size, stride = max(2 * size - 1, 2), 1
            size = max((size - 1) * stride + k - 2 * pad, 1)
        return size

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "b h w c"],
        condition: Float[Array, "b h w s"] | None = None,
        *,
        train: bool = False,
    ) -> Float[Array, "b h2 w2"]:
        """Judges images.

        Args:
            images: in [-1, 1].
            condition: the images they were made from; None = judge `images` alone. They come
                first among the channels, as in pix2pix.
            train: "batch" norm uses and updates the batch's statistics.

        Returns:
            Raw logits, one for each patch, float32.

        Raises:
            ValueError: for images smaller than `minimum_size`, or an unknown norm.
        """
        if min(images.shape[1:3]) < self.minimum_size:
            raise ValueError(
                f"images of {images.shape[1]}x{images.shape[2]} are too small for a PatchGAN with "
                f"{self.layers} layers: both sides must be at least {self.minimum_size}; "
                "use larger images or fewer layers"
            )
        norm = make_norm(self.norm, train=train, dtype=self.dtype, axis_name=self.axis_name)

        def conv(features: int, stride: int, use_bias: bool, name: str) -> Conv:
            stride = 1 if self.antialias else stride
            pad = (self.kernel_size - 1) // 2
            return Conv(features, self.kernel_size, stride, pad, use_bias, self.dtype, name=name)

        def blur(x: Array, stride: int) -> Array:
            return blur_down(x) if self.antialias and stride == 2 else x

        x = images if condition is None else jnp.concatenate([condition, images], -1)
        if self.detail:
            x = jnp.concatenate([x, self.detail * (x - _blurred(_blurred(x)))], -1)

        def layer(i: int, x: Array) -> Array:
            if not i:
                return blur(leaky_relu(conv(self.features, 2, True, "conv_0")(x)), 2)
            stride = 2 if i < self.layers else 1
            x = conv(self.features * min(2**i, 8), stride, biased(self.norm), f"conv_{i}")(x)
            return blur(leaky_relu(norm(f"norm_{i}")(x)), stride)

        for i in range(self.layers + 1):
            x = run_stage(self, partial(layer, i), x)
        logits = conv(1, 1, True, "logits")(x)
        return logits[..., 0].astype(jnp.float32)


class PixelDiscriminator(nn.Module):
    """Judges every pixel by its colour alone: three 1x1 convolutions, features, 2 features, 1.

    pix2pix's 1x1 PatchGAN, `PixelDiscriminator` in its code: LeakyReLU 0.2, a norm after the second
    convolution; there the logits have a bias only with "instance" norm, too.

    Attributes:
        features: width of the first layer.
        norm: "instance", "batch" or "none".
        dtype: computation type; parameters and logits are float32.
        axis_name: mapped axis for the batch norm's statistics (`pmap`); None = none.
    """

    features: int = 64
    norm: str = "instance"
    dtype: Any = None
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "b h w c"],
        condition: Float[Array, "b h w s"] | None = None,
        *,
        train: bool = False,
    ) -> Float[Array, "b h w"]:
        """Judges images.

        Args:
            images: in [-1, 1].
            condition: the images they were made from; None = judge `images` alone. They come
                first among the channels.
            train: "batch" norm uses and updates the batch's statistics.

        Returns:
            Raw logits, one for each pixel, float32.

        Raises:
            ValueError: for an unknown norm.
        """
        norm = make_norm(self.norm, train=train, dtype=self.dtype, axis_name=self.axis_name)
        options = {"use_bias": biased(self.norm), "dtype": self.dtype}
        x = images if condition is None else jnp.concatenate([condition, images], -1)
        x = leaky_relu(Conv(self.features, 1, dtype=self.dtype, name="conv_0")(x))
        x = Conv(2 * self.features, 1, name="conv_1", **options)(x)
        x = leaky_relu(norm("norm_1")(x))
        return Conv(1, 1, name="logits", **options)(x)[..., 0].astype(jnp.float32)


def _blurred(x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """The 3x3 binomial blur, by shifted slices; borders continue with their last pixel."""
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    x = (x[:, :-2] + 2 * x[:, 1:-1] + x[:, 2:]) / 4
    return (x[:, :, :-2] + 2 * x[:, :, 1:-1] + x[:, :, 2:]) / 4
