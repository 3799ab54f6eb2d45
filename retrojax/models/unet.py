"""`UNetGenerator`: the translation generator of pix2pix, with an optional noise input.

Isola et al. 2017 (arXiv:1611.07004), layer by layer as the authors' PyTorch code
(`UnetGenerator`), whose defaults these are: there dropout acts on levels 5 .. levels - 1 and a
skip comes before what it meets. (The paper's own Lua code differs in both.)
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
    join_noise,
    leaky_relu,
    make_norm,
)
from retrojax.models.stages import run_stage


class UNetGenerator(nn.Module):
    """`levels` halvings down to the bottom and as many doublings up, with skips between.

    Level l has features * 1, 2, 4, 8, 8 ... channels on its way down.

    Attributes:
        features: width of the first level.
        levels: halvings; 8 for 256 pixels, 7 for 128.
        norm: "instance", "batch" or "none"; inner convolutions have a bias only with "instance".
        dropout: rate on the way up in levels 5 .. levels - 1; takes the stream "dropout" when
            training.
        noise_channels: channels of the noise input; 0 = takes no noise.
        dtype: computation type; parameters and the image are float32.
        out_channels: channels of the image.
        axis_name: mapped axis for the batch norm's statistics (`pmap`); None = none.
        remat: whether stages keep no activations, see `models.stages`.
    """

    features: int = 64
    levels: int = 8
    norm: str = "batch"
    dropout: float = 0.5
    noise_channels: int = 0
    dtype: Any = None
    out_channels: int = 3
    axis_name: str | None = None
    remat: bool = False

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
            source: in [-1, 1]; height and width multiples of 2^levels.
            noise: standard normal, `noise_channels` channels; None if that is 0.
            train: dropout is on, "batch" norm uses and updates the batch's statistics.

        Returns:
            Images in [-1, 1], float32.

        Raises:
            ValueError: for another size, noise that does not fit, or an unknown norm.
        """
        height, width = source.shape[1:3]
        multiple = 2**self.levels
        if height % multiple or width % multiple:
            raise ValueError(
                f"a U-Net of {self.levels} levels takes heights and widths that are multiples of "
                f"{multiple}, got {height}x{width}; crop or pad the images, or use fewer levels"
            )
        norm = make_norm(self.norm, train=train, dtype=self.dtype, axis_name=self.axis_name)
        options = {"use_bias": biased(self.norm), "dtype": self.dtype}
        widths = [self.features * min(2**level, 8) for level in range(self.levels)]

        def down(level: int, x: Array) -> Array:
            x = leaky_relu(x) if level > 1 else x
            x = Conv(widths[level - 1], 4, 2, 1, name=f"down_{level}", **options)(x)
            return norm(f"down_{level}_norm")(x) if 1 < level < self.levels else x

        def up(level: int, *parts: Array) -> Array:
            x = nn.relu(jnp.concatenate(parts, -1))
            x = ConvTranspose(widths[level - 2], 4, 2, 1, name=f"up_{level}", **options)(x)
            x = norm(f"up_{level}_norm")(x)
            if 5 <= level < self.levels:
                x = Dropout(self.dropout, name=f"up_{level}_dropout")(x, train=train)
            return x

        def image(*parts: Array) -> Array:
            x = nn.relu(jnp.concatenate(parts, -1))
            x = ConvTranspose(self.out_channels, 4, 2, 1, dtype=self.dtype, name="image")(x)
            return jnp.tanh(x.astype(jnp.float32))

        x = join_noise(source, noise, self.noise_channels)
        skips = []
        for level in range(1, self.levels + 1):
            x = run_stage(self, partial(down, level), x)
            skips.append(x)
        # The bottom has no skip: it is where the way up starts.
        parts = [skips.pop()]
        for level in range(self.levels, 1, -1):
            x = run_stage(self, partial(up, level), *parts)
            parts = [skips.pop(), x]
        return run_stage(self, image, *parts)
