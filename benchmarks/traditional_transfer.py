"""A look by traditional transfer and by a trained generator: seconds, memory and figures.

    python benchmarks/traditional_transfer.py
    python benchmarks/traditional_transfer.py --look=tungsten-cine --example=astronaut

Traditional methods take the look from one example, another photograph that has it, as they do in
practice; the generator has learned it beforehand (README.md says in how many minutes) and is the
one that comes with the package, run as `retrojax stylize` runs it. The default example is the one
of the five that served the traditional methods best.

Every method runs in a process of its own, on centre crops of the held-out photographs. Seconds are
the median over pictures when everything is warm, decoded pixels to finished pixels; "first picture"
is what the first one takes with loading and compiling. Memory is what the process's peak grows by
beside an idle process with the same imports, compiling included. Figures compare with the true look
as `experiments.run` does: two renderings with different seeds and the mean of all of them (32 of
the generator; 2 from different noise of Gatys's method; the colour transfers have no randomness).
Written for a CPU: memory of other devices is not seen.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

# Started by its path, Python looks for modules in benchmarks/ and not in the checkout above it.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import numpy as np
from jaxtyping import UInt8

from benchmarks.command_line import Parser
from benchmarks.transfer_methods import Measured, Pictures, measure, methods
from retrojax.data import open_data
from retrojax.film import POSITIONED, Look, look, render
from retrojax.inference.bundle import DEFAULT_PIXELS_PER_MM, shipped_bundles
from retrojax.keys import fold_each
from retrojax.metrics import FIGURES, PhotoRenderings, look_figures, mean_figures
from retrojax.training.evaluation import INPUT, common_crop

PHOTO_SIZE, QUICK_SIZE = 512, 16
EXAMPLE = "motorcycle_left"
SHOWN = ("colour_error", "colour_ratio_to_input", "grain_deviation_ratio", "structure_ssim")
LIBRARIES = ("jax", "jaxlib", "numpy")


class Setting(NamedTuple):
    """Photographs, what the look makes of them, and another photograph that has it."""

    photos: Pictures
    target_a: Pictures
    target_b: Pictures
    clean_target: Pictures
    example: UInt8[np.ndarray, "h w 3"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the comparison and prints its table."""
    load = os.getloadavg() if hasattr(os, "getloadavg") else None
    parser = _arguments()
    chosen = parser.parse_args(arguments)
    try:
        setting = _setting(chosen.look, chosen.example, quick=chosen.quick)
    except ValueError as error:
        parser.error(str(error))
    measured = {}
    # A new interpreter for each method, so that none meets what another has loaded or left behind;
    # the quick ones share one.
    fresh = None if chosen.quick else 1
    context = get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=fresh) as pool:
        for name in methods(quick=chosen.quick):
            print(f"{parser.prog}: {name}", file=sys.stderr)
            task = (name, chosen.look, setting.photos, setting.example, chosen.quick)
            measured[name] = pool.submit(measure, *task).result()
    print(_table(setting, measured))
    height, width = setting.example.shape[:2]
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in LIBRARIES)
    loads = "unknown" if load is None else " ".join(f"{value:.2f}" for value in load)
    print(
        f"\nPhotographs: {len(setting.photos)} of {width}x{height} pixels; look {chosen.look}; "
        f"example {chosen.example}. {jax.devices()[0].device_kind}, {os.cpu_count()} CPUs, "
        f"load average before {loads}; {versions}."
    )


def _arguments() -> Parser:
    parser = Parser(
        prog="traditional_transfer",
        description="A look by traditional transfer and by a trained generator, side by side.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    looks = tuple(shipped_bundles())
    add("--look", choices=looks, default="faded-print", help="one that comes with the package")
    add(
        "--example",
        metavar="NAME",
        default=EXAMPLE,
        help=f"bundled training photograph that shows the look (default: {EXAMPLE})",
    )
    add("--quick", action="store_true", help="one tiny picture, few iterations")
    return parser


def _setting(name: str, example: str, *, quick: bool) -> Setting:
    """Opens the bundled photographs and renders the look.

    Raises:
        ValueError: if no training photograph is called `example`.
    """
    data = open_data("bundled", photo_size=PHOTO_SIZE, window=16)
    train = {photo.name: photo for photo in data.train}
    if example not in train:
        raise ValueError(f"no example {example!r}; the photographs are {', '.join(train)}")
    held_out = data.validation[:1] if quick else data.validation
    largest = QUICK_SIZE if quick else PHOTO_SIZE
    photos = common_crop([*held_out, train[example]], largest=largest)["source"]
    # A crop has no place in the frame, so the generator has not learned what depends on it.
    chosen = look(name).without(*POSITIONED)
    target_a, target_b = (_rendered(key, chosen, photos) for key in (0, 1))
    clean = _rendered(0, chosen.without("grain"), photos)
    return Setting(photos[:-1], target_a[:-1], target_b[:-1], clean[:-1], target_a[-1])


def _rendered(seed: int, look: Look, photos: Pictures) -> Pictures:
    draw = partial(render, look=look, pixels_per_mm=DEFAULT_PIXELS_PER_MM)
    keys = fold_each(jax.random.key(seed), len(photos))
    unit = jax.jit(jax.vmap(draw))(keys, photos / np.float32(255))
    return np.rint(np.clip(unit, 0, 1) * 255).astype(np.uint8)


def _table(setting: Setting, measured: Mapping[str, Measured]) -> str:
    """A Markdown table: a row for each method, the goals and the untouched input on top."""
    labels = [FIGURES[key].label for key in SHOWN]
    costs = ["seconds a photograph", "first picture, s", "memory, MB"]
    rows = [
        ["", *costs, *labels],
        ["---", *["---:"] * (len(costs) + len(labels))],
        ["*goal*", "", "", "", *(FIGURES[key].goal for key in SHOWN)],
        [INPUT, "\u2013", "\u2013", "\u2013", *_figures(setting, setting.photos[None])],
    ]
    for name, one in measured.items():
        cost = (np.median(one.seconds), one.first, one.peak_bytes / 1e6)
        cells = [f"{value:.{digits}f}" for value, digits in zip(cost, (3, 1, 0), strict=True)]
        rows.append([name, *cells, *_figures(setting, one.pictures)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _figures(setting: Setting, pictures: UInt8[np.ndarray, "r n h w 3"]) -> list[str]:
    """The figures shown, as text, of a method's renderings."""
    stacks = (
        *(setting.photos, pictures[0], pictures[-1], pictures.mean(axis=0, dtype=np.float32)),
        *(setting.target_a, setting.target_b, setting.clean_target),
    )
    each = zip(*(stack / np.float32(255) for stack in stacks), strict=True)
    mean = mean_figures([look_figures(PhotoRenderings(*images)) for images in each])
    return [FIGURES[key].text(mean[key]) for key in SHOWN]


if __name__ == "__main__":
    main()
