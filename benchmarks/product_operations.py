"""One convolution at a time by the product's functions, as a contender in a process of its own."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from benchmarks.convolutions import Convolution, from_json
from retrojax.models.conv import conv, conv_transpose


class ProductOperations:
    """Compiles and times what it is told to."""

    def prepare(self, convolution: list, direction: str, dtype: str) -> float:
        """Compiles an operation on random arrays; returns the seconds of one call, when warm."""
        shape = from_json(convolution)
        rng = np.random.default_rng(0)
        self.arrays = tuple(
            jax.device_put(rng.standard_normal(side, np.float32).astype(jnp.dtype(dtype)))
            for side in array_shapes(shape)
        )
        self.run = jax.jit(operation(shape, direction))
        jax.block_until_ready(self.run(*self.arrays))
        return self.time(1)

    def time(self, calls: int) -> float:
        """Mean seconds of a call; each is waited for."""
        begin = time.perf_counter()
        for _ in range(calls):
            self.run(*self.arrays).block_until_ready()
        return (time.perf_counter() - begin) / calls


def array_shapes(shape: Convolution) -> tuple[tuple[int, ...], ...]:
    """Shapes of the input [b, h, w, i], the kernel and the result's gradient."""
    k, inputs, outputs = shape.kernel, shape.inputs, shape.outputs
    ends = (outputs, inputs) if shape.transposed else (inputs, outputs)
    return (
        (shape.batch, *shape.size, inputs),
        (k, k, *ends),
        (shape.batch, *shape.result_size, outputs),
    )


def operation(shape: Convolution, direction: str) -> Callable[[Array, Array, Array], Any]:
    """A function of the input, the kernel and the result's gradient."""
    function = conv_transpose if shape.transposed else conv
    pads = (shape.pads, shape.pads)

    def forward(x: Array, w: Array, g: Array) -> Array:
        return function(x, w, shape.stride, pads)

    def input_gradient(x: Array, w: Array, g: Array) -> Array:
        return jax.vjp(lambda x: forward(x, w, g), x)[1](g)[0]

    def weight_gradient(x: Array, w: Array, g: Array) -> Array:
        return jax.vjp(lambda w: forward(x, w, g), w)[1](g)[0]

    return {
        "forward": forward,
        "input gradient": input_gradient,
        "weight gradient": weight_gradient,
    }[direction]
