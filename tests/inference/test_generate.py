"""Which models make images from noise, and what is said of the others."""

import pytest

from retrojax.inference.bundle import Bundle
from retrojax.inference.generate import generate
from retrojax.models import LookGenerator, PatchDiscriminator, R3GANGenerator


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (LookGenerator(), "a LookGenerator changes photographs .*use retrojax stylize"),
        (PatchDiscriminator(), "a PatchDiscriminator judges images and makes none"),
        (R3GANGenerator(widths=(8, 8), classes=5), "R3GANGenerator makes images of 5 classes"),
    ],
)
def test_a_model_that_makes_no_images_from_noise_alone_is_refused(module, message):
    with pytest.raises(ValueError, match=message):
        generate(Bundle(module=module, variables={}, about={}), count=1, seed=0)
