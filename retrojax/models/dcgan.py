"""`DCGANGenerator` and `DCGANDiscriminator`: the DCGAN for images of 64x64 pixels.

Radford et al. 2016 (arXiv:1511.06434), layer by layer as PyTorch's example (`examples/dcgan`):
4x4 convolutions without biases, kernels N(0, 0.02), batch norms with weights N(1, 0.02).
"""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from retrojax.models.layers import Conv, ConvTranspose, leaky_relu, make_norm


class DCGANGenerator(nn.Module):
    """Noise -> 64x64 image: transposed convolutions from 1x1 over 4, 8, 16, 32 to 64, tanh.

    Widths features * 8, 4, 2, 1; BatchNorm and ReLU after each but the last.

    Attributes:
        features: width of the last map before the image.
        channels: of the image.
        latent_size: length of z.
        axis_name: mapped axis for the batch norm's statistics (`pmap`); None = none.
        dtype: computation type; parameters and the image are float32.
    """

    features: int = 64
    channels: int = 3
    latent_size: int = 100
    axis_name: str | None = None
    dtype: Any = None

    @nn.compact
    def __call__(
        self, z: Float[Array, "b latent"], *, train: bool = False
    ) -> Float[Array, "b 64 64 c"]:
        """Makes images.

        Args:
            z: standard normal, [b, latent_size].
            train: batch norm uses and updates the batch's statistics.

        Returns:
            Images in [-1, 1], float32.
        """
        norm = make_norm("batch", train=train, dtype=self.dtype, axis_name=self.axis_name)
        options = {"use_bias": False, "dtype": self.dtype}
        x = z[:, None, None, :]
        for i, width in enumerate((8, 4, 2, 1)):
            stride, padding = (2, 1) if i else (1, 0)
            width *= self.features
            x = ConvTranspose(width, 4, stride, padding, name=f"up_{i}", **options)(x)
            x = nn.relu(norm(f"norm_{i}")(x))
        x = ConvTranspose(self.channels, 4, 2, 1, name="image", **options)(x)
        return jnp.tanh(x.astype(jnp.float32))


class DCGANDiscriminator(nn.Module):
    """64x64 image -> one logit: four convolutions of stride 2 and one over the 4x4 map they leave.

    Widths features * 1, 2, 4, 8; LeakyReLU 0.2 after each but the last; BatchNorm before it on all
    but the first.

    Attributes:
        width: of the first map; not called `features`, as elsewhere, because that is a method here.
        axis_name: mapped axis for the batch norm's statistics (`pmap`); None = none.
        dtype: computation type; parameters and logits are float32.
    """

    width: int = 64
    axis_name: str | None = None
    dtype: Any = None

    def setup(self) -> None:
        """Makes the last layer, which `features` is without."""
        self.logits = Conv(1, 4, 1, "valid", use_bias=False, dtype=self.dtype)

    def __call__(
        self, images: Float[Array, "b h w c"], *, train: bool = False
    ) -> Float[Array, "b"]:
        """Judges images.

        Args:
            images: in [-1, 1], 64x64 pixels.
            train: batch norm uses and updates the batch's statistics.

        Returns:
            Raw logits, one for each image, float32.

        Raises:
            ValueError: for images of another size.
        """
        last = self.features(images, train=train).reshape(len(images), 4, 4, -1)
        return self.logits(last)[:, 0, 0, 0].astype(jnp.float32)

    @nn.compact
    def features(
        self, images: Float[Array, "b h w c"], *, train: bool = False
    ) -> Float[Array, "b n"]:
        """What the last layer is given: `module.apply(variables, images, method="features")`.

        Args:
            images: in [-1, 1], 64x64 pixels.
            train: batch norm uses and updates the batch's statistics.

        Returns:
            The 4x4 map, flattened: n = 128 width, in the computation type.

        Raises:
            ValueError: for images of another size.
        """
        height, width = images.shape[1:3]
        if (height, width) != (64, 64):
            raise ValueError(
                f"the DCGAN discriminator takes images of 64x64 pixels, got {height}x{width}; "
                "crop or resize the images"
            )
        norm = make_norm("batch", train=train, dtype=self.dtype, axis_name=self.axis_name)
        x = images
        for i in range(4):
            conv = Conv(self.width * 2**i, 4, 2, 1, False, self.dtype, name=f"conv_{i}")
            x = conv(x)
            x = leaky_relu(norm(f"norm_{i}")(x) if i else x)
        return x.reshape(len(x), -1)
