"""`R3GANGenerator` and `R3GANDiscriminator`: residual networks without norms, noise to image.

Huang et al. 2024 (arXiv:2501.05441), its final configuration: grouped inverted bottlenecks whose
last layer starts at zero, biases before a LeakyReLU 0.2 alone, no normalisation, no demodulation,
no tanh. Resolutions are counted from 4x4 (stage 0) up in both networks.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from retrojax.models.layers import GroupedConv, leaky_relu, resample_down, resample_up
from retrojax.models.stages import run_stage

UNIT = nn.initializers.normal(1.0)


def _fan_in(gain: float = 1.0) -> nn.initializers.Initializer:
    """N(0, gain^2 / fan_in); the fan of a grouped kernel [3, 3, c, out] is 9 c."""
    return nn.initializers.variance_scaling(gain**2, "fan_in", "normal")


class R3GANBlock(nn.Module):
    """x + 1x1(act(grouped 3x3(act(1x1(x))))): twice the width inside, the last kernel starts at 0.

    Attributes:
        gain: of the initial weights.
        group_channels: channels of a group of the 3x3 convolution.
        dtype: computation type; parameters are float32.
    """

    gain: float
    group_channels: int = 16
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Applies the block.

        Raises:
            ValueError: if twice the width is no multiple of `group_channels`.
        """
        width, inner = x.shape[-1], 2 * x.shape[-1]
        if inner % self.group_channels:
            raise ValueError(
                f"a block of width {width} has {inner} channels inside, which is no multiple of "
                f"group_channels={self.group_channels}; choose other widths or groups"
            )
        options = {"kernel_init": _fan_in(self.gain), "dtype": self.dtype}
        groups = inner // self.group_channels
        # 1x1 convolutions are dense layers on the channels.
        y = leaky_relu(nn.Dense(inner, name="expand", **options)(x))
        y = leaky_relu(GroupedConv(inner, groups, name="grouped", **options)(y))
        return x + nn.Dense(
            width,
            use_bias=False,
            kernel_init=nn.initializers.zeros,
            dtype=self.dtype,
            name="reduce",
        )(y)


def _block_gain(stages: int, blocks: int) -> float:
    """sqrt(2 / 1.04) T^(-1/4) for T blocks in the whole network."""
    return math.sqrt(2 / 1.04) * (stages * blocks) ** -0.25


def _check_labels(labels: Array | None, classes: int) -> None:
    if (labels is None) != (classes == 0):
        raise ValueError(
            f"classes={classes} but labels {'are missing' if labels is None else 'were given'}: "
            "pass labels to a network with classes, and to no other"
        )


def _applied(block: Callable[..., nn.Module], name: str, x: Array) -> Array:
    return block(name=name)(x)  # pyright: ignore[reportCallIssue]


class R3GANGenerator(nn.Module):
    """Noise -> image of 4 * 2^(stages - 1) pixels.

    A learned 4x4 basis, scaled by a linear map of z; in every stage after the first a 1x1
    convolution where the width changes, then a doubling; `blocks` residual blocks in each; 1x1 to
    the image.

    Attributes:
        widths: of the stages, from 4x4 up.
        blocks: residual blocks of each stage.
        group_channels: channels of a group of the 3x3 convolutions.
        latent_size: length of z, and of the class embedding that follows it.
        classes: number of classes; 0 = unconditional.
        channels: of the image.
        dtype: computation type of the highest resolutions; parameters and the image are float32.
        narrow_stages: how many of the highest resolutions run in `dtype`, the others in float32;
            the authors take 3 for 32 pixels and 4 above.
        remat: whether blocks keep no activations, see `models.stages`.
    """

    widths: Sequence[int] = (768, 768, 768, 768)
    blocks: int = 2
    group_channels: int = 16
    latent_size: int = 64
    classes: int = 0
    channels: int = 3
    dtype: Any = None
    narrow_stages: int = 3
    remat: bool = False

    @nn.compact
    def __call__(
        self,
        z: Float[Array, "b latent"],
        labels: Int[Array, "b"] | None = None,
        *,
        train: bool = False,
    ) -> Float[Array, "b h w c"]:
        """Makes images.

        Args:
            z: standard normal, [b, latent_size].
            labels: classes, 0 .. classes - 1; None if unconditional.
            train: nothing here depends on it.

        Returns:
            Images, nominally in [-1, 1] but not clipped, float32.

        Raises:
            ValueError: for labels without classes, classes without labels, or widths that
                `group_channels` does not divide.
        """
        _check_labels(labels, self.classes)
        if labels is not None:
            # A linear layer without bias on one-hot classes.
            shape = (self.classes, self.latent_size)
            z = jnp.concatenate([z, self.param("classes_embedding", _fan_in(), shape)[labels]], -1)
        basis = self.param("basis", UNIT, (4, 4, self.widths[0]))
        options = {"use_bias": False, "kernel_init": _fan_in()}
        scales = nn.Dense(self.widths[0], name="latent", **options)(z)
        x = basis[None] * scales[:, None, None, :]
        stages, dtype = len(self.widths), None
        gain = _block_gain(stages, self.blocks)
        for i, width in enumerate(self.widths):
            dtype = self.dtype if i >= stages - self.narrow_stages else None
            x = x.astype(dtype or x.dtype)
            if i:
                if width != x.shape[-1]:
                    x = nn.Dense(width, dtype=dtype, name=f"stage_{i}_project", **options)(x)
                x = resample_up(x)
            for j in range(self.blocks):
                named = partial(R3GANBlock, gain, self.group_channels, dtype)
                x = run_stage(self, partial(_applied, named, f"stage_{i}_block_{j}"), x)
        image = nn.Dense(self.channels, dtype=dtype, name="image", **options)(x)
        return image.astype(jnp.float32)


