"""What the loop waits for: not for files, not for the newest metrics; what it waits for, it says.

The step is replaced by a program that computes nothing, so that the order of events and a clock
that only events move are the loop's own.
"""

import math
import threading
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.data.ahead import Ahead
from retrojax.training import checkpoints as checkpoints_module
from retrojax.training import loop as loop_module
from retrojax.training import stalls as stalls_module
from retrojax.training.checkpoints import Checkpoints
from retrojax.training.logging import RunLog
from retrojax.training.loop import LoopSettings, train
from retrojax.training.optimizers import make_optimizer
from retrojax.training.placement import Placement
from retrojax.training.sampling import Samples

TIMEOUT = 20


@pytest.fixture
def run(make_task, photos, tmp_path, monkeypatch):
    """Runs the loop; `step(k)` is called at the dispatch of step k and returns its metrics.

    Likewise `lowering()` and `compiling()` are called when the step is lowered and compiled.
    """

    def run(step, make_sampler=None, *, lowering=list, compiling=list, **settings):
        steps = iter(range(1, settings["steps"] + 1))

        class Program:
            def compile(self):
                compiling()
                return dispatch

        def dispatch(state, raw):
            with jax.transfer_guard("allow"):
                return state, {name: jnp.float32(x) for name, x in step(next(steps)).items()}

        def lower(*_):
            lowering()
            return Program()

        monkeypatch.setattr(Placement, "lower", lower)
        rest = {"save_every_seconds": 0.0, "sample_every_steps": 0, "log_every_steps": 1}
        optimizers = make_optimizer("sgd", 0.1), make_optimizer("sgd", 0.1)
        chosen = LoopSettings(batch_size=4, window=10, **{**rest, **settings})
        return train(make_task(), optimizers, photos, chosen, tmp_path, make_sampler=make_sampler)

    return run


@pytest.fixture
def put(monkeypatch):
    """One event for each batch in turn: it is on the devices."""
    events, put_batch = [threading.Event() for _ in range(3)], Placement.put_batch
    left = iter(events)

    def watched(placement, batch):
        on_devices = put_batch(placement, batch)
        next(left).set()
        return on_devices

    monkeypatch.setattr(Placement, "put_batch", watched)
    return events


def test_the_first_batch_is_read_while_the_step_is_compiled_and_not_while_it_is_traced(run, put):
    """Compiling waits for the batch: were it read later, it would wait in vain."""
    found = []
    run(
        lambda k: {"g/total": k},
        steps=1,
        lowering=lambda: found.append(put[0].wait(0.3)),
        compiling=lambda: found.append(put[0].wait(TIMEOUT)),
    )
    assert found == [False, True]


def test_the_sampler_is_made_while_the_step_is_compiled_and_not_while_it_is_traced(run):
    made, found = threading.Event(), []

    def make_sampler():
        made.set()
        return lambda _: np.zeros((1, 1, 3), np.uint8)

    run(
        lambda k: {"g/total": k},
        make_sampler,
        steps=1,
        lowering=lambda: found.append(made.wait(0.3)),
        compiling=lambda: found.append(made.wait(TIMEOUT)),
    )
    assert found == [False, True]


def test_a_sampler_that_cannot_be_made_ends_the_run_at_its_first_sample(run):
    def make_sampler():
        raise ValueError("no canvas")

    with pytest.raises(ValueError, match="no canvas"):
        run(lambda k: {"g/total": k}, make_sampler, steps=2)


def test_the_next_batch_is_put_on_the_devices_while_a_step_runs(run, put):
    in_time = []

    def step(k):
        in_time.append(k == 3 or put[k].wait(TIMEOUT))
        return {"g/total": k}

    run(step, steps=3)
    assert in_time == [True] * 3


