"""A noise-to-image run: train, compare with held-out images, keep the model and a report."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8
from rich.table import Table

from experiments.build import build_generation_task, module_options
from experiments.config import GenerationConfig
from experiments.faces import faces_found
from experiments.run_parts import Run, claim_folder
from retrojax.data import PhotoData, Photos, batches, open_data, whole_images
from retrojax.inference.bundle import save_bundle
from retrojax.metrics import (
    GENERATION_FIGURES,
    coverage,
    figures_table,
    nearest,
    nearest_distances,
)
from retrojax.tasks.generation import GenerationTask
from retrojax.training.placement import make_placement
from retrojax.training.samples import contact_sheet, write_png
from retrojax.training.sampling import Sampler
from retrojax.training.state import GanState

# Keys of what happens outside the steps; the run's own randomness comes from --seed.
SAMPLE_KEY, REAL_KEY, EVALUATION_KEY = 1, 2, 3
MOST_IMAGES: Final = 1000
HELD_OUT, GENERATED = "held-out images", "generated"
SHEET_SIDE, INTERPOLATIONS, FRAMES, NEIGHBOURS_SHOWN = 8, 6, 9, 8

Images = Float[np.ndarray, "n h w c"]


@dataclass(frozen=True)
class GenerationRun(Run[GenerationConfig, GenerationTask]):
    """A run that makes images from noise."""

    def table(self, figures: dict[str, dict[str, float]], config: dict[str, Any]) -> Table:
        """The figures beside each other."""
        title = f"{config['preset']} with {config['loss']}, {config['data']}"
        return figures_table(GENERATION_FIGURES, figures, title=title)

    def use(self) -> str:
        """The command that makes pictures."""
        return f"retrojax generate --model {self.config.folder / 'model'}"

    def sampler(self) -> Sampler:
        """Draws a sheet of images of the same latents."""
        latents = self.task.latent(jax.random.key(SAMPLE_KEY), SHEET_SIDE**2)
        draw = jax.jit(lambda v, z: self.task.sample(v, {"latent": z})["image"])
        return lambda variables: contact_sheet(_bytes(draw(variables, latents)), SHEET_SIDE)

    def judge(self, state: GanState) -> dict[str, dict[str, float]]:
        """Figures beside held-out images, pictures for the report, and the model."""
        config, folder = self.config, self.config.folder
        variables = jax.device_get(state.sampling_variables)
        sample = jax.jit(lambda v, z: self.task.sample(v, {"latent": z})["image"])
        draw = partial(sample, jax.device_put(variables))
        real = self._real(self.data)
        held_out = self._real(_held_out(self.data))
        latents = self.task.latent(jax.random.key(EVALUATION_KEY), len(real))
        generated = np.concatenate([np.asarray(draw(z)) for z in _parts(latents)]).clip(-1, 1)
        faces = faces_found if config.data == "faces" else None
        figures = compare(real, held_out, generated, faces)
        for name, picture in self._pictures(draw, real, generated).items():
            write_png(folder / "samples" / f"final-{name}-output.png", picture)
        save_bundle(
            folder / "model",
            variables=variables,
            generator_name=config.generator,
            generator_options=module_options(self.task.generator),
            about={
                "data": config.data,
                "look": config.look,
                "loss": config.loss,
                "steps": config.steps,
                "figures": figures[GENERATED],
            },
        )
        return figures

    def _real(self, data: PhotoData) -> Images:
        """Prepared real images: each whole one once, or crops, at most 1000."""
        config = self.config
        count = min(len(data.train), MOST_IMAGES) if config.take == "whole" else MOST_IMAGES
        size = min(config.batch_size, count)
        stream = batches(
            data,
            batch_size=size,
            window=config.window,
            seed=config.seed,
            first_step=0,
            steps=-(-count // size),
        )
        prepare = jax.jit(self.task.prepare)
        key = jax.random.key(REAL_KEY)
        try:
            parts = [
                np.asarray(prepare(raw, jax.random.fold_in(key, index))["real"])
                for index, raw in enumerate(islice(stream, -(-count // size)))
            ]
        finally:
            stream.close()
        return np.concatenate(parts)[:count]

    def _pictures(
        self, draw: Callable[[jax.Array], jax.Array], real: Images, generated: Images
    ) -> dict[str, UInt8[np.ndarray, "h w 3"]]:
        """Samples, ways between latents, and samples beside their nearest training images."""
        ends = self.task.latent(jax.random.key(SAMPLE_KEY), 2 * INTERPOLATIONS)
        ways = jnp.concatenate(
            [slerp(a, b, FRAMES) for a, b in zip(ends[::2], ends[1::2], strict=True)]
        )
        shown = generated[:NEIGHBOURS_SHOWN]
        # Training shows both an image and its mirror image; both are candidates.
        candidates = np.concatenate([real, real[:, :, ::-1]]) if self.config.flip else real
        index, _ = nearest(shown, candidates)
        return {
            "samples": contact_sheet(_bytes(generated[: SHEET_SIDE**2]), SHEET_SIDE),
            "interpolation": contact_sheet(_bytes(draw(ways)), FRAMES),
            "nearest": contact_sheet(
                _bytes(np.concatenate([shown, candidates[index]])), NEIGHBOURS_SHOWN
            ),
        }


def open_generation_run(config: GenerationConfig) -> GenerationRun:
    """Checks a run's input and opens its folder; nothing is compiled.

    Raises:
        ValueError: one line that names what is wrong and the way out.
    """
    started = time.perf_counter()
    make_placement(config.batch_size, accumulate=config.accumulate)
    whole = config.take == "whole"
    if config.data.startswith("pairs:"):
        raise ValueError(
            "--data=pairs:... is for learning a look; images from noise need one folder: "
            "--data=folder:PATH"
        )
    data = open_data(
        config.data,
        photo_size=config.photo_size,
        window=1 if whole else config.window,
        held_out_most=MOST_IMAGES if whole else 8,
    )
    if whole:
        data = whole_images(data, config.size)
    if whole and len(data.train) < config.batch_size:
        raise ValueError(
            f"--data={config.data} has {len(data.train)} images to train on, fewer than a batch "
            f"of {config.batch_size}; choose a smaller --batch-size or --take=crops"
        )
    task = build_generation_task(config)
    claim_folder(config, data)
    return GenerationRun(config, data, task, started)


def compare(
    real: Images, held_out: Images, generated: Images, faces: Callable[[Images], float] | None
) -> dict[str, dict[str, float]]:
    """Figures of generated images, beside the same figures of real ones that were held out.

    Args:
        real: training images in [-1, 1].
        held_out: real images that were not trained on.
        generated: as many as `real`.
        faces: share of images with a face, for data that is faces.
    """
    own = nearest_distances(real)
    figures: dict[str, dict[str, float]] = {}
    fewest = min(len(held_out), len(generated))
    for name, images in ((HELD_OUT, held_out), (GENERATED, generated)):
        figures[name] = {
            "coverage_as_many": coverage(real, images[:fewest]),
            "copies": float(np.median(nearest(images, real)[1]) / np.median(own)),
        }
    figures[GENERATED]["coverage"] = coverage(real, generated)
    if faces is not None:
        for name, images in ((HELD_OUT, held_out), (GENERATED, generated)):
            figures[name]["faces_found"] = faces(images)
        expected = figures[HELD_OUT]["faces_found"]
        found = figures[GENERATED]["faces_found"]
        figures[GENERATED]["faces_ratio"] = found / expected if expected else float("nan")
    return figures


def slerp(a: Float[jax.Array, "n"], b: Float[jax.Array, "n"], frames: int) -> jax.Array:
    """Latents on the great circle from a to b (White 2016, arXiv:1609.04468), [frames, n].

    Between normal latents a straight line would pass near 0, where no latent is ever drawn.
    """
    way = jnp.linspace(0.0, 1.0, frames)[:, None]
    cosine = jnp.clip(a @ b / (jnp.linalg.norm(a) * jnp.linalg.norm(b)), -1.0, 1.0)
    angle = jnp.arccos(cosine)
    return (jnp.sin((1 - way) * angle) * a[None] + jnp.sin(way * angle) * b[None]) / jnp.sin(angle)


def _held_out(data: PhotoData) -> PhotoData:
    held = data.validation
    return replace(data, train=Photos(len(held), lambda index: held[index]))


def _parts(latents: jax.Array, size: int = 250) -> list[jax.Array]:
    return [latents[i : i + size] for i in range(0, len(latents), size)]


def _bytes(images: jax.Array | np.ndarray) -> UInt8[np.ndarray, "n h w c"]:
    return np.rint(np.clip(np.asarray(images, np.float32) / 2 + 0.5, 0, 1) * 255).astype(np.uint8)
