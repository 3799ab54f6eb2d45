"""What one system hands to another before they are compared: weights, batches, what was drawn.

One `.npz` file of arrays with the paths of Linen's variables as names, in the product's layouts:
images NHWC, kernels HWIO. No library but numpy, so that each system reads it in a process
of its own.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Arrays = dict[str, np.ndarray]


class Handover(NamedTuple):
    """The same start for every system.

    Attributes:
        settings: what the task and its networks were made with, by "task", "generator" and
            "discriminator"; JSON values.
        generator: Linen variables, nested dictionaries: {"params": ..., **collections}.
        discriminator: its variables.
        batches: prepared batches by step, NHWC in [-1, 1].
        draws: by step, the noise that the product drew; {} where it draws none.
    """

    settings: dict[str, dict[str, Any]]
    generator: dict[str, Any]
    discriminator: dict[str, Any]
    batches: Sequence[Arrays]
    draws: Sequence[Arrays]


def save(path: Path, handover: Handover) -> None:
    """Writes a hand-over."""
    steps = {str(i): one for i, one in enumerate(handover.batches)}
    drawn = {str(i): one for i, one in enumerate(handover.draws)}
    trees = {
        "generator": handover.generator,
        "discriminator": handover.discriminator,
        "batches": steps,
        "draws": drawn,
    }
    arrays: dict[str, Any] = {"settings": json.dumps(handover.settings), **dict(flat(trees))}
    np.savez(path, **arrays)


def load(path: Path) -> Handover:
    """Reads a hand-over."""
    tree: dict[str, Any] = {}
    with np.load(path) as arrays:
        for name in arrays.files:
            *folders, leaf = name.split("/")
            place = tree
            for folder in folders:
                place = place.setdefault(folder, {})
            place[leaf] = arrays[name]
    batches = [tree["batches"][str(i)] for i in range(len(tree["batches"]))]
    draws = [tree.get("draws", {}).get(str(i), {}) for i in range(len(batches))]
    settings = json.loads(str(tree["settings"]))
    return Handover(settings, tree["generator"], tree.get("discriminator", {}), batches, draws)


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Arrays of nested dictionaries with their paths, joined by slashes."""
    for name, value in tree.items():
        path = f"{prefix}/{name}" if prefix else name
        if isinstance(value, Mapping):
            yield from flat(value, path)
        else:
            yield path, np.asarray(value)
