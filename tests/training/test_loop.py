"""The loop: what runs behind the steps, what is traced, and that nothing is compiled late."""

import gc
import gzip
import json
import logging
import os
import signal
import threading
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from retrojax.training import first_state, loop
from retrojax.training.logging import SilentLog
from retrojax.training.loop import LoopSettings, train
from retrojax.training.optimizers import make_optimizer
from retrojax.training.placement import Placement
from retrojax.training.profiling import StepProfile
from retrojax.training.sampling import WAITING, Samples
from retrojax.training.stopping import Stopped

STEPS, SAMPLED, TIMEOUT = 6, 3, 60
GUARDS = [
    f"jax_transfer_guard_{way}" for way in ("host_to_device", "device_to_device", "device_to_host")
]
SETTINGS = LoopSettings(
    steps=STEPS, batch_size=4, window=10, ema_halflife_images=0.0, save_every_steps=2,
    save_every_seconds=0.0, sample_every_steps=SAMPLED, log_every_steps=1,
)  # fmt: skip


def run(task, photos, folder, sampler, **changes):
    optimizers = make_optimizer("sgd", 0.1), make_optimizer("sgd", 0.1)
    settings = LoopSettings(**{**vars(SETTINGS), **changes})
    return train(task, optimizers, photos, settings, folder, make_sampler=lambda: sampler)


def first_bytes(variables):
    """A picture that tells generators apart: the bytes of their first array."""
    values = np.asarray(jax.tree.leaves(variables)[0], np.float32)
    return np.tile(np.frombuffer(values.tobytes(), np.uint8).reshape(1, -1, 1), (1, 1, 3))


class Observed:
    """One run of six steps, profiled, with a sampler that waits for the step after its own."""

    def __init__(self, task, photos, folder, records, monkeypatch):
        self.folder, self.dispatched, self.late, self.shown = folder, [], [], {}
        self.guards, self.met = [], []
        self.behind, lower = threading.Event(), Placement.lower

        def observed(placement, step, state, batch):
            lowered = lower(placement, step, state, batch)

            class Program:
                def compile(self):
                    return call

            compiled = lowered.compile()
            self.met.append("compiled")

            def call(state, raw):
                self.met.append("step")
                self.guards.append({getattr(jax.config, name) for name in GUARDS})
                return after(*compiled(state, raw))

            def after(state, metrics):
                self.dispatched.append(int(state.step))
                self.shown[self.dispatched[-1]] = first_bytes(state.sampling_variables)
                if len(self.dispatched) == 3:
                    records.clear()
                if len(self.dispatched) > SAMPLED:
                    self.behind.set()
                return state, metrics

            return Program()

        def sampler(variables):
            self.late.append(not self.behind.wait(TIMEOUT))
            return first_bytes(variables)

        monkeypatch.setattr(Placement, "lower", observed)
        monkeypatch.setattr(loop, "wait_for_all", self.met.append)
        with jax.log_compiles():
            self.state, self.timing = run(task, photos, folder, sampler, profile=True)
        said = [record.getMessage() for record in records]
        self.compiled = [line for line in said if line.startswith("Finished XLA compilation")]


@pytest.fixture(scope="module")
def observed(make_task, photos, tmp_path_factory):
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logging.getLogger("jax").addHandler(handler)
    try:
        with pytest.MonkeyPatch.context() as monkeypatch:
            folder = tmp_path_factory.mktemp("run")
            yield Observed(make_task(), photos, folder, records, monkeypatch)
    finally:
        logging.getLogger("jax").removeHandler(handler)


def test_the_next_step_is_dispatched_before_a_sample_is_drawn(observed):
    """The sampler of step 3 waits for step 4: were it called in the loop, it would wait in vain."""
    assert observed.dispatched == list(range(1, STEPS + 1))
    assert observed.late == [False, False]


def test_a_step_may_move_nothing_between_host_and_devices(observed):
    assert observed.guards == [{"disallow"}] * STEPS


def test_processes_wait_for_the_one_that_compiles_longest(observed):
    assert observed.met == ["compiled", "the compiled step", *["step"] * STEPS]


def test_a_sample_shows_the_state_of_its_own_step(observed):
    for step in (SAMPLED, STEPS):
        shown = np.asarray(Image.open(observed.folder / f"samples/{step:08d}.png"))
        np.testing.assert_array_equal(shown, observed.shown[step])
    assert (observed.shown[STEPS] != observed.shown[SAMPLED]).any()


def test_nothing_but_the_copy_for_samples_is_compiled_after_the_first_save(observed):
    """That save follows step 2; over several devices Orbax slices arrays for it."""
    (line,) = observed.compiled
    assert "jit(_copy_of_variables)" in line


def test_tracing_is_a_part_of_compiling(observed):
    assert 0 < observed.timing.trace < observed.timing.compile


