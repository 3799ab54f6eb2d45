"""Small matrices by the axes of a grid of arrays, as many operations or as one.

A transform of tiles is the same matrix along rows and columns, and all else that is done with them
goes place by place. On CPU it may be an operation for each place, which run side by side on what
lies in the caches, or one on all places stacked: a tenth of the operations to compile and start.
"""

from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from retrojax.models.unfused import unfused

Matrix = Float[np.ndarray, "rows terms"]
Lines = Sequence[Any] | Array
"""What belongs to the places along an axis: a list, or one array with them as leading axis."""
Grid = Sequence[Sequence[Array]] | Array
"""What belongs to the places of a square, grid[row][column]."""


class Form(NamedTuple):
    """How lines and grids are held and computed.

    Attributes:
        sums: a matrix by lines: `sums(matrix, lines)[row]` is their sum with the weights of a row.
        each: a function of lines' members, or of those of several lines, as one of whole lines.
    """

    sums: Callable[[Matrix, Lines], Lines]
    each: Callable[[Callable[..., Any]], Callable[..., Lines]]


def on_both_axes(form: Form, matrix: Matrix, grid: Grid) -> Grid:
    """A matrix by each row of a grid, then by each column."""

    def right(grid: Grid) -> Grid:
        return form.each(lambda row: form.sums(matrix, row))(grid)

    return in_steps(form, matrix, right, partial(form.sums, matrix), grid)


def in_steps(
    form: Form,
    matrix: Matrix,
    first: Callable[..., Any],
    second: Callable[[Any], Grid],
    given: Any,
) -> Grid:
    """A matrix along both axes; in one pass where few terms are left of its rows.

    The square of more than two terms, for each value, costs more than to write and read the first
    sums.
    """
    if form is APART and np.count_nonzero(matrix, axis=1).max() <= 2:
        return second(first(given))
    return unfused(second, unfused(first, given))


def _sums_apart(matrix: Matrix, lines: Lines) -> Lines:
    """A matrix by lists of arrays, or of lists of them: an operation for each sum."""
    weights = tuple(tuple(row) for row in matrix.tolist())
    columns = [jax.tree.leaves(line) for line in lines]
    sums = [_all_combined(weights, list(terms)) for terms in zip(*columns, strict=True)]
    structure = jax.tree.structure(lines[0])
    return [jax.tree.unflatten(structure, row) for row in zip(*sums, strict=True)]


# Compiled by itself: all lines of a grid are alike, so each is traced once.
@partial(jax.jit, static_argnums=0)
def _all_combined(matrix: tuple[tuple[float, ...], ...], arrays: list[Array]) -> list[Array]:
    return [_combined(row, arrays) for row in matrix]


def _combined(weights: tuple[float, ...], arrays: list[Array]) -> Array:
    """A weighted sum; nothing is computed for zeros.

    By lax's own operations: an operator of jax.numpy takes twice as long to trace, and a step has
    hundreds of these sums.
    """
    total = None
    for weight, array in zip(weights, arrays, strict=True):
        if weight != 0:
            size = abs(weight)
            term = array if size == 1 else lax.mul(array, lax.full_like(array, size))
            if total is None:
                total = term if weight > 0 else lax.neg(term)
            else:
                total = (lax.add if weight > 0 else lax.sub)(total, term)
    assert total is not None
    return total


def _sums_together(matrix: Matrix, lines: Lines) -> Array:
    """A matrix by the members of a leading axis, zeros included: one operation for all sums.

    Three hundred for a small convolution take the compiler most of a second.
    """
    terms = list(lines)
    weights = jnp.asarray(matrix, terms[0].dtype)
    shape = (len(matrix), *terms[0].shape)

    def weighted(weights: Array, term: Array) -> Array:
        across = lax.broadcast_in_dim(weights, shape, (0,))
        return lax.mul(across, lax.broadcast_in_dim(term, shape, range(1, len(shape))))

    return reduce(lax.add, map(weighted, weights.T, terms))


def _each_apart(function: Callable[..., Any]) -> Callable[..., Lines]:
    return lambda *lines: [function(*members) for members in zip(*lines, strict=True)]


APART = Form(_sums_apart, _each_apart)
"""An operation for each sum and product: many, each of what lies in the caches, side by side."""
TOGETHER = Form(_sums_together, jax.vmap)
"""One operation for all points."""
