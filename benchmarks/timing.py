"""Clocks: the compiled step, one at a time and without a pause, and the devices' ceilings."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from benchmarks.ceilings import Plain, median_seconds
from retrojax.models.conv import conv
from retrojax.training.placement import Placement


@dataclass(frozen=True)
class StepTimes:
    """Seconds of one benchmark.

    Attributes:
        first_call: the first step, with whatever the backend puts off until then.
        blocked: one step each, waited for before the next is dispatched.
        pipelined: per step, when all are dispatched and only the last is waited for.
        finite: whether every metric of the last step is finite.
    """

    first_call: float
    blocked: tuple[float, ...]
    pipelined: float
    finite: bool


def time_steps(
    step: Callable[[Any, PyTree], tuple[Any, PyTree]],
    state: Any,
    batches: list[PyTree],
    *,
    steps: int,
    warmup: int,
) -> StepTimes:
    """Times a compiled step on batches that lie on its devices, taken in turn.

    The state is donated at each step, so the caller's is gone afterwards. A transfer between host
    and device inside the loop is an error.

    Args:
        step: `(state, batch) -> (state, metrics)`.
        state: the state at the start.
        batches: at least one.
        steps: number of blocked samples, and then of pipelined steps, at least 1.
        warmup: untimed steps after the first, at least 0.
    """
    turn = itertools.cycle(batches)
    with jax.transfer_guard("disallow"):
        begin = time.perf_counter()
        state, metrics = jax.block_until_ready(step(state, next(turn)))
        first_call = time.perf_counter() - begin

        for _ in range(warmup):
            state, metrics = step(state, next(turn))
        jax.block_until_ready((state, metrics))

        blocked = []
        for _ in range(steps):
            begin = time.perf_counter()
            state, metrics = jax.block_until_ready(step(state, next(turn)))
            blocked.append(time.perf_counter() - begin)

        begin = time.perf_counter()
        for _ in range(steps):
            state, metrics = step(state, next(turn))
        jax.block_until_ready((state, metrics))
        pipelined = (time.perf_counter() - begin) / steps
    finite = all(np.isfinite(value) for value in jax.device_get(jax.tree.leaves(metrics)))
    return StepTimes(first_call, tuple(blocked), pipelined, finite)


def matmul_flops(placement: Placement, *, size: int, dtype: str) -> float:
    """FLOP/s of square matrix products on all devices at once, the median of a few rounds.

    Args:
        placement: the devices; each multiplies one pair of matrices.
        size: side of the matrices.
        dtype: their type; the precision is JAX's present default.
    """
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 1, size, size), np.float32).astype(jnp.dtype(dtype))
    shape = (placement.mesh.size, size, size)
    a, b = placement.put_batch((np.broadcast_to(a, shape), np.broadcast_to(b, shape)))
    product = jax.jit(jnp.matmul, out_shardings=placement.split)
    seconds = median_seconds(lambda: product(a, b).block_until_ready())
    return 2 * size**3 * placement.mesh.size / seconds


def conv_flops(plain: Plain, *, dtype: str) -> float:
    """FLOP/s of one of the product's convolutions on the first device, the median of a few rounds.

    Args:
        plain: its shape.
        dtype: of image and kernel.
    """
    rng = np.random.default_rng(0)
    image = rng.standard_normal((plain.batch, plain.side, plain.side, plain.inputs), np.float32)
    kernel = rng.standard_normal((3, 3, plain.inputs, plain.outputs), np.float32)
    image, kernel = (jax.device_put(array.astype(jnp.dtype(dtype))) for array in (image, kernel))
    run = jax.jit(lambda x, w: conv(x, w, 1, ((1, 1), (1, 1))))
    return plain.flops / median_seconds(lambda: run(image, kernel).block_until_ready())
