"""A run of the translation family: train, judge where the truth is known, keep the models."""

import math
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8
from rich.table import Table
from skimage.exposure import match_histograms

from experiments.build import (
    TranslationTask,
    build_translation_task,
    module_options,
    steps_per_epoch,
)
from experiments.config import TranslationConfig
from experiments.run_parts import Run, claim_folder
from experiments.words_read import TRAINED, words_read
from retrojax.data import PhotoData, open_data, resized_images, split_domains
from retrojax.film import render
from retrojax.inference.bundle import save_bundle
from retrojax.inference.geometry import geometry
from retrojax.metrics import TRANSLATION_FIGURES, figures_table, translation_figures
from retrojax.tasks.contrastive import ContrastiveTask
from retrojax.tasks.paired import PairedTask
from retrojax.tasks.players import split
from retrojax.tasks.task import Variables
from retrojax.tasks.unpaired import UnpairedTask
from retrojax.training.evaluation import common_crop
from retrojax.training.placement import make_placement
from retrojax.training.samples import sample_grid, write_png
from retrojax.training.sampling import Sampler
from retrojax.training.state import GanState

SAMPLE_KEY, EVALUATION_KEY = 1, 2
SHOWN, SIDE = 3, 256
INPUT, MATCHED = "untouched input", "histogram matching"

Images = UInt8[np.ndarray, "n h w 3"]


@dataclass(frozen=True)
class TranslationRun(Run[TranslationConfig, TranslationTask]):
    """A run of the translation family."""

    def _held_out(self) -> dict[str, Images]:
        """Held-out images, at sizes that the network takes."""
        multiple = geometry(self.task.generator).multiple
        return common_crop(
            self.data.validation[:SHOWN],
            multiple=math.lcm(4, multiple),
            largest=max(SIDE, self.config.crop),
        )

    def _wanted(self, source: Images) -> Images | None:
        """What the held-out photographs should look like, where that is known."""
        if self.config.look != "none":
            look, scale = self._look(), self.config.pixels_per_mm
            keys = jax.random.split(jax.random.key(SAMPLE_KEY), len(source))
            draw = jax.jit(lambda key, image: render(key, image, look=look, pixels_per_mm=scale))
            return np.stack(
                [
                    _bytes(np.asarray(draw(key, jnp.asarray(image) / 255.0)) * 2 - 1)
                    for key, image in zip(keys, source, strict=True)
                ]
            )
        return self._held_out().get("target")

    def _look(self):
        task = self.task
        look = task.look if isinstance(task, PairedTask) else task.domains.look
        assert look is not None
        return look

    def table(self, figures: dict[str, dict[str, float]], config: dict[str, Any]) -> Table:
        """The figures beside each other."""
        title = f"{config['preset']} with {config['loss']} on held-out images"
        return figures_table(TRANSLATION_FIGURES, figures, title=title)

    def use(self) -> str:
        """The command that makes pictures."""
        return f"retrojax stylize PHOTO --model {self.config.folder / 'model'}"

    def sampler(self) -> Sampler:
        """Draws held-out photographs beside what becomes of them, and the truth if it is known."""
        source = self._held_out()["source"]
        wanted = self._wanted(source)
        draw = jax.jit(self._draw)

        def grid(variables: Variables) -> UInt8[np.ndarray, "h w 3"]:
            output = _bytes(draw(variables, source))
            columns = [source, output] if wanted is None else [source, output, wanted]
            rows = [list(row) for row in zip(*columns, strict=True)]
            return sample_grid(rows, labels=["source", "output", "target"][: len(columns)])

        return grid

    def _draw(self, variables: Variables, source: jax.Array) -> jax.Array:
        batch = {"source": jnp.asarray(source, jnp.float32) / 127.5 - 1}
        return self.task.sample(variables, batch, jax.random.key(SAMPLE_KEY))["image"]

    def judge(self, state: GanState) -> dict[str, dict[str, float]]:
        """Figures, pictures for the report, and the models."""
        config, folder = self.config, self.config.folder
        variables = jax.device_get(state.sampling_variables)
        source = self._held_out()["source"]
        output = _bytes(jax.jit(self._draw)(variables, source))
        wanted = self._wanted(source)
        pictures = {"source": source, "output": output}
        if wanted is not None:
            pictures["target"] = wanted
        for index, photo in enumerate(self.data.validation[:SHOWN]):
            for name, images in pictures.items():
                stem = photo.name.replace("/", "_")
                write_png(folder / "samples" / f"final-{stem}-{name}.png", images[index])
        systems = {INPUT: source, TRAINED: output}
        if self.data.targets is not None:
            systems = {INPUT: source, MATCHED: self._matched(source), TRAINED: output}
        if config.data == "words":
            figures = words_read(partial(jax.jit(self._draw), variables), len(self.data.validation))
        else:
            figures = {
                name: translation_figures(source, images, wanted)
                for name, images in systems.items()
            }
        for name, own in self._models(variables).items():
            save_bundle(
                folder / name,
                variables=own,
                generator_name=config.generator,
                generator_options=module_options(self.task.generator),
                about={
                    "method": config.method,
                    "data": config.data,
                    "look": None if config.look == "none" else config.look,
                    "loss": config.loss,
                    "steps": config.steps,
                    "pixels_per_mm": config.pixels_per_mm,
                    "figures": figures[TRAINED],
                },
            )
        return figures

    def _models(self, variables: Variables) -> dict[str, Variables]:
        """The generators to keep, by the name of their folder."""
        if isinstance(self.task, UnpairedTask):
            both = split(variables, ("forward", "backward"))
            return {"model": both["forward"], "model-reverse": both["backward"]}
        if isinstance(self.task, ContrastiveTask):
            return {"model": split(variables, ("network",))["network"]}
        return {"model": variables}

    def _matched(self, source: Images) -> Images:
        """Each photograph with the histograms of all training targets: what needs no network."""
        assert self.data.targets is not None
        pixels = [self.data.targets[i].source for i in range(min(len(self.data.targets), 64))]
        if self.config.look != "none":
            look, scale = self._look(), self.config.pixels_per_mm
            pixels = [
                _bytes(
                    np.asarray(
                        render(jax.random.key(i), jnp.asarray(image) / 255.0, look=look,
                               pixels_per_mm=scale)
                    ) * 2 - 1
                )
                for i, image in enumerate(pixels)
            ]  # fmt: skip
        reference = np.concatenate([image.reshape(-1, 1, 3) for image in pixels])
        matched = [match_histograms(image, reference, channel_axis=-1) for image in source]
        return np.rint(np.clip(np.stack(matched), 0, 255)).astype(np.uint8)


