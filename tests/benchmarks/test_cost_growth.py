"""How costs grow: fitted exponents, and a measured step."""

import platform

import jax
import numpy as np
import pytest

from benchmarks.cost_growth import GROWTH, changed, draw, exponent, lines, main, measured
from benchmarks.report import versions
from experiments.presets import preset


def test_the_exponent_is_that_of_a_power_law():
    x = np.asarray([1.0, 2.0, 5.0])
    assert exponent(x, 3 * x**1.7) == pytest.approx(1.7)


@pytest.mark.parametrize("what", GROWTH)
def test_one_thing_grows_and_every_size_is_a_configuration(what):
    config = preset("look")
    for factor in GROWTH[what]:
        grown = changed(config, what, factor)
        assert (grown == config) == (factor == 1)


@pytest.mark.slow
def test_a_step_has_every_figure():
    found = measured(preset("tiny"), steps=1)
    assert all(value > 0 for value in found.values())


def test_the_plot_and_the_table_show_all_of_it(tmp_path):
    figures = {"milliseconds": [1.0, 2.0, 4.0], "megabytes": [1.0, 1.5, 2.0]}
    figures["gigaflops"] = [1.0, 4.0, 16.0]
    growth = {what: {what: [1.0, 2.0, 4.0], **figures} for what in GROWTH}
    report = {"preset": "tiny", "device": "cpu", "versions": versions(), "growth": growth}
    report["load_average"] = (0.0, 0.0, 0.0)
    draw(report, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    text = dict(lines(report))
    assert text["  gigaflops"].endswith("1, 4, 16: exponent 2.00")
    assert text["versions"].startswith(
        f"python {platform.python_version()}, jax {jax.__version__}, "
    )


def test_a_plot_in_no_folder_is_one_line_and_exit_code_2(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--plot=no/where.png"])
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
