"""The table of looks and the pytree a look is."""

import dataclasses

import jax
import numpy as np
import pytest

from retrojax.film import LOOKS, POSITIONED, Look, look
from retrojax.film.look import Exposure, Grain


def test_a_look_is_found_by_its_name():
    assert all(look(name) is LOOKS[name] for name in LOOKS)
    assert len(LOOKS) == 9


def test_an_unknown_look_lists_the_known_ones():
    names = ", ".join(LOOKS)
    with pytest.raises(ValueError, match=f"unknown look 'vhs'; the looks are {names}"):
        look("vhs")


def test_the_table_is_closed():
    with pytest.raises(TypeError):
        LOOKS["mine"] = Look()  # pyright: ignore


def test_every_look_does_something_and_no_two_do_the_same():
    assert Look() not in LOOKS.values()
    assert len(set(map(repr, LOOKS.values()))) == len(LOOKS)


def test_every_number_of_a_look_is_a_leaf_and_a_stage_that_is_off_is_none():
    assert jax.tree.leaves(Look()) == []
    leaves, tree = jax.tree.flatten(Look(exposure=Exposure(0.5), grain=Grain(0.1, 60.0, 0.2, 0.5)))
    assert leaves == [0.5, 0.1, 60.0, 0.2, 0.5]
    assert jax.tree.unflatten(tree, leaves).grain == Grain(0.1, 60.0, 0.2, 0.5)
    assert len(jax.tree.leaves(LOOKS["faded-print"].matrix)) == 9


def test_looks_average_as_trees():
    a, b = Look(exposure=Exposure(0.5)), Look(exposure=Exposure(1.5))
    assert jax.tree.map(lambda x, y: (x + y) / 2, a, b) == Look(exposure=Exposure(1.0))


def test_without_turns_the_named_stages_off_and_no_other():
    full = LOOKS["expired"]
    rest = full.without("dust", "grain")
    for field in dataclasses.fields(Look):
        expected = None if field.name in ("dust", "grain") else getattr(full, field.name)
        assert getattr(rest, field.name) == expected
    assert full.grain is not None
    assert full.without() == full


def test_a_name_that_is_no_stage_is_refused():
    with pytest.raises(ValueError, match="'blur' is not a stage of a look; the stages are expos"):
        Look().without("dust", "blur")


def test_the_stages_that_need_the_place_in_the_frame_are_those_of_defects():
    assert set(POSITIONED) == {"vignette", "light_leak", "dust", "scratches"}
    assert set(POSITIONED) <= {field.name for field in dataclasses.fields(Look)}
    # Every look is left with something to learn.
    assert all(np.size(jax.tree.leaves(each.without(*POSITIONED))) for each in LOOKS.values())
