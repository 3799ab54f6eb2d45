"""The sections of a run's report, each a function from what was logged to HTML text.

A section that has nothing to show says so in a sentence. All text that comes from the run is
escaped; nothing refers to anything outside the page.
"""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from retrojax.metrics import FIGURES
from retrojax.training.curves import line_chart
from retrojax.training.pictures import KINDS, data_uris, final_pictures, sample_grids

# Characters for photographs and for grids; with curves and tables a report stays under 6 MB.
PHOTO_BUDGET = 2_800_000
GRID_BUDGET = 2_400_000
MOST_GRIDS = 16

# Events with a section of their own; of each, the last one counts.
SECTION_EVENTS = ("figures", "formula", "timing", "environment")

Line = dict[str, Any]

# What the figures are, by whether they are those of images made from noise.
_NOTES = {
    False: (
        "Means over held-out photographs. Grain is the difference of two renderings of a "
        "photograph with different seeds; dB are output minus target, c/px cycles per pixel."
    ),
    True: (
        "Coverage is the share of training images with a generated one (or a held-out one) nearer "
        "than their fifth neighbour. Copies would lie at 0 times the distance that real images "
        "have from their nearest one; held-out images lie near 1."
    ),
}


def figures_section(figures: Mapping[str, Mapping[str, float]]) -> str:
    """Figures of the run and of what it is compared with, with goals and marks."""
    if not figures:
        return missing(
            "No figures were measured; they are taken on held-out photographs at the end."
        )
    measured = dict.fromkeys(key for one in figures.values() for key in one)
    keys = [key for key in FIGURES if key in measured] + [k for k in measured if k not in FIGURES]
    # The run's own result stands first, where a narrow screen shows it without scrolling.
    own = list(figures)[-1]
    figures = {own: figures[own], **figures}
    head = "".join(f'<th scope="col"{_own(name, own)}>{escape(name)}</th>' for name in figures)
    rows = []
    for key in keys:
        figure = FIGURES.get(key)
        cells = "".join(
            f"<td{_own(name, own)}>{_cell(key, values.get(key, math.nan))}</td>"
            for name, values in figures.items()
        )
        label, goal = (figure.label, figure.goal) if figure else (key, "")
        rows.append(f'<tr><th scope="row">{escape(label)}</th><td>{escape(goal)}</td>{cells}</tr>')
    return (
        '<div class="scroll"><table class="numbers"><thead><tr><th scope="col">figure</th>'
        f'<th scope="col">goal</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
        f'<p class="note">{_NOTES["coverage" in measured]} A dash means that the figure has no '
        "meaning there.</p>"
    )


def _cell(key: str, value: float) -> str:
    figure = FIGURES.get(key)
    if figure is None:
        return escape(f"{value:.4g}")
    marks = {
        True: '<span class="mark good" title="goal met"> \u2713</span>',
        False: '<span class="mark bad" title="goal missed"> \u2717</span>',
        None: '<span class="mark"></span>',
    }
    return figure.text(value) + marks[figure.met(value)]


def photos_section(samples: Path) -> str:
    """Each final photograph under a slider between input (or target) and output."""
    photos = final_pictures(samples)
    paths = [path for kinds in photos.values() for path in kinds.values()]
    uris = data_uris(paths, budget=PHOTO_BUDGET)
    parts, compared = [], False
    for name, kinds in photos.items():
        shown = {kind: uris[kinds[kind]] for kind in KINDS if kind in kinds and kinds[kind] in uris}
        if output := shown.pop("output", None):
            parts.append(_comparison(name, output, shown))
            compared = compared or bool(shown)
    if not parts:
        return missing("There are no final pictures; they are written when the run ends.")
    drag = "Drag the line, or focus a picture and use the arrow keys. " if compared else ""
    return (
        f'<div class="photos">{"".join(parts)}</div>'
        f'<p class="note">{drag}The pictures are compressed for this page; the files in samples/ '
        "are not.</p>"
    )


def _comparison(name: str, output: str, others: Mapping[str, str]) -> str:
    title = f"<h3>{escape(name)}</h3>"
    if not others:
        return f'<div>{title}<img class="alone" src="{output}" alt="output"></div>'
    first = next(iter(others))
    lefts = "".join(
        f'<img class="left" data-kind="{kind}" src="{uri}" alt="{kind}"'
        f"{' hidden' * (kind != first)}>"
        for kind, uri in others.items()
    )
    choice = ""
    if len(others) > 1:
        buttons = "".join(
            f'<label><input type="radio" name="left-{escape(name)}" value="{kind}"'
            f"{' checked' * (kind == first)}> {kind} and output</label>"
            for kind in others
        )
        choice = f'<fieldset class="choice">{buttons}</fieldset>'
    return (
        f'<div>{title}<div class="compare"><img src="{output}" alt="output">{lefts}'
        '<span class="knob" aria-hidden="true">\u2194</span>'
        f'<span class="tag l">{first}</span><span class="tag r">output</span>'
        '<input type="range" min="0" max="100" value="50" '
        f'aria-label="{escape(name)}: how much of the left picture is shown"></div>{choice}</div>'
    )


