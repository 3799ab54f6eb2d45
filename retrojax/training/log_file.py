"""The file `metrics.jsonl` of a run: one JSON object a line, in the order of the steps.

A line is either metrics, `{"step", "seconds", "images_per_second", "g/adversarial", ...}`, or an
event, `{"step", "seconds", "event": name, ...}`; "step" counts completed updates and "seconds" the
time spent in the run, over all sittings. JSON has no infinity: non-finite floats are written as the
strings "NaN", "Infinity" and "-Infinity", which `read_lines` turns back.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

METRICS_FILE = "metrics.jsonl"

NON_FINITE = MappingProxyType({"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf})


def append_line(path: Path, line: Mapping[str, Any]) -> None:
    """Append one line that tells of something outside the training loop.

    Args:
        path: A run's `metrics.jsonl`.
        line: With "step", and anything else that `plain` accepts.

    Raises:
        ValueError: If the line has no step, or holds something that has no JSON form.
    """
    if not isinstance(line.get("step"), int):
        raise ValueError(f"a log line needs an integer step, got {line.get('step')!r}")
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(as_text(line))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All complete lines of a `metrics.jsonl`, non-finite floats turned back.

    A line cut short by a kill is left out; a missing file is an empty log.
    """
    path = Path(path)
    if not path.exists():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        if isinstance(line, dict) and isinstance(line.get("step"), int):
            lines.append(_restore(line))
    return lines


def as_text(line: Mapping[str, Any]) -> str:
    """The line as it stands in the file, newline included."""
    return json.dumps(plain(line), allow_nan=False) + "\n"


def plain(value: Any) -> Any:
    """The value as JSON can say it: containers, numbers and strings, non-finite floats as strings.

    Raises:
        ValueError: If the value is of a kind that has no JSON form.
    """
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bool | int | str | None):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, os.PathLike):
        return str(value)
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    raise ValueError(f"a log line cannot hold {value!r} of type {type(value).__name__}; convert it")


def drop_lost_lines(path: Path, first_step: int) -> list[dict[str, Any]]:
    """Keep the lines up to first_step, by an atomic rewrite; none for a run that starts at 0."""
    if not path.exists():
        return []
    lines = read_lines(path) if first_step else []
    kept = [line for line in lines if line["step"] <= first_step]
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(map(as_text, kept)), encoding="utf-8")
    temporary.replace(path)
    return kept


def _restore(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _restore(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_restore(item) for item in value]
    return NON_FINITE.get(value, value) if isinstance(value, str) else value
