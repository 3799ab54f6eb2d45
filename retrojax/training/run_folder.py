"""A run's folder: its configuration, and the rule by which the same command resumes it."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes JSON to a temporary file and renames it, so that no half file is ever read."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")
    os.replace(temporary, path)


def open_run(
    folder: Path, config: Mapping[str, Any], *, may_change: frozenset[str], write: bool = True
) -> bool:
    """Creates a run's folder or recognises it as this run's.

    Args:
        folder: the run's folder.
        config: the complete configuration, JSON values by field.
        may_change: fields in which a resumed run may differ from what was written.
        write: False in the further processes of a run, which find what the first one wrote.

    Returns:
        Whether the folder held this run already.

    Raises:
        ValueError: if the folder holds another run (each differing field is named), cannot be
            written, or is not the one that the first process wrote to.
    """
    path = folder / "config.json"
    if not write and not path.exists():
        raise ValueError(
            f"this process does not see {path}, which the first one wrote; choose a --run-dir on "
            "a disk that all processes share"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        known = json.loads(path.read_text()) if path.exists() else None
        if known is not None:
            _refuse_differences(folder, known, config, may_change)
        if write:
            write_json(path, config)
    except OSError as error:
        raise ValueError(
            f"cannot write the run's folder {folder}: {error.strerror or error}; "
            "choose another --run-dir"
        ) from error
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON ({error}); choose another --run-dir") from error
    return known is not None


def _refuse_differences(
    folder: Path, known: Mapping[str, Any], config: Mapping[str, Any], may_change: frozenset[str]
) -> None:
    fields = sorted((known.keys() | config.keys()) - may_change)
    differing = [
        f"{field} was {known.get(field)!r}, now {config.get(field)!r}"
        for field in fields
        if known.get(field) != config.get(field)
    ]
    if differing:
        raise ValueError(
            f"{folder} holds a run with another configuration: {'; '.join(differing)}; "
            "use the old values to resume it, or choose another --run-dir"
        )
