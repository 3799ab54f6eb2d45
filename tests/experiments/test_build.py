"""From a configuration to the objects of a run."""

from dataclasses import replace

import pytest

from experiments.build import build_task
from experiments.presets import preset


@pytest.mark.parametrize(
    "name", ["look", "document", "pix2pix", "cyclegan", "cut", "retro-unpaired"]
)
def test_every_task_shows_its_critic_augmented_images_if_asked(name):
    config = preset(name)
    assert not build_task(config).adversary.augment
    assert build_task(replace(config, augment="default")).adversary.augment == "default"
    with pytest.raises(ValueError, match="unknown augmentation 'colour'"):
        build_task(replace(config, augment="colour"))