def open_translation_run(config: TranslationConfig) -> TranslationRun:
    """Checks a run's input and opens its folder; nothing is compiled.

    Raises:
        ValueError: one line that names what is wrong and the way out.
    """
    started = time.perf_counter()
    make_placement(config.batch_size, accumulate=config.accumulate)
    window = 1 if config.load_size else config.window
    data = open_data(config.data, photo_size=config.photo_size, window=window)
    paired = data.validation[0].target is not None
    if config.method == "paired" and data.targets is not None:
        raise ValueError(
            f"--method=paired needs pairs, --data={config.data} has two unrelated domains; choose "
            "--data=pairs:SOURCE,TARGET or --method=unpaired"
        )
    if config.method != "paired" and paired:
        raise ValueError(
            f"--method={config.method} takes no pairs; choose --data=unpaired:SOURCE,TARGET with "
            "the same folders"
        )
    own_targets = paired or data.targets is not None
    if own_targets and config.look != "none":
        raise ValueError(
            f"--look={config.look} is rendered on targets that --data={config.data} brings; "
            "leave it out"
        )
    if not own_targets and config.look == "none":
        raise ValueError(
            f"--data={config.data} has one domain; give two (unpaired:SOURCE,TARGET or "
            "pairs:SOURCE,TARGET), or a --look to be rendered on the targets"
        )
    if not own_targets and config.method != "paired":
        data = split_domains(data)
    if not config.steps:
        longest = max(len(data.train), len(data.targets or ()))
        epochs = config.epochs_constant + config.epochs_decay
        config = replace(config, steps=max(1, epochs * -(-longest // config.batch_size)))
    if config.load_size:
        data = _loaded(data, config)
    task = build_translation_task(config)
    claim_folder(config, data)
    return TranslationRun(config, data, task, started)


def _loaded(data: PhotoData, config: TranslationConfig) -> PhotoData:
    loaded = resized_images(data, config.load_size)
    if not config.decay_uncropped:
        return loaded
    return replace(
        loaded,
        later=resized_images(data, config.window),
        later_from=config.epochs_constant * steps_per_epoch(config),
        fingerprint=f"{loaded.fingerprint}:uncropped-{config.window}",
    )


def _bytes(images: np.ndarray | jax.Array) -> UInt8[np.ndarray, "..."]:
    """[-1, 1] -> uint8."""
    unit = np.clip(np.asarray(images, np.float32) / 2 + 0.5, 0, 1)
    return np.rint(unit * 255).astype(np.uint8)
