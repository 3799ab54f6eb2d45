"""`ResNetGenerator`: the translation generator of CycleGAN, with an optional noise input.

Johnson et al. 2016 (arXiv:1603.08155) as adapted by Zhu et al. 2017 (arXiv:1703.10593), layer by
layer as the authors' PyTorch code (`ResnetGenerator`), whose defaults these are.
"""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from retrojax.models.layers import (
    Conv,
    ConvTranspose,
    Dropout,
    biased,
    join_noise,
    make_norm,
    reflect_pad,
)


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
    """

    features: int = 64
    blocks: int = 9
    norm: str = "instance"
    dropout: float = 0.0
    noise_channels: int = 0
    dtype: Any = None
    out_channels: int = 3
    axis_name: str | None = None

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
            source: in [-1, 1]; height and width multiples of 4, 8 or more.
            noise: standard normal, `noise_channels` channels; None if that is 0.
            train: dropout is on, "batch" norm uses and updates the batch's statistics.

        Returns:
            Images in [-1, 1], float32.

        Raises:
            ValueError: for another size, noise that does not fit, or an unknown norm.
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

        def halve(x: Array, features: int, name: str) -> Array:
            return nn.relu(norm(f"{name}_norm")(Conv(features, 3, 2, 1, name=name, **options)(x)))

        def double(x: Array, features: int, name: str) -> Array:
            x = ConvTranspose(features, 3, 2, ((1, 0), (1, 0)), name=name, **options)(x)
            return nn.relu(norm(f"{name}_norm")(x))

        def residual(x: Array, name: str) -> Array:
            conv = Conv(x.shape[-1], 3, 1, "valid", name=f"{name}_conv_0", **options)
            y = nn.relu(norm(f"{name}_norm_0")(conv(reflect_pad(x, 1))))
            y = Dropout(self.dropout, name=f"{name}_dropout")(y, train=train)
            conv = Conv(x.shape[-1], 3, 1, "valid", name=f"{name}_conv_1", **options)
            return norm(f"{name}_norm_1")(conv(reflect_pad(y, 1)))

        x = join_noise(source, noise, self.noise_channels)
        x = Conv(self.features, 7, 1, "valid", name="stem", **options)(reflect_pad(x, 3))
        x = nn.relu(norm("stem_norm")(x))
        x = halve(x, 2 * self.features, "down_0")
        x = halve(x, 4 * self.features, "down_1")
        for i in range(self.blocks):
            # No ReLU after the sum.
            x = x + residual(x, f"block_{i}")
        x = double(x, 2 * self.features, "up_0")
        x = double(x, self.features, "up_1")
        x = Conv(self.out_channels, 7, 1, "valid", dtype=self.dtype, name="image")(
            reflect_pad(x, 3)
        )
        return jnp.tanh(x.astype(jnp.float32))
