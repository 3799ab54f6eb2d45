"""The study of recognition: a clean split, 10 labels a digit, paired intervals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn.svm import SVC

from experiments import recognition
from experiments.discriminator_features import (
    GRID,
    RIDGE,
    averaged,
    discriminators,
    features,
    maxima,
    task,
    whitened,
)
from experiments.recognition import (
    ALL_LABELS,
    FEATURES,
    RAW,
    RAW_WHITENED,
    SUPERVISED,
    UNTRAINED,
    accuracy,
    draw_labelled,
    examples,
    interval,
    linear,
    split,
    study,
    table,
)
from retrojax.data.embedded import digits

LABELS = digits()[1]


@pytest.fixture(scope="module")
def data():
    return examples()


def test_the_split_is_disjoint_whole_and_fixed():
    train, test = split(LABELS)
    assert sorted([*train, *test]) == list(range(len(LABELS)))
    again = split(LABELS)
    assert np.array_equal(train, again[0]) and np.array_equal(test, again[1])


def test_every_digit_has_the_same_share_of_the_test_images():
    train, test = split(LABELS)
    for digit in range(10):
        held_out, all_of_it = (LABELS[test] == digit).sum(), (LABELS == digit).sum()
        assert abs(held_out - 0.2 * all_of_it) <= 1


def test_settings_are_chosen_without_the_test_images(data):
    within = examples(validate=True)
    assert len(within.train) + len(within.test) == len(data.train)
    known = {image.tobytes() for image in data.train}
    assert {image.tobytes() for image in (*within.train, *within.test)} <= known


def test_ten_labels_of_every_digit_are_drawn_without_repetition_and_anew():
    labels = LABELS[split(LABELS)[0]]
    chosen = draw_labelled(labels, 3)
    assert len(set(chosen)) == 100
    assert np.bincount(labels[chosen]).tolist() == [10] * 10
    assert np.array_equal(chosen, draw_labelled(labels, 3))
    assert set(chosen) != set(draw_labelled(labels, 4))


def test_the_interval_is_student_s():
    gains = [1.0, 2.0, 4.0, 3.5, -0.5]
    expected = stats.ttest_1samp(gains, 0.0).confidence_interval(0.95)
    found = interval(gains)
    assert found.mean == pytest.approx(2.0)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_gains_are_paired_by_seed():
    raw, better = [80.0, 90.0, 85.0], [83.0, 92.0, 89.0]
    found = {RAW: raw, FEATURES: better, SUPERVISED: better[:2], ALL_LABELS: [97.0]}
    by_name = {line.split(" | ")[0].lstrip("| "): line for line in table(found).splitlines()}
    paired = stats.ttest_rel(better, raw).confidence_interval(0.95)
    assert f"| +3.0 | {paired.low:+.1f} to {paired.high:+.1f} |" in by_name[FEATURES]
    assert "| 2 | 87.5 |" in by_name[SUPERVISED] and "| +2.5 |" in by_name[SUPERVISED]
    assert by_name[RAW].endswith("| – | – |")
    assert by_name[ALL_LABELS].endswith("| one fit | 97.0 | – | – | – |")


def test_a_wide_classifier_in_the_span_of_its_examples_is_the_same_classifier():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3, dtype=np.uint8), 10)
    train, test = rng.normal(size=(2, 30, 50)) + labels[:, None] * rng.normal(size=50) * 0.5
    search = linear()
    found = accuracy(search, train, labels, test, labels)
    same = SVC(kernel="linear", C=search.best_params_["C"]).fit(train, labels)
    assert found == pytest.approx(100 * same.score(test, labels))


def test_maxima_are_those_of_both_layers_on_a_grid(data):
    network = task().discriminator
    variables = network.init(jax.random.key(0), jnp.zeros((1, 16, 16, 1)))
    first, second = maxima(variables, data.test[:3])
    assert first.shape == (3, 64 * GRID**2)
    last = network.apply(variables, jnp.asarray(data.test[:3]) / 127.5 - 1, method="features")
    np.testing.assert_allclose(second, last, atol=1e-5)


def test_features_are_averaged_over_moves_in_both_directions():
    image = np.zeros((1, 5, 5, 1))
    image[0, 1, 2] = 9.0
    (found,) = averaged(lambda x: [x], image, 1)
    expected = np.zeros((5, 5))
    expected[0:3, 1:4] = 1.0
    np.testing.assert_allclose(found[0, :, :, 0], expected)


def test_moves_bring_black_in_and_take_out_what_leaves():
    image = np.ones((1, 3, 3, 1))
    (found,) = averaged(lambda x: [x], image, 1)
    np.testing.assert_allclose(found[0, :, :, 0] * 9, [[4, 6, 4], [6, 9, 6], [4, 6, 4]])


def test_whitening_divides_each_component_by_the_root_of_its_variance_and_the_ridge():
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(2, 40, 6)) * [8, 4, 2, 1, 0.5, 0.1] + 3.0
    known, asked = whitened(train, test)
    covariance = np.cov(train.T, bias=True)
    ridge = RIDGE * np.trace(covariance) / 6 * np.eye(6)
    shrunk = np.linalg.inv(covariance + ridge)  # products of whitened examples use this metric
    centred, also = train - train.mean(0), test - train.mean(0)
    np.testing.assert_allclose(asked @ known.T, also @ shrunk @ centred.T, atol=1e-9)


@pytest.mark.slow
def test_features_are_wide_finite_and_fitted_to_the_training_images_alone(data):
    network = task().discriminator
    variables = network.init(jax.random.key(0), jnp.zeros((1, 16, 16, 1)))
    known, asked = features(variables, data.train[:20], data.test[:4])
    again, one = features(variables, data.train[:20], data.test[:1])
    assert known.shape[1] == asked.shape[1] and np.isfinite(asked).all()
    np.testing.assert_allclose(again, known, atol=1e-5)
    np.testing.assert_allclose(one[0], asked[0], atol=1e-5)


@pytest.mark.slow
def test_a_seed_gives_a_discriminator_before_and_after_training(data):
    untrained, trained = discriminators(data.train, seed=0, steps=1)
    before, after = (np.concatenate(maxima(d, data.test[:3]), axis=1) for d in (untrained, trained))
    assert np.isfinite(after).all() and not np.allclose(before, after)


@pytest.mark.slow
def test_the_study_gives_every_seed_to_every_classifier(data):
    few = recognition.Examples(*(part[:400] for part in data))
    found = study(few, seeds=2, steps=1, gans=1, supervised_steps=2)
    assert len(found.pop(ALL_LABELS)) == 1
    assert set(found) >= {RAW, FEATURES, UNTRAINED, RAW_WHITENED, SUPERVISED}
    assert all(len(values) == 2 for values in found.values())
    assert all(0 <= value <= 100 for values in found.values() for value in values)
