"""One device and many, by `jit` and by `pmap`, whole batches and micro-batches: the same params.

The games and what is on in them stand in `many_devices.py`, which runs with eight devices.
"""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from flax import linen as nn

from benchmarks.compiled import aliased_bytes, collectives
from benchmarks.product import tree_bytes
from retrojax.training.placement import make_placement
from retrojax.training.step import make_step
from tests.training import many_devices
from tests.training.many_devices import GAMES, SGD, start

SCRIPT = Path(__file__).parent / "many_devices.py"
ORDERS = ("alternating", "simultaneous")
WHOLE = [game for game in GAMES if not game.endswith("apart")]
APART = [game for game in GAMES if game.endswith("apart")]


def check(tmp_path, cases):
    """Plays the cases in a process of its own; each must end where one device ends."""
    file = tmp_path / "cases.json"
    file.write_text(json.dumps(cases))
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(cases)
    for case, distances in zip(cases, found, strict=True):
        # Of a player that learns nothing, or of one that is thrown far, equality says nothing.
        moved, changed = distances.pop("moved"), distances.pop("changed")
        assert max(moved) <= 10, f"{case}: params of G and D moved by {moved}"
        assert min(changed) >= 0.1, f"{case}: losses of G and D changed by {changed}"
        assert max(distances.values()) <= 1e-5, f"{case}: {distances}"


def test_eight_devices_in_both_ways_are_one_device(tmp_path):
    """Batch norm in both players, noise, dropout, DiffAugment, grain."""
    check(tmp_path, [["paired", "alternating", way, 8, 1] for way in ("jit", "pmap")])


@pytest.mark.slow
def test_replicas_share_the_image_pool(tmp_path):
    check(tmp_path, [["unpaired", "simultaneous", "pmap", 4, 1]])


@pytest.mark.slow
def test_micro_batches_are_the_batch_also_on_replicas(tmp_path):
    check(tmp_path, [["paired apart", "alternating", "pmap", 2, 2]])


@pytest.mark.slow
@pytest.mark.parametrize("game", WHOLE)
def test_every_game_in_every_way_on_1_2_4_and_8_devices(game, tmp_path):
    ways = itertools.product(ORDERS, ("jit", "pmap"), (1, 2, 4, 8), (1,))
    check(tmp_path, [[game, *way] for way in ways])


@pytest.mark.slow
@pytest.mark.parametrize("game", APART)
def test_every_game_without_batch_norm_in_micro_batches(game, tmp_path):
    ways = itertools.product(ORDERS, (("jit", 1, 8), ("jit", 2, 2), ("pmap", 2, 4)))
    check(tmp_path, [[game, order, *way] for order, way in ways])


def compiled(game, parallel):
    """A game's step for four devices, and what it was compiled for."""
    task, options = GAMES[game]
    placement = make_placement(many_devices.BATCH, parallel=parallel)
    state, optimizers, raws = start(game, placement)
    step = make_step(task, optimizers, axis_name=placement.axis_name, **options)
    return placement, placement.compile(step, state, raws[0]), state, raws


def reduced(hlo):
    return sum(size for name, size in collectives(hlo) if name == "all-reduce")


def expected(state, metrics):
    """Bytes of the gradients, and of the metrics but for norms of what was exchanged."""
    gradients = tree_bytes((state.generator.params, state.discriminator.params))
    return gradients + 4 * len([name for name in metrics if not name.endswith("gradient_norm")])


def test_replicas_exchange_the_gradients_and_metrics_once_and_nothing_else(caplog):
    placement, step, state, raws = compiled("paired apart", "pmap")
    hlo = step.as_text()
    assert aliased_bytes(hlo) >= 0.99 * tree_bytes(state)
    batches = [placement.put_batch(raw) for raw in raws[:3]]
    with jax.transfer_guard("disallow"), jax.log_compiles():
        for batch in batches:
            state, metrics = step(state, batch)
    assert not [record for record in caplog.records if "ompil" in record.getMessage()]
    assert reduced(hlo) == expected(state, metrics)
    assert all(name == "all-reduce" for name, _ in collectives(hlo))


@pytest.mark.slow
def test_batch_norm_and_the_pool_add_what_is_listed():
    placement, step, state, raws = compiled("paired", "pmap")
    state, metrics = step(state, placement.put_batch(raws[0]))
    # A mean and a variance of every channel, there and back, in one pass of G and three of D.
    statistics = tree_bytes(state.generator.collections) * 2
    statistics += tree_bytes(state.discriminator.collections) * 2 * 3
    hlo = step.as_text()
    assert reduced(hlo) == expected(state, metrics) + statistics
    assert all(name == "all-reduce" for name, _ in collectives(hlo))
    placement, step, state, raws = compiled("unpaired", "pmap")
    state, metrics = step(state, placement.put_batch(raws[0]))
    hlo = step.as_text()
    assert reduced(hlo) == expected(state, metrics)
    assert {name for name, _ in collectives(hlo)} == {"all-reduce", "all-gather"}
    gathered = [size for name, size in collectives(hlo) if name == "all-gather"]
    fakes = many_devices.BATCH * 8 * 8 * 3 * 4
    # For each critic the fakes, and two draws an image.
    assert sum(gathered) == 2 * (fakes + 2 * 4 * many_devices.BATCH)


@pytest.mark.slow
def test_the_compilers_own_exchange_is_the_gradients_of_each_pass_by_itself():
    """Under jit each backward pass through D is reduced before they are added: here real, fake."""
    _, step, state, _ = compiled("paired", "jit")
    d_bytes = tree_bytes(state.discriminator.params)
    assert 1.9 * d_bytes < reduced(step.as_text()) < 2.5 * d_bytes


def test_a_batch_norm_that_knows_no_axis_is_refused_under_pmap(make_task, raw):
    task = make_task()
    placement = make_placement(8, parallel="pmap")
    from retrojax.training.first_state import initial_state

    state = placement.put_state(initial_state(task, raw, SGD, seed=0, ema=False))
    with pytest.raises(ValueError, match="PixelGenerator has batch statistics, but no field"):
        placement.compile(make_step(task, SGD, axis_name="data"), state, raw)
    assert issubclass(type(task.generator), nn.Module)


def test_a_batch_that_does_not_divide_names_devices_and_micro_batches():
    says = r"batch of 12 .* 4 devices x 2 micro-batches .* multiple of 8"
    with pytest.raises(ValueError, match=says):
        make_placement(12, accumulate=2)
