"""Layers shared by the generators and discriminators.

Contract: NHWC maps; parameters are float32 whatever the computation type; statistics are taken in
float32; what is random is drawn per example. Convolution kernels start as N(0, 0.02) and biases
as 0, as in DCGAN (Radford et al. 2016, arXiv:1511.06434) and pix2pix.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from operator import add
from types import MappingProxyType
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from retrojax.keys import keep_each
from retrojax.models import conv as convolution
from retrojax.models.grouped import grouped_conv

Padding = Literal["same", "valid"] | int | tuple[tuple[int, int], tuple[int, int]]

NORMAL = nn.initializers.normal(0.02)


class Conv(nn.Module):
    """Convolution with cheap derivatives of every order (see `retrojax.models.conv`).

    Equal to `flax.linen.Conv`, with the same parameters: `kernel` [k, k, in, out], `bias` [out].

    Attributes:
        features: output channels.
        kernel_size: height and width of the kernel.
        stride: of the output, both axes.
        padding: "same": output size = ceil(size / stride), the extra zero at the end; "valid":
            none; a number: on every side, as in PyTorch; or ((top, bottom), (left, right)).
        use_bias: whether a bias is added.
        dtype: computation type; None = that of the input.
        kernel_init: initializer of the kernel.
    """

    features: int
    kernel_size: int
    stride: int = 1
    padding: Padding = "same"
    use_bias: bool = True
    dtype: Any = None
    kernel_init: Callable[..., Any] = NORMAL

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h2 w2 o"]:
        """Applies the convolution.

        Raises:
            ValueError: for an unknown padding, or a kernel larger than the padded input.
        """
        k = self.kernel_size
        kernel = self.param("kernel", self.kernel_init, (k, k, x.shape[-1], self.features))
        x = x.astype(self.dtype or x.dtype)
        if self.padding == "same":
            pads = convolution.same_pads((x.shape[1], x.shape[2]), (k, k), self.stride)
        else:
            pads = _explicit_pads(self.padding)
        return _add_bias(self, convolution.conv(x, kernel, self.stride, pads))


class ConvTranspose(nn.Module):
    """Transpose of a strided convolution with cheap derivatives of every order.

    `kernel` is [k, k, out, in], that of the convolution which this transposes: a PyTorch weight
    (in, out, k, k) is `w.transpose(2, 3, 1, 0)`, as for `Conv`. Equal to `flax.linen.ConvTranspose`
    with `transpose_kernel=True`, with the same parameters (but for "valid" and a kernel narrower
    than the stride, where Flax appends zeros); there, explicit padding counts zeros
    around the dilated input, k - 1 less the numbers used here.

    Attributes:
        features: output channels.
        kernel_size: height and width of the kernel.
        stride: output pixels per input pixel, both axes.
        padding: "same": output size = size * stride, the transpose of a "same" convolution
            (Keras's `Conv2DTranspose`); "valid": the full result; a number: rows and columns
            cropped on every side, PyTorch's `padding`; ((top, bottom), (left, right)): PyTorch's
            `padding` p with `output_padding` q is (p, p - q) on each axis.
        use_bias: whether a bias is added.
        dtype: computation type; None = that of the input.
        kernel_init: initializer of the kernel.
    """

    features: int
    kernel_size: int
    stride: int = 1
    padding: Padding = "same"
    use_bias: bool = True
    dtype: Any = None
    kernel_init: Callable[..., Any] = NORMAL

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h2 w2 o"]:
        """Applies the transposed convolution.

        Raises:
            ValueError: for an unknown padding, or one that crops everything.
        """
        k = self.kernel_size
        kernel = self.param("kernel", self.kernel_init, (k, k, self.features, x.shape[-1]))
        x = x.astype(self.dtype or x.dtype)
        if self.padding == "same":
            # A kernel narrower than the stride leaves gaps: the output ends with them.
            lo = max(k - self.stride, 0) // 2
            edge = (lo, k - self.stride - lo)
            pads = (edge, edge)
        else:
            pads = _explicit_pads(self.padding)
        return _add_bias(self, convolution.conv_transpose(x, kernel, self.stride, pads))


class GroupedConv(nn.Module):
    """3x3 convolution within groups of channels, with cheap derivatives of every order.

    Stride 1, one zero on every side. Equal to `flax.linen.Conv` with `feature_group_count`, with
    the same parameters: `kernel` [3, 3, in / groups, out], `bias` [out].

    Attributes:
        features: output channels.
        groups: number of groups; divides the input's and the output's channels.
        use_bias: whether a bias is added.
        dtype: computation type; None = that of the input.
        kernel_init: initializer of the kernel.
    """

    features: int
    groups: int
    use_bias: bool = True
    dtype: Any = None
    kernel_init: Callable[..., Any] = NORMAL

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h w o"]:
        """Applies the convolution.

        Raises:
            ValueError: if the groups do not divide the channels.
        """
        shape = (3, 3, x.shape[-1] // self.groups, self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        x = x.astype(self.dtype or x.dtype)
        return _add_bias(self, grouped_conv(x, kernel, self.groups))


def _explicit_pads(padding: Padding) -> convolution.Pads:
    if padding == "valid":
        return (0, 0), (0, 0)
    if isinstance(padding, int):
        return (padding, padding), (padding, padding)
    if isinstance(padding, str):
        raise ValueError(
            f"unknown padding {padding!r}; choose same, valid, a number of pixels, or "
            "((top, bottom), (left, right))"
        )
    (top, bottom), (left, right) = padding
    return (top, bottom), (left, right)


def _add_bias(layer: Conv | ConvTranspose | GroupedConv, y: Array) -> Array:
    if not layer.use_bias:
        return y
    bias = layer.param("bias", nn.initializers.zeros, (layer.features,))
    return y + bias.astype(y.dtype).reshape(1, 1, 1, -1)


def instance_norm(x: Float[Array, "b h w c"], *, epsilon: float = 1e-5) -> Float[Array, "b h w c"]:
    """Each channel of each example, less its mean, over its deviation (arXiv:1607.08022).

    No learned scale or shift, no running statistics, biased variance, as in CycleGAN's PyTorch
    code. The variance is taken in a second pass over the centred map, in float32: the one-pass
    formula loses a map of mean 3 and deviation 0.01.

    Args:
        x: maps of any float type.
        epsilon: added to the variance.

    Returns:
        Maps of x's type.
    """
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    centred = wide - wide.mean((1, 2), keepdims=True)
    variance = jnp.square(centred).mean((1, 2), keepdims=True)
    return (centred * jax.lax.rsqrt(variance + epsilon)).astype(x.dtype)


def _instance(*, train: bool, dtype: Any, axis_name: str | None, name: str) -> Callable:
    return instance_norm


def _batch(*, train: bool, dtype: Any, axis_name: str | None, name: str) -> nn.BatchNorm:
    def scale_init(key: Array, shape: Sequence[int], dtype: Any = jnp.float32) -> Array:
        return 1.0 + 0.02 * jax.random.normal(key, shape, dtype)

    # Momentum 0.9 is PyTorch's 0.1. Flax takes the running variance biased, PyTorch unbiased.
    return nn.BatchNorm(
        use_running_average=not train,
        momentum=0.9,
        epsilon=1e-5,
        dtype=dtype,
        scale_init=scale_init,
        axis_name=axis_name,
        use_fast_variance=False,
        name=name,
    )


def _none(*, train: bool, dtype: Any, axis_name: str | None, name: str) -> Callable:
    return lambda x: x


NORMS = MappingProxyType({"instance": _instance, "batch": _batch, "none": _none})


def make_norm(
    norm: str, *, train: bool, dtype: Any = None, axis_name: str | None = None
) -> Callable[[str], Callable[[Array], Array]]:
    """Chooses a normalisation by name, for use inside a compact module.

    Args:
        norm: "instance" (no parameters), "batch" (parameters scale ~ N(1, 0.02) and bias, running
            statistics in the collection `batch_stats`) or "none".
        train: "batch" uses and updates the batch's statistics; otherwise the running ones.
        dtype: computation type of "batch"; None = that of the input.
        axis_name: mapped axis over which "batch" averages its statistics (`pmap`); None = none.

    Returns:
        `named`: `named(name)(x)` normalises x by a layer of that name.

    Raises:
        ValueError: for an unknown name.
    """
    if norm not in NORMS:
        raise ValueError(f"unknown norm {norm!r}; choose one of {', '.join(NORMS)}")
    return lambda name: NORMS[norm](train=train, dtype=dtype, axis_name=axis_name, name=name)


def biased(norm: str) -> bool:
    """Whether inner convolutions have a bias: only before "instance", as in pix2pix's code."""
    return norm == "instance"


class Dropout(nn.Module):
    """Dropout whose mask is drawn per example, from `fold_in(key, index in the batch)`.

    So an example's mask does not depend on the size of the batch it is in.

    Attributes:
        rate: share of the values that become 0, to a 65536th; the others are divided by 1 - it.
    """

    rate: float

    @nn.compact
    def __call__(self, x: Float[Array, "b *shape"], *, train: bool) -> Float[Array, "b *shape"]:
        """Applies dropout if `train`; takes the stream "dropout".

        Raises:
            ValueError: if the rate is not in [0, 1).
        """
        if not 0.0 <= self.rate < 1.0:
            raise ValueError(f"dropout rate must be in [0, 1), got {self.rate}")
        if not train or self.rate == 0.0:
            return x
        keep, share = keep_each(self.make_rng("dropout"), 1.0 - self.rate, x.shape)
        return jnp.where(keep, x / share, 0.0).astype(x.dtype)


def reflect_pad(x: Float[Array, "b h w c"], width: int) -> Float[Array, "b h2 w2 c"]:
    """Mirrors `width` pixels over every border; the border itself is not repeated."""
    return jnp.pad(x, ((0, 0), (width, width), (width, width), (0, 0)), mode="reflect")


def blur_down(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    """Halves a map without aliasing: the filter [1, 2, 1] / 4 on each axis, with stride 2.

    Borders are reflected; h2 = ceil(h / 2). Zhang 2019 (arXiv:1904.11486), `Downsample` in the
    code of CUT (Park et al. 2020, arXiv:2007.15651). Height and width must be 2 or more.
    """
    return _filter(reflect_pad(x, 1), (0.25, 0.5, 0.25), stride=2)


def blur_up(x: Float[Array, "b h w c"]) -> Float[Array, "b 2*h 2*w c"]:
    """Doubles a map: bilinear, the border continues with its last pixel.

    Equal to `jax.image.resize(x, ..., "linear")`; `Upsample` in the code of CUT.
    """
    return _double(x, "edge")


def resample_down(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    """Halves a map: the filter [1, 3, 3, 1] / 8 on each axis, one zero on every side, stride 2.

    h2 = floor(h / 2). StyleGAN2's resampling (arXiv:1912.04958), as in R3GAN and SinCUT.
    """
    return smooth(x, 1, stride=2)


def resample_up(x: Float[Array, "b h w c"]) -> Float[Array, "b 2*h 2*w c"]:
    """Doubles a map: zeros between its pixels, then [1, 3, 3, 1] / 4 on each axis.

    Bilinear like `blur_up`, but zero lies outside, so borders darken. StyleGAN2's resampling.
    """
    return _double(x, "constant")


def smooth(x: Float[Array, "b h w c"], pad: int, *, stride: int = 1) -> Float[Array, "b h2 w2 c"]:
    """The filter [1, 3, 3, 1] / 8 on each axis, with `pad` zeros on every side.

    The result is 2 `pad` - 3 pixels larger than the map, before the stride.
    """
    x = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    return _filter(x, (0.125, 0.375, 0.375, 0.125), stride=stride)


def _filter(x: Array, taps: Sequence[float], *, stride: int) -> Array:
    """Correlates rows and columns with `taps`, by shifted slices.

    A depthwise convolution takes tens of times longer on CPU.
    """
    for axis in (1, 2):
        end = x.shape[axis] - len(taps)
        shifted = (jax.lax.slice_in_dim(x, i, end + i + 1, stride, axis) for i in range(len(taps)))
        x = reduce(add, (tap * part for tap, part in zip(taps, shifted, strict=True)))
    return x


def _double(x: Array, mode: str) -> Array:
    """Puts between two pixels two: a quarter of the one, three of the other; pads by `mode`."""
    for axis in (1, 2):
        size, pads = x.shape[axis], [(0, 0)] * x.ndim
        pads[axis] = (1, 1)
        padded = jnp.pad(x, pads, mode=mode)
        before = jax.lax.slice_in_dim(padded, 0, size, 1, axis)
        after = jax.lax.slice_in_dim(padded, 2, size + 2, 1, axis)
        pairs = jnp.stack([0.25 * before + 0.75 * x, 0.75 * x + 0.25 * after], axis + 1)
        x = pairs.reshape(*x.shape[:axis], 2 * size, *x.shape[axis + 1 :])
    return x


def leaky_relu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """max(x, 0.2 x): the slope of DCGAN, pix2pix and CycleGAN."""
    return nn.leaky_relu(x, 0.2)


def join_noise(
    source: Float[Array, "b h w c"], noise: Float[Array, "b h w n"] | None, noise_channels: int
) -> Float[Array, "b h w c2"]:
    """The generators' input: the source, with its noise as further channels.

    Raises:
        ValueError: if the noise is missing, not wanted, or not [b, h, w, noise_channels].
    """
    if noise_channels == 0:
        if noise is not None:
            raise ValueError("this generator takes no noise (noise_channels=0): pass noise=None")
        return source
    wanted = (*source.shape[:3], noise_channels)
    if noise is None:
        raise ValueError(
            f"this generator takes noise: pass noise of shape {wanted}, "
            "or build it with noise_channels=0"
        )
    if noise.shape != wanted:
        raise ValueError(f"noise has shape {noise.shape}, must be {wanted}")
    return jnp.concatenate([source, noise.astype(source.dtype)], -1)
