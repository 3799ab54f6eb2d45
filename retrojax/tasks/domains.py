"""Two domains without pairs: from raw squares to images of a source and of a target domain."""

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt8

from retrojax.film import Look
from retrojax.tasks.augmentation import centre_crop, flip_each, render_each, vary_colours


@dataclass(frozen=True)
class Domains:
    """How raw squares become images to learn from.

    Attributes:
        crop: side in pixels; raw squares may be larger.
        look: given to the target domain's images, which are then photographs themselves; None =
            they are taken as they are. Colours of both domains are varied before, and freed of
            what the few pictures are of: a critic would take that for the look.
        pixels_per_mm: resolution of the photographs on a 24x36 mm frame, for the look.
        flip: whether images are mirrored at random, each for itself.
    """

    crop: int
    look: Look | None = None
    pixels_per_mm: float = 512 / 36
    flip: bool = True

    def prepare(
        self, raw: Mapping[str, UInt8[Array | np.ndarray, "b side side 3"]], key: Key[Array, ""]
    ) -> dict[str, Float[Array, "b crop crop 3"]]:
        """Flips, varies colours and renders the look if there is one, crops, scales to [-1, 1].

        Args:
            raw: "source" and "target", unrelated: uint8, side >= crop.
            key: of this step's preparation.
        """
        batch = {}
        for name, side_key in zip(("source", "target"), jax.random.split(key), strict=True):
            flip_key, colour_key, render_key = jax.random.split(side_key, 3)
            images = jnp.asarray(raw[name], jnp.float32) / 255.0
            if self.flip:
                images = flip_each(flip_key, {name: images})[name]
            if self.look is not None:
                images = vary_colours(colour_key, images, unbiased=True)
                if name == "target":
                    images = self.render(render_key, images)
            batch[name] = centre_crop(images, self.crop) * 2.0 - 1.0
        return batch

    def render(self, key: Key[Array, ""], images: Float[Array, "b h w 3"]) -> Array:
        """The look on photographs in [0, 1]."""
        assert self.look is not None
        return render_each(key, images, look=self.look, pixels_per_mm=self.pixels_per_mm)