@pytest.fixture
def optimised():
    """Programs are compiled as outside of tests."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.mark.usefixtures("optimised")
@pytest.mark.slow
def test_the_first_state_is_compiled_quickly_to_the_bits_of_all_optimisations(
    make_task, raw, monkeypatch
):
    def first_params(level):
        monkeypatch.setattr(first_state, "FIRST_STATE_LEVEL", level)
        optimizers = make_optimizer("sgd", 0.1), make_optimizer("sgd", 0.1)
        state = first_state.initial_state(make_task(), raw, optimizers, seed=3, ema=True)
        leaves = jax.tree.leaves((state.generator.params, state.discriminator.params))
        return np.concatenate([np.ravel(leaf) for leaf in leaves])

    chosen = first_state.FIRST_STATE_LEVEL
    assert chosen < 3
    quick, without = first_params(chosen), first_params(0)
    np.testing.assert_array_equal(quick, first_params(3))
    assert (without != quick).any(), "nothing here tells levels apart"


def test_a_profile_holds_the_steps_as_gzipped_json(observed):
    (trace,) = (observed.folder / "profile").rglob("*.trace.json.gz")
    events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    assert len(events) > 100
    assert list(trace.parent.glob("*.xplane.pb"))


def test_a_stopped_run_has_its_last_sample_and_state(make_task, photos, tmp_path):
    asked = threading.Event()

    def sampler(variables):
        os.kill(os.getpid(), signal.SIGTERM)
        asked.wait(2)
        return first_bytes(variables)

    with pytest.raises(Stopped) as stopped:
        run(make_task(), photos, tmp_path, sampler, steps=10**6, save_every_steps=0)
    assert stopped.value.exit_code == 143
    assert (tmp_path / f"samples/{SAMPLED:08d}.png").exists()
    assert list(Path(tmp_path, "checkpoints").glob("*/MANIFEST.json"))


def test_what_goes_wrong_with_a_sample_is_said_once_and_hides_no_other_error(tmp_path):
    log = SilentLog(tmp_path, total_steps=2, first_step=0, images_per_step=1)

    def fail(variables):
        raise RuntimeError("no paint left")

    def samples():
        return Samples(lambda: fail, tmp_path, log)

    with pytest.raises(RuntimeError, match="no paint left"), samples() as drawn:
        drawn.draw(1, {"params": jnp.ones(2)})
    with samples() as drawn:
        drawn.draw(1, {"params": jnp.ones(2)})
        with pytest.raises(RuntimeError, match="no paint left"):
            drawn.wait()
    with pytest.raises(KeyError) as caught, samples() as drawn:
        drawn.draw(1, {"params": jnp.ones(2)})
        raise KeyError("first")
    assert "no paint left" in caught.value.__notes__[0]
    assert not list(tmp_path.iterdir())


def test_a_sample_is_waited_for_only_when_several_are_under_way(tmp_path):
    log = SilentLog(tmp_path, total_steps=9, first_step=0, images_per_step=1)
    painted, seen = threading.Event(), []

    def slow(variables):
        painted.wait(30)
        seen.append(int(variables["params"][0]))
        if seen == [0]:
            raise RuntimeError("no paint left")
        return np.zeros((2, 2, 3), np.uint8)

    with Samples(lambda: slow, tmp_path, log) as drawn:
        for step in range(WAITING):
            drawn.draw(step, {"params": jnp.full(2, step)})
        assert not seen, "one was waited for"
        threading.Timer(0.1, painted.set).start()
        with pytest.raises(RuntimeError, match="no paint left"):
            drawn.draw(WAITING, {"params": jnp.full(2, WAITING)})
    assert seen == list(range(WAITING))
    assert len(list(tmp_path.glob("*.png"))) == WAITING - 1


@pytest.mark.parametrize(
    ("first_step", "last_step", "steps"),
    [(0, 800, [4, 5, 6, 7, 8]), (100, 800, [104, 105, 106, 107, 108]), (0, 6, [2, 3, 4, 5, 6]),
     (0, 2, [1, 2]), (7, 7, [])],
)  # fmt: skip
def test_steps_are_traced_after_a_warm_up_as_far_as_there_are_any(first_step, last_step, steps):
    assert list(StepProfile(Path("trace"), first_step, last_step).steps) == steps
    assert not StepProfile(None, first_step, last_step).steps


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_is_put_off_while_a_state_is_traced_and_the_setting_stays(
    enabled, make_task, raw, monkeypatch
):
    seen, function = [], first_state.first_state

    def traced(*args, **options):
        seen.append(gc.isenabled())
        return function(*args, **options)

    monkeypatch.setattr(first_state, "first_state", traced)
    optimizers = make_optimizer("sgd", 0.1), make_optimizer("sgd", 0.1)
    was = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        first_state.lower_first_state(make_task(), raw, optimizers, seed=0, ema=False)
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if was else gc.disable)()
    assert seen == [False]


def test_a_resumed_run_makes_no_first_state(make_task, photos, tmp_path, monkeypatch):
    def sampler(variables):
        return np.zeros((4, 4, 3), np.uint8)

    run(make_task(), photos, tmp_path, sampler, steps=2)
    made, function = [], jax.stages.Lowered.compile

    def noting(lowered, *args, **options):
        made.append(str(lowered.as_text()[:200]).split("@")[1].split(" ")[0])
        return function(lowered, *args, **options)

    monkeypatch.setattr(jax.stages.Lowered, "compile", noting)
    state, _ = run(make_task(), photos, tmp_path, sampler, steps=3)
    assert int(state.step) == 3
    assert made == ["jit_step"]
