"""Line charts as inline SVG, drawn by Matplotlib, in the colours and the font of the page."""

import io
from collections.abc import Sequence
from html import escape

import numpy as np
from jaxtyping import Float

WIDTH, HEIGHT = 340, 170

# More points than this cannot be told apart at the chart's width; runs are thinned by groups.
MOST_POINTS = 400

# What Matplotlib draws in the colours on the left follows the page's light or dark scheme.
INK, ACCENT, BAD = "#000001", "#000002", "#000003"
PAGE_COLOURS = {INK: "currentColor", ACCENT: "var(--accent)", BAD: "var(--bad)"}

STYLE = {
    "axes.grid": True,
    "axes.grid.axis": "y",
    "font.size": 11,
    "grid.alpha": 0.25,
    "grid.color": INK,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",
    "text.color": INK,
    "xtick.color": INK,
    "xtick.major.size": 0,
    "ytick.color": INK,
    "ytick.major.size": 0,
}


def line_chart(name: str, steps: Sequence[int], values: Sequence[float | int]) -> str:
    """One metric over the steps: each value faint, their running mean on top.

    Values that are not finite are left out of the lines and marked at the upper edge. A few values
    far outside the others, or a short steep start, are cut off at the edge, so that they do not
    flatten the rest.

    Args:
        name: Said by screen readers.
        steps: Completed updates, increasing.
        values: The metric at each step.

    Returns:
        An `<svg>` element that has no `id` and refers to nothing, so that a page can hold many.

    Raises:
        ValueError: If there is no value, or not one for each step.
    """
    # Only a report needs these; training imports this file long before it writes one.
    from matplotlib import style
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, MaxNLocator
    from scipy.ndimage import uniform_filter1d

    if not steps or len(steps) != len(values):
        raise ValueError(f"a chart needs one value a step, got {len(values)} for {len(steps)}")
    at, metric = np.asarray(steps, np.float64), np.asarray(values, np.float64)
    finite = np.isfinite(metric)
    low, high = vertical_range(metric[finite])
    across, kept = at[finite], np.clip(metric[finite], low, high)
    with style.context(["default", STYLE]):
        figure = Figure((WIDTH / 72, HEIGHT / 72), layout="constrained", frameon=False)
        axes = figure.add_subplot(frameon=False)
        around = float(at[-1] == at[0])
        axes.set(xlim=(at[0] - around, at[-1] + around), ylim=(low, high))
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter("{x:g}")
        if len(kept) == 1:
            # A line without length has only its round ends: a dot.
            axes.plot(across.repeat(2), kept.repeat(2), color=ACCENT, gid="smooth", lw=6)
        elif len(kept):
            smooth = uniform_filter1d(kept, 2 * max(1, len(kept) // 25) + 1, mode="nearest")
            axes.plot(*thinned(across, kept), color=ACCENT, gid="raw", lw=1, alpha=0.45)
            axes.plot(*thinned(across, smooth), color=ACCENT, gid="smooth", lw=2)
        if not finite.all():
            broken = thinned(at[~finite], at[~finite])[0]
            ends = np.tile([high - 0.07 * (high - low), high, np.nan], len(broken))
            axes.plot(broken.repeat(3), ends, color=BAD, gid="broken", lw=2)
        # Nothing reaches out of the axes; clipping would only put references into the page.
        for artist in axes.findobj():
            artist.set_clip_on(False)
        file = io.StringIO()
        figure.savefig(file, format="svg")
    # All before the drawing is for a file of its own: prolog, metadata, namespaces, global style.
    drawing = file.getvalue().partition('<g id="figure_1">')[2].replace(' id="', ' class="')
    for colour, page_colour in PAGE_COLOURS.items():
        drawing = drawing.replace(colour, page_colour)
    label = f"{escape(name)} over steps"
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}"><g>{drawing}'


def thinned(
    steps: Float[np.ndarray, " n"], values: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """At most `MOST_POINTS` points: means of groups of neighbours."""
    groups = min(len(steps), MOST_POINTS)
    starts = np.arange(groups) * len(steps) // groups
    sizes = np.diff(starts, append=len(steps))
    return np.add.reduceat(steps, starts) / sizes, np.add.reduceat(values, starts) / sizes


def vertical_range(values: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """Where a chart ends below and above, with a margin.

    The middle nine tenths of the values, and to either side at most as far again: a few outliers
    cannot take more than that.
    """
    if not len(values):
        return 0.0, 1.0
    lower, upper = np.percentile(values, (5, 95))
    reach = upper - lower
    low, high = max(values.min(), lower - reach), min(values.max(), upper + reach)
    size = max(abs(low), abs(high))
    margin = 0.06 * (high - low) if high - low > 1e-4 * size else 0.1 * size or 1.0
    # A quantity that cannot be negative is not drawn as if it could.
    bottom = max(low - margin, 0.0) if low >= 0.0 else low - margin
    return float(bottom), float(high + margin)
