"""Per-pixel stages: closed forms, what they leave alone, and finite slopes beyond the range."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.film import tone as stages
from retrojax.film.colour import LUMINANCE
from retrojax.film.look import Exposure, Fade, Matrix, SplitTone, Tone, WhiteBalance

expose, balance, mix = jax.jit(stages.expose), jax.jit(stages.balance), jax.jit(stages.mix)
tone_curve, split_tone = jax.jit(stages.tone_curve), jax.jit(stages.split_tone)
fade, to_film, from_film = map(jax.jit, (stages.fade, stages.to_film, stages.from_film))

STAGES = {
    "expose": (expose, Exposure(stops=0.7)),
    "balance": (balance, WhiteBalance(warmth=0.5, tint=-0.3)),
    "mix": (mix, Matrix(red=(0.8, 0.3, -0.1), green=(0.1, 0.7, 0.2), blue=(0.0, 0.4, 0.6))),
    "tone_curve": (tone_curve, Tone(contrast=(0.5, 1.5, 4.0), black=(0.1, 0.0, 0.05))),
    "split_tone": (split_tone, SplitTone(shadows=(0.1, -0.1, 0.2), highlights=(0.0, 0.1, -0.2))),
    "fade": (fade, Fade(loss=(0.4, 0.2, 0.0), paper=(1.0, 0.9, 0.8))),
}


def pixel(*values):
    return jnp.asarray(np.asarray(values, np.float32).reshape(1, 1, 3))


def greys(values):
    """A column of grey pixels."""
    return jnp.asarray(np.tile(np.asarray(values, np.float32).reshape(-1, 1, 1), 3))


@pytest.fixture
def image():
    return jnp.asarray(np.random.default_rng(0).uniform(size=(4, 5, 3)).astype(np.float32))


@pytest.mark.parametrize("stops", [-2.0, 0.0, 1.0])
def test_exposure_doubles_light_with_every_stop(image, stops):
    np.testing.assert_allclose(expose(image, Exposure(stops=stops)), image * 2**stops, rtol=1e-6)


def test_white_balance_in_stops():
    warm = balance(pixel(1, 1, 1), WhiteBalance(warmth=2.0, tint=0.0))
    np.testing.assert_allclose(warm.ravel(), [2.0, 1.0, 0.5], rtol=1e-6)
    magenta = balance(pixel(1, 1, 1), WhiteBalance(warmth=0.0, tint=4.0))
    np.testing.assert_allclose(magenta.ravel(), [2.0, 0.25, 2.0], rtol=1e-6)


def test_matrix_rows_are_the_weights_of_the_output_channels():
    matrix = Matrix(red=(0.1, 0.2, 0.3), green=(0.4, 0.5, 0.6), blue=(0.7, 0.8, 0.9))
    rows = np.asarray([matrix.red, matrix.green, matrix.blue])
    colour = np.asarray([0.2, 0.5, 0.9])
    np.testing.assert_allclose(mix(pixel(*colour), matrix).ravel(), rows @ colour, rtol=1e-5)


def test_the_curve_is_the_formula_in_double_precision():
    tone = Tone(
        contrast=(0.6, 1.5, 3.0),
        pivot=(0.4, 0.6, 0.8),
        black=(0.1, 0.0, -0.1),
        white=(0.9, 1.0, 1.1),
    )
    v = np.linspace(0.01, 1.5, 40)
    got = np.asarray(tone_curve(greys(v), tone))
    for c in range(3):
        n, g = tone.contrast[c], tone.pivot[c]
        s = v**n * (1 + g**n) / (v**n + g**n)
        expected = tone.black[c] + (tone.white[c] - tone.black[c]) * s
        np.testing.assert_allclose(got[:, 0, c], expected, rtol=1e-5, atol=1e-6)


def test_the_curve_runs_from_black_to_white_and_always_rises():
    tone = Tone(black=(0.1, 0.2, 0.3), white=(0.9, 0.8, 0.7))
    np.testing.assert_allclose(tone_curve(pixel(0, 0, 0), tone).ravel(), tone.black, atol=1e-5)
    np.testing.assert_allclose(tone_curve(pixel(1, 1, 1), tone).ravel(), tone.white, rtol=1e-6)
    ramp = np.asarray(tone_curve(greys(np.linspace(0.001, 2.0, 60)), tone))
    assert (np.diff(ramp[:, 0], axis=0) > 0).all()
    # It ends in a shoulder: 1 + g^n is never passed.
    limit = 1 + 0.6**1.5
    assert tone_curve(pixel(1e4, 1e4, 1e4), Tone()).max() <= limit * 1.0001


def test_split_tone_leaves_luma_as_it_was(image):
    stage, split = STAGES["split_tone"]
    toned = stage(image, split)
    toned, image = np.asarray(toned), np.asarray(image)
    np.testing.assert_allclose(toned @ LUMINANCE, image @ LUMINANCE, atol=1e-6)
    assert np.abs(toned - image).max() > 0.02


def test_split_tone_tints_shadows_and_highlights_apart():
    split = SplitTone(shadows=(0.0, 0.0, 0.2), highlights=(0.2, 0.0, 0.0))
    black, white = split_tone(pixel(0, 0, 0), split), split_tone(pixel(1, 1, 1), split)
    blue, red = 0.2 * 0.0722, 0.2 * 0.2126  # The luma that is taken out again.
    np.testing.assert_allclose(black.ravel(), [-blue, -blue, 0.2 - blue], atol=1e-6)
    np.testing.assert_allclose(white.ravel(), [1.2 - red, 1 - red, 1 - red], atol=1e-6)


def test_the_film_holds_density_three_and_gives_back_what_it_was_given(image):
    np.testing.assert_allclose(-2.2 * np.log10(to_film(pixel(0, 0, 0))), 3.0, rtol=1e-5)
    np.testing.assert_allclose(
        to_film(pixel(1, 2, -1)).ravel(), [1.0, 1.0, 10 ** (-3.0 / 2.2)], rtol=1e-6
    )
    np.testing.assert_allclose(from_film(to_film(image)), image, atol=1e-6)


def test_fading_takes_a_fraction_of_each_channels_density():
    faded = fade(pixel(0.3, 0.3, 0.3), Fade(loss=(0.5, 0.25, 0.0)))
    density = lambda x: -2.2 * np.log10(to_film(x)).ravel()  # noqa: E731
    before, after = density(pixel(0.3, 0.3, 0.3)), density(faded)
    np.testing.assert_allclose(after / before, [0.5, 0.75, 1.0], rtol=1e-4)


def test_fading_leaves_white_to_the_paper_and_total_loss_leaves_nothing_else():
    paper = (0.98, 0.94, 0.85)
    np.testing.assert_allclose(fade(pixel(1, 1, 1), Fade(paper=paper)).ravel(), paper, rtol=1e-6)
    gone = fade(pixel(0.0, 0.4, 0.9), Fade(loss=(1.0, 1.0, 1.0), paper=paper))
    np.testing.assert_allclose(gone.ravel(), paper, rtol=1e-6)


@pytest.mark.parametrize(
    ("stage", "neutral"),
    [
        (expose, Exposure()),
        (balance, WhiteBalance()),
        (mix, Matrix()),
        (tone_curve, Tone(contrast=(1.0, 1.0, 1.0), pivot=(1e4, 1e4, 1e4))),
        (split_tone, SplitTone()),
        (fade, Fade(loss=(0.0, 0.0, 0.0))),
    ],
)
def test_each_stage_has_a_setting_that_changes_nothing(image, stage, neutral):
    np.testing.assert_allclose(stage(image, neutral), image, atol=2e-4)


@pytest.mark.parametrize("name", STAGES)
def test_a_pixel_depends_on_itself_alone(image, name):
    stage, settings = STAGES[name]
    order = np.random.default_rng(0).permutation(20)
    shuffle = lambda x: jnp.asarray(np.asarray(x).reshape(20, 1, 3)[order])  # noqa: E731
    np.testing.assert_allclose(
        stage(shuffle(image), settings), shuffle(stage(image, settings)), rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize("name", STAGES)
def test_slopes_are_finite_within_and_beyond_the_range(name):
    stage, settings = STAGES[name]
    places = greys([-0.5, 0.0, 1e-6, 0.5, 1.0, 3.0])
    slopes = jax.jit(jax.grad(lambda x, s: stage(x, s).sum(), argnums=(0, 1)))
    gradients = slopes(places, settings)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
