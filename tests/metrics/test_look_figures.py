import io
import math

import numpy as np
import pytest
from rich.console import Console
from scipy.ndimage import gaussian_filter

from retrojax.metrics.figure import figures_table
from retrojax.metrics.look import (
    LOOK_FIGURES,
    PhotoRenderings,
    add_ratio_to_lut,
    look_figures,
    mean_figures,
)

TONE = np.array([1.0, 0.9, 0.7], np.float32)


def renderings(output=None, sigma=0.03, target_sigma=0.03, oriented=False):
    rng = np.random.default_rng(0)
    source = gaussian_filter(rng.normal(size=(128, 128, 3)), (5, 5, 0))
    source = (0.5 + 0.25 * source / np.abs(source).max()).astype(np.float32)
    clean = source * TONE
    output = clean if output is None else output(source)

    def grainy(image, sigma, oriented=False):
        noise = rng.normal(size=image.shape)
        if oriented:
            noise = gaussian_filter(noise, (2.0, 0.0, 0))
        return np.clip(image + sigma * noise / noise.std(), 0, 1).astype(np.float32)

    return PhotoRenderings(
        source=source,
        output_a=grainy(output, sigma, oriented),
        output_b=grainy(output, sigma, oriented),
        mean_output=output,
        target_a=grainy(clean, target_sigma),
        target_b=grainy(clean, target_sigma),
        clean_target=clean,
    )


def test_the_look_itself_meets_every_goal():
    figures = look_figures(renderings())
    judged = {name: LOOK_FIGURES[name].met(value) for name, value in figures.items()}
    assert set(judged.values()) == {True, None}
    assert set(figures) <= set(LOOK_FIGURES)
    assert figures["grain_deviation_ratio"] == pytest.approx(1.0, abs=0.03)
    assert figures["structure_ssim"] == pytest.approx(1.0)


def test_the_untouched_input_misses_colour_and_grain():
    figures = look_figures(renderings(output=lambda source: source, sigma=0.0))
    assert figures["colour_ratio_to_input"] == pytest.approx(1.0)
    assert figures["grain_deviation_ratio"] == 0.0
    assert figures["grain_octave_db/1/4-1/2"] == -40.0
    assert math.isnan(figures["grain_isotropy_db"])
    missed = {name for name, value in figures.items() if LOOK_FIGURES[name].met(value) is False}
    assert {"colour_ratio_to_input", "grain_deviation_ratio", "grain_worst_octave_db"} <= missed


def test_half_the_grain_is_six_decibels_short_in_every_octave():
    figures = look_figures(renderings(sigma=0.015))
    assert figures["grain_deviation_ratio"] == pytest.approx(0.5, abs=0.02)
    for octave in ("1/4-1/2", "1/8-1/4"):
        assert figures[f"grain_octave_db/{octave}"] == pytest.approx(-6.0, abs=0.6)
    assert figures["grain_worst_octave_db"] == max(
        abs(figures[f"grain_octave_db/{octave}"]) for octave in ("1/4-1/2", "1/8-1/4")
    )


def test_oriented_grain_of_the_right_strength_is_caught():
    figures = look_figures(renderings(oriented=True))
    assert figures["grain_deviation_ratio"] == pytest.approx(1.0, abs=0.05)
    assert LOOK_FIGURES["grain_isotropy_db"].met(figures["grain_isotropy_db"]) is False


def test_a_look_without_grain_has_no_grain_ratio():
    figures = look_figures(renderings(sigma=0.0, target_sigma=0.0))
    assert math.isnan(figures["grain_deviation_ratio"])
    assert math.isnan(figures["grain_worst_octave_db"])
    assert LOOK_FIGURES["grain_deviation_ratio"].met(math.nan) is None


def test_mean_skips_what_has_no_meaning_and_takes_the_ratio_of_means():
    first = {"colour_error": 1.0, "colour_error_of_input": 2.0, "colour_ratio_to_input": 0.5}
    second = {"colour_error": 1.0, "colour_error_of_input": 8.0, "colour_ratio_to_input": 0.125}
    mean = mean_figures(
        [{**first, "grain_isotropy_db": 2.0}, {**second, "grain_isotropy_db": math.nan}]
    )
    assert mean["colour_ratio_to_input"] == pytest.approx(0.2)
    assert mean["grain_isotropy_db"] == 2.0
    assert math.isnan(mean_figures([{"grain_isotropy_db": math.nan}])["grain_isotropy_db"])
    with pytest.raises(ValueError, match="at least one photograph"):
        mean_figures([])


def test_ratio_to_lut_compares_systems():
    systems = {"LUT": {"colour_error": 2.0}, "GAN": {"colour_error": 3.0}}
    compared = add_ratio_to_lut(systems, "LUT")
    assert compared["LUT"]["colour_ratio_to_lut"] == 1.0
    assert compared["GAN"]["colour_ratio_to_lut"] == 1.5
    with pytest.raises(ValueError, match="'lut'; known: LUT, GAN"):
        add_ratio_to_lut(systems, "lut")


def test_table_shows_systems_goals_and_marks():
    systems = {
        "untouched input": {"colour_ratio_to_input": 1.0, "grain_isotropy_db": math.nan},
        "GAN": {"colour_ratio_to_input": 0.31, "grain_isotropy_db": 1.2},
    }
    console = Console(width=90, file=io.StringIO())
    console.print(figures_table(LOOK_FIGURES, systems, title="sepia"))
    lines = console.file.getvalue().splitlines()
    ratio = next(line for line in lines if "input's" in line)
    assert "\u2264 0.4" in ratio and "1.00 \u2717" in ratio and "0.31 \u2713" in ratio
    direction = next(line for line in lines if "directions" in line)
    assert "\u2013" in direction and "1.2 \u2713" in direction
    assert not any("SSIM" in line for line in lines)


@pytest.mark.parametrize("width", [64, 80, 120])
def test_no_system_is_dropped_from_a_narrow_table(width):
    names = ("untouched input", "LUT + noise", "adversarial off", "trained")
    values = {name: 0.123 + index for index, name in enumerate(names)}
    systems = {name: dict.fromkeys(LOOK_FIGURES, value) for name, value in values.items()}
    console = Console(width=width, file=io.StringIO())
    console.print(figures_table(LOOK_FIGURES, systems))
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    structure = next(line for line in lines if "structure" in line)
    assert structure.split()[-8:] == [
        "0.123",
        "\u2717",
        *"1.123 \u2713 2.123 \u2713 3.123 \u2713".split(),
    ]
