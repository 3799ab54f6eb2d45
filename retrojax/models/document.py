"""The networks of the project's source document: small players for images of 28 or 32 pixels.

Its code is a DCGAN in Keras (that of TensorFlow's DCGAN tutorial, for colour images); its prose
describes a fully connected discriminator. Here they are layer by layer, with Keras's defaults:
kernels start as `glorot_uniform` and biases as 0, LeakyReLU has slope 0.3, BatchNorm momentum 0.99
and epsilon 1e-3, its running variance is the biased one (as in Keras 3).
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from retrojax.models.layers import Conv, ConvTranspose, Dropout

GLOROT = nn.initializers.glorot_uniform()


def _leaky_relu(x: Array) -> Array:
    return nn.leaky_relu(x, 0.3)


class DocumentGenerator(nn.Module):
    """Noise -> image: a dense layer, then transposed 5x5 convolutions of stride 1, 2, 2, tanh.

    Each but the last is followed by BatchNorm and LeakyReLU; none has a bias. Widths 256, 128, 64.

    Attributes:
        base: side of the first map in pixels; images have 4 base (7: 28, 8: 32).
        channels: of the image.
        axis_name: mapped axis for the batch norm's statistics (`pmap`); None = none.
        dtype: computation type; parameters and the image are float32.
        latent_size: length of z.
    """

    base: int = 7
    channels: int = 3
    axis_name: str | None = None
    dtype: Any = None
    latent_size: int = 100

    @nn.compact
    def __call__(
        self, z: Float[Array, "b latent"], *, train: bool = False
    ) -> Float[Array, "b h w c"]:
        """Makes images.

        Args:
            z: standard normal, [b, latent_size].
            train: batch norm uses and updates the batch's statistics.

        Returns:
            Images in [-1, 1], [b, 4 base, 4 base, channels], float32.
        """
        options = {"use_bias": False, "kernel_init": GLOROT, "dtype": self.dtype}

        def activate(x: Array, name: str) -> Array:
            norm = nn.BatchNorm(
                use_running_average=not train,
                momentum=0.99,
                epsilon=1e-3,
                dtype=self.dtype,
                axis_name=self.axis_name,
                use_fast_variance=False,
                name=f"{name}_norm",
            )
            return _leaky_relu(norm(x))

        x = nn.Dense(self.base * self.base * 256, name="dense", **options)(z)
        # One mean for every unit, not for every channel: the norm comes before the reshape.
        x = activate(x, "dense").reshape(-1, self.base, self.base, 256)
        x = activate(ConvTranspose(128, 5, 1, name="up_0", **options)(x), "up_0")
        x = activate(ConvTranspose(64, 5, 2, name="up_1", **options)(x), "up_1")
        x = ConvTranspose(self.channels, 5, 2, name="image", **options)(x)
        return jnp.tanh(x.astype(jnp.float32))


class DocumentDiscriminator(nn.Module):
    """Image -> one logit: two 5x5 convolutions of stride 2 (64, 128 wide), a dense layer.

    LeakyReLU and dropout follow each convolution; every layer has a bias, there is no norm.

    Attributes:
        dropout: rate; takes the stream "dropout" when training.
        dtype: computation type; parameters and logits are float32.
    """

    dropout: float = 0.3
    dtype: Any = None

    def setup(self) -> None:
        """Makes the last layer, which `features` is without."""
        self.logits = nn.Dense(1, kernel_init=GLOROT, dtype=self.dtype)

    def __call__(
        self, images: Float[Array, "b h w c"], *, train: bool = False
    ) -> Float[Array, "b"]:
        """Judges images.

        Args:
            images: in [-1, 1], of the size that the parameters were made for.
            train: dropout is on.

        Returns:
            Raw logits, one for each image, float32.
        """
        logits = self.logits(self.features(images, train=train))
        return logits[:, 0].astype(jnp.float32)

    @nn.compact
    def features(
        self, images: Float[Array, "b h w c"], *, train: bool = False
    ) -> Float[Array, "b n"]:
        """What the last layer is given: `module.apply(variables, images, method="features")`.

        Args:
            images: in [-1, 1].
            train: dropout is on.

        Returns:
            The last map, flattened: n = 128 ceil(h / 4) ceil(w / 4), in the computation type.
        """
        x = images
        for i, width in enumerate((64, 128)):
            conv = Conv(width, 5, 2, kernel_init=GLOROT, dtype=self.dtype, name=f"conv_{i}")
            x = Dropout(self.dropout, name=f"dropout_{i}")(_leaky_relu(conv(x)), train=train)
        return x.reshape(len(x), -1)


class FullyConnectedDiscriminator(nn.Module):
    """Anything -> one logit: flattens, a dense layer and LeakyReLU for every width, a dense layer.

    Attributes:
        widths: of the hidden layers.
        slope: of the LeakyReLU below 0.
    """

    widths: Sequence[int] = (512, 256)
    slope: float = 0.3

    @nn.compact
    def __call__(self, x: Float[Array, "b *shape"], *, train: bool = False) -> Float[Array, "b"]:
        """Judges examples.

        Args:
            x: images, points or anything else of the shape that the parameters were made for.
            train: nothing here depends on it.

        Returns:
            Raw logits, one for each example, float32.
        """
        x = x.reshape(len(x), -1)
        for i, width in enumerate(self.widths):
            x = nn.leaky_relu(nn.Dense(width, kernel_init=GLOROT, name=f"dense_{i}")(x), self.slope)
        logits = nn.Dense(1, kernel_init=GLOROT, name="logits")(x)
        return logits[:, 0].astype(jnp.float32)


def discriminator_probability(logits: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The document's "probability that the image is real": sigmoid of the logits.

    Args:
        logits: of any shape and float type.

    Returns:
        Numbers in (0, 1), float32; above a logit of about 17 they round to 1.
    """
    return jax.nn.sigmoid(logits.astype(jnp.float32))
