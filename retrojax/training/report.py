"""A run's report: one HTML file that needs no network, made from the run's folder alone.

Everything is inline: pictures as data: URIs, curves as SVG, style and script as text. It can be
written at any time, also of a run that was stopped early, and says what is not there yet.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from retrojax.metrics import FIGURES
from retrojax.training.log_file import METRICS_FILE, read_lines
from retrojax.training.report_sections import (
    Line,
    configuration_section,
    curves_section,
    duration,
    figures_section,
    formula_section,
    grids_section,
    photos_section,
    run_section,
)


def write_report(run_dir: Path) -> Path:
    """Write `report.html` into a run's folder.

    Args:
        run_dir: A run's folder with `config.json`; `metrics.jsonl` and `samples/` if present. Of
            the last event "figures" the last entry is taken for the run's own result, those
            before it for what it is compared with.

    Returns:
        The path of the report, written in one move.

    Raises:
        ValueError: If the folder has no readable `config.json`.
    """
    run_dir = Path(run_dir)
    try:
        config = json.loads((run_dir / "config.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{run_dir} has no readable config.json; give a run's folder") from error
    lines = read_lines(run_dir / METRICS_FILE)
    curve_lines = [line for line in lines if "event" not in line]
    events = {line["event"]: line for line in lines if "event" in line}
    figures = events.get("figures", {}).get("figures", {})

    named = [config.get("look"), config.get("loss")]
    if named[0] in (None, "none"):
        named[0] = config.get("preset")
    title = " \u00b7 ".join(str(name) for name in named if name) or "a run"
    sections = {
        "Figures": figures_section(figures),
        "Final pictures": photos_section(run_dir / "samples"),
        "Curves": curves_section(curve_lines),
        "Samples over time": grids_section(run_dir / "samples"),
        "Formula": formula_section(events.get("formula")),
        "Configuration": configuration_section(config),
        "Run": run_section(lines, curve_lines, events),
    }
    body = "".join(
        f'<section id="{_anchor(name)}"><h2>{name}</h2>{html}</section>'
        for name, html in sections.items()
    )
    links = "".join(f'<a href="#{_anchor(name)}">{name}</a>' for name in sections)
    here = resources.files("retrojax.training")
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # The browser itself is told that nothing may be loaded from anywhere.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">"
        f"<title>retrojax: {escape(title)}</title>"
        f"<style>{here.joinpath('report.css').read_text(encoding='utf-8')}</style></head><body><main>"
        f'<header><p class="run">retrojax \u00b7 {escape(run_dir.resolve().name)}</p>'
        f'<h1>{escape(title)}</h1><p class="lead">{_summary(config, curve_lines, figures)}</p>'
        f"<nav>{links}</nav></header>{body}</main>"
        f"<script>{here.joinpath('report.js').read_text(encoding='utf-8')}</script></body></html>\n"
    )
    path = run_dir / "report.html"
    temporary = run_dir / ".report.html.tmp"
    temporary.write_text(page, encoding="utf-8")
    os.replace(temporary, path)
    return path


def _summary(
    config: Mapping[str, Any], lines: Sequence[Line], figures: Mapping[str, Mapping[str, float]]
) -> str:
    """How far the run went, what it reached, and how many goals that meets."""
    done, total = (lines[-1]["step"] if lines else 0), config.get("steps", 0)
    state = f"{done:,} steps" if done >= total else f"Stopped at step {done:,} of {total:,}"
    if batch := config.get("batch_size"):
        state += f" with batches of {batch} ({done * batch:,} images seen)"
    if lines:
        state += f" in {duration(lines[-1].get('seconds', 0.0))}"
    if not figures:
        return escape(state) + "; no figures were measured yet."
    own = list(figures.values())[-1]
    said = {
        "colour_ratio_to_input": "colour error {} of the untouched input\u2019s",
        "grain_deviation_ratio": "grain {} times as strong as the target\u2019s",
        "structure_ssim": "structure kept to {} (luma SSIM)",
        "coverage": "{} of the real images covered",
    }
    parts = [
        text.format(FIGURES[key].text(own[key]))
        for key, text in said.items()
        if not math.isnan(own.get(key, math.nan))
    ]
    judged = [FIGURES[key].met(value) for key, value in own.items() if key in FIGURES]
    judged = [met for met in judged if met is not None]
    if judged:
        parts.append(f"{sum(judged)} of {len(judged)} goals met")
    return escape(f"{state}: {', '.join(parts)}.")


def _anchor(name: str) -> str:
    return name.lower().replace(" ", "-")
