"""Pictures of a run's `samples/` folder, found by name and packed into data: URIs."""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

KINDS = ("source", "output", "target")

# From best to smallest: longest side in pixels and JPEG quality.
STAGES = ((1024, 90), (1024, 80), (768, 80), (640, 75), (512, 70), (384, 60))

# Small files go in as they are: JPEG would save little and would smear pixel-sized detail.
SMALL_FILE = 24_000


def final_pictures(samples: Path) -> dict[str, dict[str, Path]]:
    """Files `final-NAME-KIND.png` by name and kind, in the order of names."""
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(samples.glob("final-*.png")):
        match = re.fullmatch(rf"final-(.+)-({'|'.join(KINDS)})\.png", path.name)
        if match:
            found.setdefault(match[1], {})[match[2]] = path
    return {name: kinds for name, kinds in found.items() if "output" in kinds}


def sample_grids(samples: Path, *, most: int) -> dict[int, Path]:
    """Files `STEP.png` by step; when there are more than `most`, evenly chosen with both ends."""
    grids = {int(path.stem): path for path in samples.glob("*.png") if path.stem.isdecimal()}
    steps = sorted(grids)
    if len(steps) > most:
        steps = [steps[round(k * (len(steps) - 1) / (most - 1))] for k in range(most)]
    return {step: grids[step] for step in steps}


def data_uris(paths: Sequence[Path], *, budget: int) -> Mapping[Path, str]:
    """The pictures as data: URIs that together stay under the budget where that is possible.

    All pictures go through the same stage of size and quality, so that they can be compared; the
    first stage that fits is taken, the last one if none does.

    Args:
        paths: PNG files; one that cannot be read is left out.
        budget: Characters of all URIs together.
    """
    pictures = {}
    for path in paths:
        try:
            with Image.open(path) as picture:
                pictures[path] = picture.convert("RGB")
        except OSError:
            # A picture torn by a full disk must not cost the user the whole report.
            continue
    uris: dict[Path, str] = {}
    for side, quality in STAGES:
        uris = {path: _data_uri(path, one, side, quality) for path, one in pictures.items()}
        if sum(map(len, uris.values())) <= budget:
            break
    return uris


def _data_uri(path: Path, picture: Image.Image, side: int, quality: int) -> str:
    if path.stat().st_size <= SMALL_FILE:
        return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
    picture = picture.copy()
    # `thumbnail` never enlarges, and keeps the proportions.
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    # No chroma subsampling: colour grain is part of what is looked at. No `optimize` either: it
    # needs the whole file in one buffer, whose size Pillow underestimates for grainy pictures.
    picture.save(buffer, "JPEG", quality=quality, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
