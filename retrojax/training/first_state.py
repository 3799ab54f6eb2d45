"""The state at step 0: a program of its own, compiled while the step is traced."""

import contextlib
import gc
from collections.abc import Generator
from functools import partial
from typing import Final

import jax
import optax
from jaxtyping import PyTree

from retrojax.tasks.task import Task
from retrojax.training.state import GanState, init_state

FIRST_STATE_LEVEL: Final = 1
"""Of LLVM's optimisation where the program of the first state is compiled, 0 to 3. Runs of the same
seed begin with the same bits as at the default of 3; at 0 they would not."""


def first_state(
    task: Task,
    raw: PyTree,
    optimizers: tuple[optax.GradientTransformation, optax.GradientTransformation],
    *,
    seed: int,
    ema: bool,
) -> GanState:
    """The state at step 0, a function of the seed and the shapes of a raw batch; to be traced."""
    root = jax.random.key(seed)
    init_key, prepare_key, run_key = jax.random.split(root, 3)
    generator, discriminator = task.init(init_key, task.prepare(one_of(raw), prepare_key))
    return init_state(run_key, generator, discriminator, optimizers, ema=ema)


def initial_state(
    task: Task,
    raw: PyTree,
    optimizers: tuple[optax.GradientTransformation, optax.GradientTransformation],
    *,
    seed: int,
    ema: bool,
) -> GanState:
    """`first_state`, compiled; not to be called inside a traced function."""
    one = one_of(raw)
    return lower_first_state(task, one, optimizers, seed=seed, ema=ema).compile()(one)


def one_of(raw: PyTree) -> PyTree:
    """A batch of the first example alone: what a state's shapes go by."""
    return jax.tree.map(lambda x: x[:1], raw)


def lower_first_state(
    task: Task,
    one: PyTree,
    optimizers: tuple[optax.GradientTransformation, optax.GradientTransformation],
    *,
    seed: int,
    ema: bool,
) -> jax.stages.Lowered:
    """`first_state` of a batch like `one`, ready to be compiled."""
    # It runs once: what LLVM would gain on CPU by optimising more is less than it takes.
    quickly = {"xla_backend_optimization_level": FIRST_STATE_LEVEL}
    on_cpu = jax.default_backend() == "cpu"

    @partial(jax.jit, compiler_options=quickly if on_cpu else None)
    def init(one: PyTree) -> GanState:
        return first_state(task, one, optimizers, seed=seed, ema=ema)

    with nothing_collected():
        return init.lower(one)


@contextlib.contextmanager
def nothing_collected() -> Generator[None, None, None]:
    """Puts Python's garbage collection off: a sixth of the time of tracing, which leaves little."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
