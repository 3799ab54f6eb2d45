"""What the compared methods do, and the benchmark's words; no test looks at how long it took."""

import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks import gatys, traditional_transfer
from benchmarks.colour_transfer import from_lab, reinhard, sliced_transport, to_lab
from benchmarks.gatys import features, gram, optimise
from benchmarks.transfer_methods import methods

ROOT = Path(__file__).parents[2]


def picture(seed, height=24, width=32, *, centre=(128, 128, 128), spread=12):
    """Correlated colours around a centre, far from black and white."""
    rng = np.random.default_rng(seed)
    colours = rng.normal(size=(height, width, 3)) @ rng.normal(size=(3, 3)) * spread + centre
    return np.clip(np.rint(colours), 30, 225).astype(np.uint8)


def statistics(image):
    lab = to_lab(image)
    return np.stack([lab.mean(axis=(0, 1)), lab.std(axis=(0, 1))])


def sliced_distance(image, example):
    """Mean distance of sorted projections onto directions that the transport does not draw."""
    directions = np.random.default_rng(99).normal(size=(3, 64))
    directions /= np.linalg.norm(directions, axis=0)
    ours, theirs = (np.sort(i.reshape(-1, 3) @ directions, axis=0) for i in (image, example))
    return np.abs(ours - theirs).mean()


def test_l_alpha_beta_is_turned_back_and_grey_has_only_lightness():
    image = picture(0)
    np.testing.assert_array_equal(from_lab(to_lab(image)), image)
    grey = to_lab(np.full((1, 1, 3), 100, np.uint8))[0, 0]
    assert abs(grey[1]) < 0.01 and abs(grey[2]) < 0.01, "the rows of the LMS matrix add up to 1"
    assert grey[0] == pytest.approx(np.sqrt(3) * np.log10(100 / 255), abs=0.01)


def test_reinhard_gives_the_mean_and_deviation_of_the_example_in_l_alpha_beta():
    photo, example = picture(1, centre=(90, 120, 150)), picture(2, 20, 20, centre=(150, 120, 90))
    assert np.abs(statistics(photo) - statistics(example)).max() > 0.1
    after = statistics(reinhard(photo, example))
    np.testing.assert_allclose(after, statistics(example), atol=2e-3)


def test_reinhard_of_a_picture_in_its_own_colours_is_the_picture_even_without_deviation():
    photo = picture(3)
    np.testing.assert_array_equal(reinhard(photo, photo[::-1]), photo)
    flat = np.full((4, 4, 3), (40, 80, 120), np.uint8)
    np.testing.assert_array_equal(reinhard(flat, flat), flat)


def test_transport_onto_its_own_pixels_in_another_order_changes_nothing():
    photo = picture(4)
    shuffled = np.random.default_rng(0).permutation(photo.reshape(-1, 3)).reshape(photo.shape)
    np.testing.assert_array_equal(sliced_transport(photo, shuffled), photo)


def test_transport_comes_closer_to_the_distribution_with_each_few_rotations():
    photo, example = picture(5, centre=(90, 120, 150)), picture(6, centre=(150, 120, 90), spread=20)
    distances = [
        sliced_distance(sliced_transport(photo, example, iterations=count), example)
        for count in (0, 1, 3, 10)
    ]
    assert distances == sorted(distances, reverse=True) and distances[-1] < 0.03 * distances[0]


def test_one_rotation_reproduces_the_marginals_of_lightness_and_of_both_opponents():
    photo, example = picture(7, centre=(90, 120, 150)), picture(8, centre=(150, 120, 90))
    axes = np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]]).T
    after = sliced_transport(photo, example, iterations=1)
    ours, theirs = (np.sort(i.reshape(-1, 3) @ axes, axis=0) for i in (after, example))
    assert np.abs(ours - theirs).max() <= 4, "half a step of rounding in each channel, then sorted"


def test_transport_from_an_example_of_another_size_matches_quantiles():
    photo, example = picture(9, centre=(90, 120, 150)), picture(10, 20, 20, centre=(150, 120, 90))
    after = sliced_transport(photo, example)
    quantiles = np.linspace(0.05, 0.95, 10)
    ours, theirs = (np.quantile(i.reshape(-1, 3), quantiles, axis=0) for i in (after, example))
    assert np.abs(ours - theirs).max() < 6


def test_gram_matrices_know_no_places():
    image = np.asarray(jax.random.uniform(jax.random.key(0), (8, 12, 3)))
    flat = image.reshape(-1, 3)
    expected = sum(np.outer(pixel, pixel) for pixel in flat) / len(flat)
    np.testing.assert_allclose(gram(image), expected, rtol=1e-5)
    np.testing.assert_allclose(gram(image[::-1, ::-1]), expected, rtol=1e-5)


def test_optimising_lowers_the_loss_and_brings_the_style_nearer(monkeypatch):
    monkeypatch.setattr(gatys, "WIDTHS", (4, 8, 16))
    photo, example = (picture(seed, 16, 16) / np.float32(127.5) - 1 for seed in (11, 12))
    (_, first), (image, last) = (
        optimise(jax.random.key(0), photo, example, count) for count in (1, 60)
    )
    assert last < 0.5 * first
    assert np.abs(image).max() <= 1

    def style(image):
        return [
            np.abs(gram(f) - gram(g)).mean() for f, g in zip(features(image), wanted, strict=True)
        ]

    wanted = features(example)
    assert np.mean(style(image)) < 0.5 * np.mean(style(photo))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--look=sepia"], "argument --look: invalid choice: 'sepia' (choose from cross-process"),
        (["--example=chelsea"], "no example 'chelsea'; the photographs are astronaut, china"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(arguments, says, capsys):
    with pytest.raises(SystemExit) as stopped:
        traditional_transfer.main(arguments)
    out, err = capsys.readouterr()
    assert stopped.value.code == 2
    assert says.replace("'", "") in err.replace("'", "") and err.count("\n") == 1 and not out


@pytest.mark.slow
def test_started_by_its_path_it_prints_a_table_with_every_method(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks" / "traditional_transfer.py"), "--quick"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    table, _, machine = done.stdout.partition("\n\n")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert [row[0] for row in rows[3:]] == ["untouched input", *methods(quick=True)]
    assert {len(row) for row in rows} == {8}
    assert rows[0][4:6] == ["colour error, CIEDE2000", "colour error / input's"]
    assert rows[3][5] == "1.00" and rows[3][6] == "0.00"
    for name, seconds, first, memory, *figures in rows[4:]:
        assert float(seconds) >= 0 and float(first) >= 0 and float(memory) >= 0, name
        assert np.isfinite([float(figure) for figure in figures]).all(), name
    assert machine.startswith("Photographs: 1 of 16x16 pixels; look faded-print;")