def test_a_step_that_cannot_be_compiled_leaves_no_reader_behind(run):
    def compiling():
        raise MemoryError("too large")

    with pytest.raises(MemoryError, match="too large"):
        run(lambda k: {}, steps=3, compiling=compiling)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_the_next_step_is_dispatched_while_a_checkpoint_is_being_written(run, monkeypatch):
    """Orbax cannot finish step 2 before step 3: were it waited for, it would wait in vain."""
    handler = checkpoints_module.ocp.StandardCheckpointHandler
    behind, in_time, async_save = threading.Event(), [], handler.async_save

    class Writing:
        def result(self, timeout=None):
            in_time.append(behind.wait(TIMEOUT))

    async def slow_save(*args, **kwargs):
        return [*(await async_save(*args, **kwargs) or []), Writing()]

    def step(k):
        if k == 3:
            behind.set()
        return {"g/total": k}

    monkeypatch.setattr(handler, "async_save", slow_save)
    run(step, steps=3, save_every_steps=2)
    assert in_time == [True, True]


def test_metrics_are_read_one_step_late_and_before_their_state_is_saved(run, monkeypatch):
    events, device_get, save = [], jax.device_get, Checkpoints.save

    def step(k):
        events.append(f"dispatch {k}")
        return {"g/total": k}

    def watched_get(tree):
        values = device_get(tree)
        if isinstance(values, dict) and "g/total" in values:
            events.append(f"read {values['g/total']:.0f}")
        return values

    def watched_save(self, k, *args, **kwargs):
        events.append(f"save {k}")
        return save(self, k, *args, **kwargs)

    monkeypatch.setattr(jax, "device_get", watched_get)
    monkeypatch.setattr(Checkpoints, "save", watched_save)
    run(step, steps=4, save_every_steps=3)
    assert events == [
        "dispatch 1",
        *("dispatch 2", "read 1"),
        *("dispatch 3", "read 2", "read 3", "save 3"),
        *("dispatch 4", "read 4", "save 4"),
    ]


def test_metrics_that_are_not_finite_end_the_run_and_their_state_is_not_saved(run, tmp_path):
    def step(k):
        return {"g/total": 1.0, "d/total": math.nan if k == 3 else 1.0}

    with pytest.raises(FloatingPointError, match=r"^step 3: d/total is not finite; lower --learn"):
        run(step, steps=5, save_every_steps=1)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["1", "2"]
    assert len(list(tmp_path.glob("checkpoints/*/MANIFEST.json"))) == 2


def test_time_is_told_apart_by_what_it_went_into(run, monkeypatch):
    """Six steps of 1 s with a clock that only these steps and events move."""
    now, take, log = [0.0], Ahead.__next__, RunLog.metrics

    def wait(seconds):
        now[0] += seconds

    def slow_take(stream):
        wait(0.5)
        return take(stream)

    def step(k):
        wait(1)
        return {"g/total": k}

    def slow_log(self, k, values):
        wait(8 if k == 2 else 0.25)
        log(self, k, values)

    clock = SimpleNamespace(perf_counter=lambda: now[0])
    for module in (loop_module, stalls_module):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(Ahead, "__next__", slow_take)
    monkeypatch.setattr(RunLog, "metrics", slow_log)
    monkeypatch.setattr(Checkpoints, "save", lambda self, k, *_, **__: wait(k))
    monkeypatch.setattr(Samples, "draw", lambda *_: wait(32))
    monkeypatch.setattr(Samples, "wait", lambda _: wait(64))  # on the way out
    _, timing = run(step, lambda: lambda _: None, steps=6, save_every_steps=2, sample_every_steps=4)

    saves, samples, logs = 2 + 4 + 6, 2 * 32, 8 + 5 * 0.25
    assert timing.train == 6 * (1 + 0.5) + saves + samples + logs + 64
    assert timing.step == 1
    assert timing.data_wait == 6 * 0.5 / timing.train
    # After the last dispatch nothing is held. The lines of steps 1 and 2 precede step 3, those of
    # 3 and 4 precede step 5.
    assert timing.stalls == {
        "save": {"median": 3, "largest": 4},
        "sample": {"median": 32, "largest": 32},
        "log": {"median": (8.25 + 0.5) / 2, "largest": 8.25},
    }
