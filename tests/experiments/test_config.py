"""A configuration is complete, validated when built, and restored from its JSON."""

import json

import pytest

from experiments.config import MAY_CHANGE, LookConfig, as_dict
from experiments.presets import PRESETS, preset


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("steps", 0, "--steps must be at least 1, not 0"),
        ("batch_size", -4, "--batch-size must be at least 1, not -4"),
        ("crop", 8, "--crop must be at least 16, not 8"),
        ("learning_rate", 0.0, "--learning-rate must be above 0, not 0.0"),
        ("learning_rate", float("nan"), "--learning-rate must be above 0, not nan"),
        ("adversarial_weight", -1.0, "--adversarial-weight must be at least 0, not -1.0"),
        ("b1", 1.0, r"--b1 must lie in \[0, 1\), not 1.0"),
        ("seed", -1, "--seed must be at least 0, not -1"),
        ("blurred_l1_weight", 0.0, "--blurred-l1-weight must be above 0 for --generator=look"),
    ],
)
def test_a_value_out_of_range_is_named_with_its_flag_and_its_bound(field, value, message):
    with pytest.raises(ValueError, match=message):
        LookConfig(**{field: value})


def test_a_generator_with_nothing_to_learn_from_is_refused():
    with pytest.raises(ValueError, match="are all 0"):
        LookConfig(generator="unet", adversarial_weight=0.0, blurred_l1_weight=0.0)


def test_what_is_written_to_a_file_reproduces_the_configuration():
    config = LookConfig(look="noir", r1=0.5, steps=7)
    assert LookConfig(**json.loads(json.dumps(as_dict(config)))) == config


def test_what_may_change_on_resume_are_fields():
    assert MAY_CHANGE <= as_dict(LookConfig()).keys()


def test_the_default_folder_tells_runs_apart():
    folders = {
        LookConfig(preset=p, loss=loss, look=look, seed=seed).folder
        for p in ("look", "tiny")
        for loss in ("bce", "lsgan")
        for look in ("noir", "sepia")
        for seed in (0, 1)
    }
    assert len(folders) == 16


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_knows_its_own_name(name):
    """Its name is part of the folder: two presets must not share one."""
    assert preset(name).preset == name


def test_an_unknown_preset_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown preset 'big'; choose one of look, tiny"):
        preset("big")
