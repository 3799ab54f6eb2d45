"""`ResNetGenerator`: the translation generator of CycleGAN and CUT, with an optional noise input.

Johnson et al. 2016 (arXiv:1603.08155) as adapted by Zhu et al. 2017 (arXiv:1703.10593), layer by
layer as the authors' PyTorch code (`ResnetGenerator`), whose defaults these are. With both halves
anti-aliased it is that of CUT (Park et al. 2020, arXiv:2007.15651), which also reads features in
the middle of it for PatchNCE.
"""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from retrojax.models.layers import (
    Conv,
    ConvTranspose,
    Dropout,
    biased,
    blur_down,
    blur_up,
    join_noise,
    make_norm,
    reflect_pad,
)
from retrojax.models.taps import Features, Layer, run_layers


class ResNetGenerator(nn.Module):
    """A 7x7 stem, two halvings, `blocks` residual blocks, two doublings, a 7x7 output, tanh.

    Attributes:
        features: width of the stem; the blocks have four times as many.
        blocks: residual blocks; CycleGAN takes 9 from 256 pixels on and 6 below.
        norm: "instance", "batch" or "none"; inner convolutions have a bias only with "instance".
        dropout: rate inside the blocks; takes the stream "dropout" when training.
        noise_channels: channels of the noise input; 0 = takes no noise.
        dtype: computation type; parameters and the image are float32.
        out_channels: channels of the image.
        axis_name: mapped axis for the batch norm's statistics (`pmap`); None = none.
        antialias_down: halve by a convolution of stride 1 and a blur (CUT), not by a stride of 2.
        antialias_up: double by interpolation and a convolution (CUT), not by a transposed one.
        remat: whether stages keep no activations, see `models.stages`.
    """

    features: int = 64
    blocks: int = 9
    norm: str = "instance"
    dropout: float = 0.0
    noise_channels: int = 0
    dtype: Any = None
    out_channels: int = 3
    axis_name: str | None = None
    antialias_down: bool = False
    antialias_up: bool = False
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
            source: in [-1, 1]; height and width multiples of 4, 8 or more.
            noise: standard normal, `noise_channels` channels; None if that is 0.
            train: dropout is on, "batch" norm uses and updates the batch's statistics.
            taps: layers whose results are wanted too, as PatchNCE numbers them: the index in the
                original's `Sequential`, where 0 is the reflected input, 1 the stem's convolution
                and each residual block, blur, norm and ReLU counts as one. CUT reads 0, 4, 8, 12,
                16. A norm's index gives the map after its ReLU, which the original computes in
                place: so is 8 without `antialias_down`.
            encode_only: return the features and compute nothing after the last of them.

        Returns:
            Images in [-1, 1], float32; with taps (images, features), with `encode_only` features:
            a map for every tap, in its order, in the computation type.

        Raises:
            ValueError: for another size, noise that does not fit, an unknown norm, a tap that does
                not exist or none to encode.
        """
        height, width = source.shape[1:3]
        # Below 8 the inner maps have one row: nothing to reflect.
        if height % 4 or width % 4 or min(height, width) < 8:
            raise ValueError(
                f"the ResNet generator takes heights and widths that are multiples of 4 and at "
                f"least 8, got {height}x{width}; crop or pad the images"
            )
        norm = make_norm(self.norm, train=train, dtype=self.dtype, axis_name=self.axis_name)
        options = {"use_bias": biased(self.norm), "dtype": self.dtype}

        def conv(*sizes: Any, name: str, **options: Any) -> Layer:
            return lambda x: Conv(*sizes, name=name, **options)(x)

        def normed(name: str) -> list[Layer]:
            return [lambda x: norm(f"{name}_norm")(x), nn.relu]

        def halve(features: int, name: str) -> list[Layer]:
            stride = 1 if self.antialias_down else 2
            blur = [blur_down] if self.antialias_down else []
            return [conv(features, 3, stride, 1, name=name, **options), *normed(name), *blur]

        def double(features: int, name: str) -> list[Layer]:
            if self.antialias_up:
                return [blur_up, conv(features, 3, 1, 1, name=name, **options), *normed(name)]
            pads = ((1, 0), (1, 0))
            transposed = lambda x: ConvTranspose(features, 3, 2, pads, name=name, **options)(x)  # noqa: E731
            return [transposed, *normed(name)]

        def residual(name: str, x: Array) -> Array:
            conv = Conv(x.shape[-1], 3, 1, "valid", name=f"{name}_conv_0", **options)
            y = nn.relu(norm(f"{name}_norm_0")(conv(reflect_pad(x, 1))))
            y = Dropout(self.dropout, name=f"{name}_dropout")(y, train=train)
            conv = Conv(x.shape[-1], 3, 1, "valid", name=f"{name}_conv_1", **options)
            # No ReLU after the sum.
            return x + norm(f"{name}_norm_1")(conv(reflect_pad(y, 1)))

        # One layer for each of the original's, in its order: `taps` count them.
        pad = partial(reflect_pad, width=3)
        image = conv(self.out_channels, 7, 1, "valid", dtype=self.dtype, name="image")
        stages = [
            [pad, conv(self.features, 7, 1, "valid", name="stem", **options), *normed("stem")],
            halve(2 * self.features, "down_0"),
            halve(4 * self.features, "down_1"),
            *([partial(residual, f"block_{i}")] for i in range(self.blocks)),
            double(2 * self.features, "up_0"),
            double(self.features, "up_1"),
            [pad, image, lambda x: jnp.tanh(x.astype(jnp.float32))],
        ]
        x = join_noise(source, noise, self.noise_channels)
        return run_layers(self, stages, x, taps=taps, encode_only=encode_only)
