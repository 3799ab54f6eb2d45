"""The training loop: compiles the joint step, feeds it, saves, samples and logs.

Order of one iteration, which resuming depends on: take batch k, dispatch step k, read the metrics
of the step before (the device is never waited for), then save and sample if due. Batch k + 1 is
read and put on the devices meanwhile, the first one while the step is compiled; the first state is
made while the step is traced. Files are written in the background: for a checkpoint the loop waits
until the step just dispatched is done and copied to the host, for a sample not even that. A step's
number is the number of completed updates. The batch and all randomness of a step are functions of
(seed, step), so a resumed run is the same run.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from retrojax.data import PhotoData, batches
from retrojax.data.ahead import Ahead
from retrojax.tasks.task import Task
from retrojax.training.checkpoints import Checkpoints
from retrojax.training.first_state import lower_first_state, nothing_collected, one_of
from retrojax.training.logging import RunLog, SilentLog
from retrojax.training.placement import Parallel, Placement, make_placement
from retrojax.training.processes import Agreement, is_first, wait_for_all
from retrojax.training.profiling import StepProfile
from retrojax.training.sampling import Sampler, Samples
from retrojax.training.stalls import Stalls
from retrojax.training.state import GanState
from retrojax.training.step import Halflife, Metrics, Order, make_step, rounds
from retrojax.training.stopping import Stopped, stop_on_signals


@dataclass(frozen=True)
class LoopSettings:
    """How long and how often.

    Attributes:
        steps: length of the run in updates.
        batch_size: images per step over all devices of all processes.
        window: side of the raw squares in pixels.
        seed: of weights, data order and all noise.
        order: see `make_step`.
        ema_halflife_images: see `make_step`.
        discriminator_steps: see `make_step`.
        fresh_generator_batch: see `make_step`.
        zoom: see `retrojax.data.batches`.
        parallel: see `Placement`.
        accumulate: see `make_step`.
        save_every_steps: updates between checkpoints; 0 = by time only.
        save_every_seconds: seconds between checkpoints; 0 = by steps only.
        sample_every_steps: updates between sample pictures; 0 = none.
        log_every_steps: updates between lines of metrics.jsonl.
        profile: whether a few steps are traced, to profile/ in the run's folder.
    """

    steps: int
    batch_size: int
    window: int
    seed: int = 0
    order: Order = "alternating"
    ema_halflife_images: Halflife = 0.0
    discriminator_steps: int = 1
    fresh_generator_batch: bool = False
    zoom: float = 1.0
    parallel: Parallel = "jit"
    accumulate: int = 1
    save_every_steps: int = 0
    save_every_seconds: float = 60.0
    sample_every_steps: int = 250
    log_every_steps: int = 10
    profile: bool = False

    @property
    def images_per_step(self) -> int:
        """Images that the loader brings for one joint step."""
        return self.batch_size * rounds(self.discriminator_steps, self.fresh_generator_batch)

    @property
    def averages(self) -> bool:
        """Whether an average of the generator is kept."""
        return callable(self.ema_halflife_images) or self.ema_halflife_images > 0


@dataclass(frozen=True)
class Timing:
    """Where the time of a run went, in seconds.

    Attributes:
        compile: tracing and compiling the joint step.
        trace: the part of `compile` before the compiler starts, which no cache saves.
        train: from the first step's dispatch to the end of the last, saving and sampling included.
        step: a step's own part of `train`, mean: without data, saving, logging and sampling.
        data_wait: share of `train` spent waiting for the next batch, in [0, 1].
        stalls: how long saving, logging and sampling held the next step, see `Stalls.summary`.
    """

    compile: float
    trace: float
    train: float
    step: float
    data_wait: float
    stalls: Mapping[str, Mapping[str, float]]


def train(
    task: Task,
    optimizers: tuple[optax.GradientTransformation, optax.GradientTransformation],
    data: PhotoData,
    settings: LoopSettings,
    run_dir: Path,
    *,
    make_sampler: Callable[[], Sampler] | None = None,
    headline: tuple[str, ...] = (),
) -> tuple[GanState, Timing]:
    """Trains to `settings.steps`, going on at the newest checkpoint in `run_dir` if there is one.

    With several processes (`retrojax.training.processes`) all call this alike: each reads its share
    of every batch, the first writes the log and the samples, all write the checkpoints, for which
    `run_dir` must be the same folder for all.

    Args:
        task: what is learned.
        optimizers: the generator's and the discriminator's optimiser.
        data: where batches come from.
        settings: how long and how often.
        run_dir: the run's folder; checkpoints/ and metrics.jsonl are written there.
        make_sampler: makes what is asked now and then, and at the end, for a picture that goes to
            samples/ and to TensorBoard. All that in a thread of its own; making it begins when the
            compilation does.
        headline: lines shown before the first step (the formula in force, for example).

    Returns:
        The final state, on one device of this process, and where the time went.

    Raises:
        FloatingPointError: when a metric is not finite; the last checkpoint before it is intact.
        Stopped: when SIGTERM or SIGINT asked to stop; the state is saved.
        ValueError: if the devices and micro-batches do not divide the batch.
    """
    placement = make_placement(
        settings.batch_size, parallel=settings.parallel, accumulate=settings.accumulate
    )
    shape = (settings.images_per_step, settings.window, settings.window, 3)
    targets = data.validation[0].target is not None or data.targets is not None
    names = ("source", "target") if targets else ("source",)
    example = {name: np.zeros(shape, np.uint8) for name in names}
    one = one_of(example)
    fresh = lower_first_state(task, one, optimizers, seed=settings.seed, ema=settings.averages)
    like = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=placement.replicated),
        fresh.out_info,
    )

    def first() -> GanState:
        return placement.put_state(fresh.compile()(one))

    with (
        ThreadPoolExecutor(1, thread_name_prefix="first-state") as thread,
        Checkpoints(run_dir / "checkpoints") as checkpoints,
    ):
        restored = checkpoints.restore(like)
        first_step = 0 if restored is None else restored[1]
        with (RunLog if is_first() else SilentLog)(
            run_dir,
            total_steps=settings.steps,
            first_step=first_step,
            images_per_step=settings.batch_size,
        ) as log:
            for line in (*headline, *checkpoints.notes):
                log.note(line)
            if restored is not None:
                log.note(f"resuming at step {first_step}")
            start = thread.submit(first if restored is None else lambda: restored[0])
            if first_step >= settings.steps:
                return placement.one_copy(start.result()), Timing(0.0, 0.0, 0.0, 0.0, 0.0, {})
            return _run(
                task, optimizers, data, settings, run_dir, placement, like, start, first_step,
                checkpoints, log, make_sampler, example,
            )  # fmt: skip


def _run(
    task: Task,
    optimizers: tuple[optax.GradientTransformation, optax.GradientTransformation],
    data: PhotoData,
    settings: LoopSettings,
    run_dir: Path,
    placement: Placement,
    like: GanState,
    start: Future[GanState],
    first_step: int,
    checkpoints: Checkpoints,
    log: RunLog,
    make_sampler: Callable[[], Sampler] | None,
    example: dict[str, np.ndarray],
) -> tuple[GanState, Timing]:
    processes = f" of {jax.process_count()} processes" if jax.process_count() > 1 else ""
    log.note(f"compiling the step for {placement.mesh.size} device(s){processes} ...")
    begin = time.perf_counter()
    step = make_step(
        task,
        optimizers,
        order=settings.order,
        ema_halflife_images=settings.ema_halflife_images,
        discriminator_steps=settings.discriminator_steps,
        fresh_generator_batch=settings.fresh_generator_batch,
        accumulate=settings.accumulate,
        axis_name=placement.axis_name,
    )
    with nothing_collected():
        lowered = placement.lower(step, like, example)
    trace_seconds = time.perf_counter() - begin
    # What runs beside the compilation does not begin sooner: Python, which it needs, also traces.
    log.open_tensorboard()
    samples = run_dir / "samples"
    drawing = Samples(make_sampler, samples, log) if make_sampler and is_first() else None
    agreed = Agreement(placement)
    profiled = run_dir / "profile" if settings.profile and is_first() else None
    profile = StepProfile(profiled, first_step, settings.steps)
    photos = batches(
        data,
        batch_size=settings.images_per_step,
        window=settings.window,
        seed=settings.seed,
        first_step=first_step,
        steps=settings.steps - first_step,
        zoom=settings.zoom,
        share=(jax.process_index(), jax.process_count()),
    )
    with contextlib.closing(Ahead(photos, placement.put_batch)) as stream:
        compiled = lowered.compile()
        compile_seconds = time.perf_counter() - begin
        log.note(f"compiled in {compile_seconds:.1f} s")
        state = start.result()
        # Gloo gives the processes 30 s to meet for the first exchange of the step.
        wait_for_all("the compiled step")
        begin = saved = time.perf_counter()
        saved_step = first_step
        waited, stalls = 0.0, Stalls()
        pending: tuple[int, Metrics] | None = None
        with stop_on_signals() as request, drawing or contextlib.nullcontext(), profile:
            for done in range(first_step + 1, settings.steps + 1):
                asked = time.perf_counter()
                raw = next(stream)
                waited += time.perf_counter() - asked
                profile.before(done)
                with jax.transfer_guard("disallow"):
                    state, metrics = compiled(state, raw)
                stalls.dispatched()
                if profile.after(done, state):
                    log.note(f"profile of {len(profile.steps)} steps in {profile.folder}")
                pending = _read(log, settings, stalls, pending, (done, metrics))
                log.advance(done)

                last = done == settings.steps
                due = settings.save_every_steps and done % settings.save_every_steps == 0
                late = 0 < settings.save_every_seconds < time.perf_counter() - saved
                late, stopping = agreed(int(late), request.signal_number or 0)
                # A wish that was on its way while another one was granted.
                late = late and done > saved_step + 1
                if due or late or last or stopping:
                    # Only finite states are saved: this step's metrics are read first.
                    pending = _read(log, settings, stalls, pending, None)
                    with stalls.of("save"):
                        checkpoints.save(done, state, force=last or bool(stopping))
                    saved, saved_step = time.perf_counter(), done
                if stopping and not last:
                    checkpoints.wait()
                    raise Stopped(done, stopping)
                sampling = settings.sample_every_steps
                sampled = last or (sampling and done % sampling == 0)
                if drawing and sampled:
                    with stalls.of("sample"):
                        drawing.draw(done, placement.one_copy(state.sampling_variables))
            jax.block_until_ready(state)
            ended = time.perf_counter()
    seconds = time.perf_counter() - begin
    checkpoints.wait()
    timing = Timing(
        compile_seconds,
        trace_seconds,
        seconds,
        (ended - begin - waited - stalls.total) / (settings.steps - first_step),
        waited / seconds,
        stalls.summary(),
    )
    return placement.one_copy(state), timing


def _read(
    log: RunLog,
    settings: LoopSettings,
    stalls: Stalls,
    pending: tuple[int, Metrics] | None,
    newest: tuple[int, Metrics] | None,
) -> tuple[int, Metrics] | None:
    """Reads and logs the metrics of the step before; returns those to be read next time."""
    if pending is not None:
        done, values = pending
        metrics: dict[str, Any] = {name: float(v) for name, v in jax.device_get(values).items()}
        broken = [name for name, value in metrics.items() if not np.isfinite(value)]
        if broken:
            raise FloatingPointError(
                f"step {done}: {', '.join(broken)} is not finite; lower --learning-rate, or run "
                "the same command to go on at the last checkpoint"
            )
        if done % settings.log_every_steps == 0 or done in (1, settings.steps):
            with stalls.of("log"):
                log.metrics(done, metrics)
    return newest