def curves_section(lines: Sequence[Line]) -> str:
    """One chart for each metric."""
    # Losses first, then the rate and whatever else belongs to neither player.
    names = sorted(dict.fromkeys(n for line in lines for n in line), key=lambda n: "/" not in n)
    charts = []
    for name in names:
        points = [(line["step"], line[name]) for line in lines if name in line]
        if name in ("step", "seconds") or not isinstance(points[0][1], int | float):
            continue
        steps, values = zip(*points, strict=True)
        charts.append(
            f'<figure class="chart"><h3>{escape(name)}<span>{values[-1]:.4g}</span></h3>'
            f"{line_chart(name, steps, values)}</figure>"
        )
    if not charts:
        return missing("No metrics were logged yet.")
    return (
        f'<div class="charts">{"".join(charts)}</div>'
        '<p class="note">Each value, its running mean, and at the top right the last value, over '
        "completed steps. Outliers are cut off at the edge; red strokes at the upper edge stand "
        "for values that are not finite.</p>"
    )


def grids_section(samples: Path) -> str:
    """The sample grids under a slider over time."""
    grids = sample_grids(samples, most=MOST_GRIDS)
    uris = data_uris(list(grids.values()), budget=GRID_BUDGET)
    frames = {f"step {step:,}": uris[path] for step, path in grids.items() if path in uris}
    if not frames:
        return missing("No samples were written.")
    last = len(frames) - 1
    images = "".join(
        f'<img src="{uri}" alt="{step}"{" class=shown" * (k == last)}>'
        for k, (step, uri) in enumerate(frames.items())
    )
    return (
        f'<div class="time"><label>time <input type="range" min="0" max="{last}" value="{last}">'
        f"<output>{list(frames)[-1]}</output></label>{images}</div>"
    )


def formula_section(event: Line | None) -> str:
    """The game in force, the formula of each player on a line of its own."""
    facts = {name: _text(value).replace("    ", "\n") for name, value in payload(event).items()}
    return facts_table(facts, "formula") or missing("The formula in force was not logged.")


def configuration_section(config: Mapping[str, Any]) -> str:
    """Every setting, in two tables side by side where there is room."""
    facts = list(config.items())
    half = (len(facts) + 1) // 2
    tables = "".join(facts_table(dict(part)) for part in (facts[:half], facts[half:]))
    return f'<div class="columns">{tables}</div>'


def run_section(
    lines: Sequence[Line], curve_lines: Sequence[Line], events: Mapping[str, Line]
) -> str:
    """Times, what it ran on, and everything else that happened."""
    times: dict[str, Any] = {}
    if curve_lines:
        rates = [line["images_per_second"] for line in curve_lines if "images_per_second" in line]
        times["time"] = duration(curve_lines[-1].get("seconds", 0.0))
        if rates:
            times["images per second (median)"] = f"{statistics.median(rates):,.4g}"
    times |= payload(events.get("timing"))
    columns = [facts_table(times), facts_table(payload(events.get("environment")))]
    others = [line for line in lines if line.get("event", "figures") not in SECTION_EVENTS]
    happened = {
        f"step {line['step']:,} \u00b7 {line['event']}": ", ".join(
            f"{name}: {_text(value)}" for name, value in payload(line).items()
        )
        for line in others
    }
    columns.append(facts_table(happened))
    filled = "".join(column for column in columns if column)
    return f'<div class="columns">{filled}</div>' if filled else missing("Nothing was logged.")


def facts_table(facts: Mapping[str, Any], kind: str = "") -> str:
    """Names and values; empty text when there is none."""
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(_text(value))}</td></tr>'
        for name, value in facts.items()
    )
    table = f'<div class="scroll"><table class="facts {kind}"><tbody>{rows}</tbody></table></div>'
    return table if rows else ""


def payload(event: Line | None) -> Line:
    """What an event tells beside what it is."""
    hidden = ("step", "seconds", "event")
    return {name: value for name, value in (event or {}).items() if name not in hidden}


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value)


def duration(seconds: float) -> str:
    """Seconds for people: 40 s, 3 min 12 s, 2 h 5 min."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def missing(text: str) -> str:
    """A sentence in place of a section that has nothing to show."""
    return f'<p class="note">{text}</p>'


def _own(name: str, own: str) -> str:
    return ' class="own"' if name == own else ""
