import numpy as np
import pytest

from benchmarks.ratios import ratios, spread


def test_rounds_in_short():
    found = spread([3.0, 1.0, 2.0, 10.0, 2.5])
    assert (found.median, found.least, found.most) == (2.5, 1.0, 10.0)
    assert found.least <= found.low <= found.median <= found.high <= found.most


def test_equal_rounds_leave_no_doubt_and_the_same_rounds_give_the_same_interval():
    assert spread([2.0] * 7) == (2.0,) * 5
    rounds = [1.0, 1.1, 0.9, 1.3, 0.8]
    assert spread(rounds) == spread(rounds)


def test_the_interval_of_medians_narrows_with_more_rounds_and_covers_the_truth():
    rng = np.random.default_rng(0)
    few, many = (spread(rng.normal(1.0, 0.1, n)) for n in (7, 200))
    assert many.high - many.low < few.high - few.low
    assert all(one.low < 1.0 < one.high for one in (few, many))


def test_a_slow_spell_that_meets_both_systems_does_not_move_the_ratio():
    assert ratios([1.0, 10.0, 1.0], [2.0, 20.0, 2.0]) == (0.5,) * 5


def test_rounds_without_a_partner_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="no rounds"):
        ratios([], [])
