"""Three-dimensional colour lookup tables: apply, fit from pairs, export.

A table of size n holds the output colour at the n^3 nodes of a regular grid over the cube of
encoded input colours; `lut[r, g, b]` is the colour for input (r, g, b) / (n - 1). Between nodes it
is interpolated trilinearly. `fit_lut` is the best such table in the sense of least squares, which
makes it the baseline to beat for anything that maps each pixel's colour alone.
"""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def identity_lut(size: int) -> Float[Array, "n n n 3"]:
    """The table that changes nothing.

    Raises:
        ValueError: for a size below 2.
    """
    _check_size(size)
    nodes = jnp.linspace(0.0, 1.0, size)
    return jnp.stack(jnp.meshgrid(nodes, nodes, nodes, indexing="ij"), axis=-1)


def apply_lut(lut: Float[Array, "n n n 3"], image: Float[Array, "*b 3"]) -> Float[Array, "*b 3"]:
    """Maps each colour through the table, trilinearly. Differentiable in both arguments.

    Args:
        lut: the table, n at least 2.
        image: encoded values; those outside [0, 1] are clipped.
    """
    last = lut.shape[0] - 1
    position = jnp.clip(image, 0.0, 1.0) * last
    low = jnp.clip(jnp.floor(position), 0, last - 1).astype(jnp.int32)
    fraction = position - low
    r, g, b = low[..., 0], low[..., 1], low[..., 2]
    fr, fg, fb = fraction[..., 0:1], fraction[..., 1:2], fraction[..., 2:3]

    def along_blue(red: Array, green: Array) -> Array:
        start = lut[red, green, b]
        return start + fb * (lut[red, green, b + 1] - start)

    def along_green(red: Array) -> Array:
        start = along_blue(red, g)
        return start + fg * (along_blue(red, g + 1) - start)

    start = along_green(r)
    return start + fr * (along_green(r + 1) - start)


def fit_lut(
    sources: Float[Array | np.ndarray, "*b 3"],
    targets: Float[Array | np.ndarray, "*b 3"],
    *,
    size: int = 9,
    smoothness: float = 5e-7,
) -> Float[Array, "n n n 3"]:
    """Fits a table to pairs of colours by regularised least squares.

    Minimises mean |A x - t|^2 + smoothness * mean |second derivatives of x along each axis|^2,
    where A holds the trilinear weights of the source colours. Second derivatives leave every
    affine colour map unpunished, so nodes that no pixel touches continue the trend of those around
    them (a ridge of 1e-9 holds those that nothing decides near the identity); being derivatives,
    they mean the same at any size. Solved exactly by the sparse normal equations.

    Args:
        sources: encoded colours in [0, 1], for instance a stack of images.
        targets: the colour each of them should become, same shape.
        size: nodes along each axis, 2 to about 17 (a direct solve of size^3 unknowns).
        smoothness: above 0. The default had the least error on unseen photographs for the looks of
            this package with their grain, of sizes 9 and 17.

    Raises:
        ValueError: for unequal shapes, no pixels, a size below 2, or a smoothness not above 0.
    """
    _check_size(size)
    if sources.shape != targets.shape or sources.size == 0:
        raise ValueError(
            f"sources {sources.shape} and targets {targets.shape} must have the same shape"
            " and at least one pixel"
        )
    if not smoothness > 0:
        raise ValueError(f"smoothness must be above 0 to fill empty nodes, not {smoothness}")
    # SciPy's sparse solvers are slow to import and needed here only.
    from scipy import sparse
    from scipy.sparse.linalg import spsolve

    weights = _trilinear_matrix(np.asarray(sources, np.float64).reshape(-1, 3), size)
    wanted = np.asarray(targets, np.float64).reshape(-1, 3)
    bend = _second_derivatives(size)
    normal = weights.T @ weights / len(wanted)
    if bend.shape[0]:
        normal = normal + bend.T @ bend * (smoothness / bend.shape[0])
    # Far below every other term; decides directions that data and smoothness both leave open.
    normal = normal + 1e-9 * sparse.identity(size**3)
    start = np.asarray(identity_lut(size), np.float64).reshape(-1, 3)
    residual = weights.T @ wanted / len(wanted) - normal @ start
    solution = start + spsolve(sparse.csc_matrix(normal), residual)
    return jnp.asarray(solution.reshape(size, size, size, 3), jnp.float32)


def to_cube(lut: Float[Array, "n n n 3"], path: Path | str, *, title: str = "retrojax") -> None:
    """Writes a table in the Adobe / IRIDAS .cube format (Cube LUT Specification 1.0).

    Red runs fastest, then green, then blue. Values are written as they are, with six decimals.

    Raises:
        ValueError: for a title with a quotation mark or a line break, which the format lacks.
    """
    if '"' in title or "\n" in title:
        raise ValueError(f"title {title!r} must have no quotation mark and no line break")
    size = lut.shape[0]
    rows = np.asarray(lut).transpose(2, 1, 0, 3).reshape(-1, 3)
    header = f'TITLE "{title}"\nLUT_3D_SIZE {size}\nDOMAIN_MIN 0.0 0.0 0.0\nDOMAIN_MAX 1.0 1.0 1.0'
    lines = (f"{r:.6f} {g:.6f} {b:.6f}" for r, g, b in rows.tolist())
    Path(path).write_text("\n".join([header, *lines]) + "\n", encoding="ascii")


def _check_size(size: int) -> None:
    if size < 2:
        raise ValueError(f"a lookup table needs at least 2 nodes along each axis, not {size}")


def _trilinear_matrix(colours: Float[np.ndarray, "p 3"], size: int):
    """The sparse [pixels, size^3] matrix whose product with the nodes interpolates them."""
    from scipy import sparse

    position = np.clip(colours, 0.0, 1.0) * (size - 1)
    low = np.minimum(position.astype(np.int64), size - 2)
    fraction = position - low
    indices, values = [], []
    for corner in np.ndindex(2, 2, 2):
        node = low + np.asarray(corner)
        indices.append((node[:, 0] * size + node[:, 1]) * size + node[:, 2])
        values.append(np.where(corner, fraction, 1 - fraction).prod(axis=1))
    rows = np.tile(np.arange(len(colours)), 8)
    entries = (np.concatenate(values), (rows, np.concatenate(indices)))
    return sparse.csr_matrix(entries, shape=(len(colours), size**3))


def _second_derivatives(size: int):
    """Second differences along the three axes over the squared distance of the nodes."""
    from scipy import sparse

    one = sparse.diags_array(
        np.asarray([1.0, -2.0, 1.0]) * (size - 1) ** 2,
        offsets=[0, 1, 2],
        shape=(max(size - 2, 0), size),
    )
    eye = sparse.identity(size)
    return sparse.vstack(
        [
            sparse.kron(sparse.kron(one, eye), eye),
            sparse.kron(sparse.kron(eye, one), eye),
            sparse.kron(sparse.kron(eye, eye), one),
        ]
    ).tocsr()