class R3GANDiscriminator(nn.Module):
    """Image of 4 * 2^(stages - 1) pixels -> one logit, the generator mirrored.

    1x1 from the image; `blocks` residual blocks in each stage, then a halving and a 1x1
    convolution where the width changes; at the end each channel's 4x4 map is weighted and summed,
    and a linear map follows. With classes the logit is the product of those features and the
    class's embedding.

    Attributes:
        widths: of the stages, from 4x4 up.
        blocks: residual blocks of each stage.
        group_channels: channels of a group of the 3x3 convolutions.
        classes: number of classes; 0 = unconditional.
        dtype: computation type of the highest resolutions; parameters and logits are float32.
        narrow_stages: how many of the highest resolutions run in `dtype`, the others in float32.
        remat: whether blocks keep no activations, see `models.stages`.
    """

    widths: Sequence[int] = (768, 768, 768, 768)
    blocks: int = 2
    group_channels: int = 16
    classes: int = 0
    dtype: Any = None
    narrow_stages: int = 3
    remat: bool = False

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "b h w c"],
        labels: Int[Array, "b"] | None = None,
        *,
        train: bool = False,
    ) -> Float[Array, "b"]:
        """Judges images.

        Args:
            images: in [-1, 1], squares of 4 * 2^(stages - 1) pixels.
            labels: classes, 0 .. classes - 1; None if unconditional.
            train: nothing here depends on it.

        Returns:
            Raw logits, one for each image, float32.

        Raises:
            ValueError: for images of another size, labels without classes, classes without
                labels, or widths that `group_channels` does not divide.
        """
        _check_labels(labels, self.classes)
        stages, side = len(self.widths), 4 * 2 ** (len(self.widths) - 1)
        height, width = images.shape[1:3]
        if (height, width) != (side, side):
            raise ValueError(
                f"this R3GAN discriminator of {stages} stages takes images of {side}x{side} "
                f"pixels, got {height}x{width}; crop or resize the images, or use other widths"
            )
        options = {"use_bias": False, "kernel_init": _fan_in()}
        gain = _block_gain(stages, self.blocks)
        x = images
        for i in reversed(range(stages)):
            dtype = self.dtype if i >= stages - self.narrow_stages else None
            x = x.astype(dtype or jnp.float32)
            if i == stages - 1:
                x = nn.Dense(self.widths[i], dtype=dtype, name="image", **options)(x)
            for j in range(self.blocks):
                named = partial(R3GANBlock, gain, self.group_channels, dtype)
                x = run_stage(self, partial(_applied, named, f"stage_{i}_block_{j}"), x)
            if i:
                x = resample_down(x)
                if self.widths[i - 1] != x.shape[-1]:
                    name = f"stage_{i}_project"
                    x = nn.Dense(self.widths[i - 1], dtype=dtype, name=name, **options)(x)
        x = x.astype(jnp.float32)
        # A depthwise 4x4 convolution on a 4x4 map; each channel's fan is 16.
        weights = self.param("collect", nn.initializers.normal(0.25), (4, 4, x.shape[-1]))
        features = jnp.einsum("bhwc,hwc->bc", x, weights)
        if labels is None:
            return nn.Dense(1, name="logits", **options)(features)[:, 0]
        size = self.widths[0]
        features = nn.Dense(size, name="logits", **options)(features)
        shape = (self.classes, size)
        table = self.param("classes_embedding", _fan_in(size**-0.5), shape)
        return jnp.einsum("bc,bc->b", features, table[labels])
