"""Line charts as inline SVG: small, without fonts, scripts or colours of their own.

The charts take their colours from the page (`currentColor` and the classes "raw" and "smooth"), so
that they follow its light or dark scheme.
"""

import math
from collections.abc import Sequence
from html import escape

import numpy as np
from jaxtyping import Float

WIDTH, HEIGHT = 340, 170
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 8, 24

# More points than this cannot be told apart at the chart's width; runs are thinned by groups.
MOST_POINTS = 400


def line_chart(name: str, steps: Sequence[int], values: Sequence[float | int]) -> str:
    """One metric over the steps: each value faint, their running mean on top.

    Values that are not finite are left out of the lines and marked at the upper edge. The vertical
    range covers all but the outermost hundredth of the values, so one spike does not flatten it.

    Args:
        name: Said by screen readers.
        steps: Completed updates, increasing.
        values: The metric at each step.

    Returns:
        An `<svg>` element.

    Raises:
        ValueError: If there is no value, or not one for each step.
    """
    if not steps or len(steps) != len(values):
        raise ValueError(f"a chart needs one value a step, got {len(values)} for {len(steps)}")
    x, y = np.asarray(steps, np.float64), np.asarray(values, np.float64)
    finite = np.isfinite(y)
    low, high = _vertical_range(y[finite])
    across = (x[0], x[-1] if x[-1] > x[0] else x[0] + 1.0)

    def place(steps: np.ndarray, values: np.ndarray) -> Float[np.ndarray, "n 2"]:
        right = LEFT + (steps - across[0]) / (across[1] - across[0]) * (WIDTH - LEFT - RIGHT)
        down = TOP + (high - np.clip(values, low, high)) / (high - low) * (HEIGHT - TOP - BOTTOM)
        return np.stack([right, down], axis=1)

    parts = []
    for tick in ticks(low, high, 4):
        level = place(x[:1], np.array([tick]))[0, 1]
        parts.append(
            f'<path class="rule" d="M{LEFT} {level:.1f}H{WIDTH - RIGHT}"/>'
            f'<text x="{LEFT - 6}" y="{level + 4:.1f}" text-anchor="end">{tick:g}</text>'
        )
    for tick in filter(float.is_integer, ticks(*across, 4)):
        column = place(np.array([tick]), np.array([low]))[0, 0]
        parts.append(
            f'<text x="{column:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{short(tick)}</text>'
        )
    if finite.any():
        parts.append(_line("raw", place(*thinned(x[finite], y[finite]))))
        smooth = running_mean(y[finite], max(1, int(finite.sum()) // 25))
        parts.append(_line("smooth", place(*thinned(x[finite], smooth))))
    for column, _ in place(x[~finite], np.full((~finite).sum(), high)):
        parts.append(f'<path class="broken" d="M{column:.1f} {TOP}v10"/>')
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(name)} over steps">'
        f"{''.join(parts)}</svg>"
    )


def running_mean(values: Float[np.ndarray, " n"], reach: int) -> Float[np.ndarray, " n"]:
    """Centred mean over `reach` values to either side, over fewer at the ends."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    first = np.maximum(np.arange(len(values)) - reach, 0)
    last = np.minimum(np.arange(len(values)) + reach + 1, len(values))
    return (total[last] - total[first]) / (last - first)


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten) in [low, high], at most `most` + 1 of them."""
    rough = (high - low) / most
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * m for m in (1, 2, 5, 10) if unit * m >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{k * step:.12g}") for k in range(first, last + 1)]


def short(number: float | int) -> str:
    """A step count in at most five characters: 500, 1.5k, 20k, 3M."""
    for unit, suffix in ((1e6, "M"), (1e3, "k")):
        if abs(number) >= unit:
            return f"{number / unit:.3g}{suffix}"
    return f"{number:g}"


def thinned(
    steps: Float[np.ndarray, " n"], values: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """At most `MOST_POINTS` points: means of groups of neighbours."""
    groups = min(len(steps), MOST_POINTS)
    starts = np.arange(groups) * len(steps) // groups
    sizes = np.diff(starts, append=len(steps))
    return np.add.reduceat(steps, starts) / sizes, np.add.reduceat(values, starts) / sizes


def _vertical_range(values: Float[np.ndarray, " n"]) -> tuple[float, float]:
    if not len(values):
        return 0.0, 1.0
    low, high = (float(bound) for bound in np.percentile(values, (0.5, 99.5)))
    margin = 0.06 * (high - low) or max(abs(low) * 0.1, 1e-6)
    # A quantity that cannot be negative is not drawn as if it could.
    return (max(low - margin, 0.0) if low >= 0.0 else low - margin), high + margin


def _line(kind: str, points: Float[np.ndarray, "n 2"]) -> str:
    if len(points) == 1:
        return f'<circle class="{kind}" cx="{points[0, 0]:.1f}" cy="{points[0, 1]:.1f}" r="3"/>'
    path = "L".join(f"{column:.1f} {row:.1f}" for column, row in points)
    return f'<path class="{kind}" d="M{path}"/>'
