"""Evaluation of a look on held-out photographs, beside baselines that need no network.

Side by side: the untouched input; a 3-D LUT fitted to the same training photographs plus noise
matched to the look's in strength by luminance; the trained generator.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt8

from retrojax.data import Photo
from retrojax.film.colour import luma
from retrojax.film.lut import apply_lut, fit_lut
from retrojax.metrics import (
    PhotoRenderings,
    add_ratio_to_lut,
    look_figures,
    mean_figures,
)
from retrojax.tasks.paired import PairedTask
from retrojax.tasks.task import Variables

SEEDS = 32
INPUT, LUT, TRAINED = "untouched input", "LUT + noise", "trained"
_LEVELS = 16


def common_crop(
    photos: Iterable[Photo], *, multiple: int = 16, largest: int = 512
) -> dict[str, UInt8[np.ndarray, "n h w 3"]]:
    """Centre crops of one size from photographs of several sizes.

    Args:
        photos: at least one.
        multiple: height and width are multiples of this, if the photographs are that large.
        largest: bound on height and width in pixels.

    Returns:
        "source" and, if the photographs have targets, "target".
    """
    photos = list(photos)
    sides = [min(min(p.source.shape[axis] for p in photos), largest) for axis in (0, 1)]
    height, width = (side // multiple * multiple or side for side in sides)

    def crop(image: np.ndarray) -> np.ndarray:
        top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
        return image[top : top + height, left : left + width]

    stacks = {"source": np.stack([crop(p.source) for p in photos])}
    if all(p.target is not None for p in photos):
        stacks["target"] = np.stack([crop(p.target) for p in photos if p.target is not None])
    return stacks


@dataclass(frozen=True)
class Baseline:
    """A look without a network: a colour map and independent noise.

    Attributes:
        lut: 3-D LUT, [n, n, n, 3].
        deviation: deviation of the noise at 16 levels of the output's luma from 0 to 1, by
            channel, [16, 3].
    """

    lut: Float[Array, "n n n 3"]
    deviation: Float[np.ndarray, "16 3"]

    def apply(self, key: Key[Array, ""], source: Float[Array, "n h w 3"]) -> tuple[Array, Array]:
        """The look with noise and without, in [0, 1]."""
        clean = jnp.clip(apply_lut(self.lut, source), 0.0, 1.0)
        levels = jnp.linspace(0.0, 1.0, _LEVELS)
        brightness = luma(clean)
        strength = jnp.stack(
            [jnp.interp(brightness, levels, self.deviation[:, c]) for c in range(3)], -1
        )
        noise = jax.random.normal(key, clean.shape)
        return jnp.clip(clean + strength * noise, 0.0, 1.0), clean


def fit_baseline(
    task: PairedTask, raws: Iterable[dict[str, np.ndarray]], key: Key[Array, ""], *, pixels: int
) -> Baseline:
    """Fits the baseline to prepared training batches: the very data the generator learns from.

    Args:
        task: prepares the batches.
        raws: raw batches, as for the joint step.
        key: of the preparation and of the choice of pixels.
        pixels: taken from each batch at random.

    Returns:
        The fitted baseline. Its noise is measured from the pixels' distance to the fitted map.
    """
    prepare = jax.jit(task.prepare)
    rng = np.random.default_rng(0)
    sources, targets = [], []
    for index, raw in enumerate(raws):
        batch = jax.device_get(prepare(raw, jax.random.fold_in(key, index)))
        chosen = rng.choice(batch["source"][..., 0].size, pixels, replace=False)
        sources.append(batch["source"].reshape(-1, 3)[chosen] / 2 + 0.5)
        targets.append(batch["target"].reshape(-1, 3)[chosen] / 2 + 0.5)
    source, target = np.concatenate(sources), np.concatenate(targets)
    lut = jnp.asarray(fit_lut(source, target))
    fitted = np.clip(np.asarray(apply_lut(lut, jnp.asarray(source[None])))[0], 0, 1)
    level = np.rint(np.asarray(luma(jnp.asarray(fitted))) * (_LEVELS - 1)).astype(int)
    overall = (target - fitted).std(axis=0)
    deviation = np.stack(
        [
            (target - fitted)[level == k].std(axis=0) if (level == k).sum() > 50 else overall
            for k in range(_LEVELS)
        ]
    )
    return Baseline(lut, deviation)


def _unit(images: Array) -> np.ndarray:
    """[-1, 1] -> [0, 1], rounded to what an 8-bit file can hold."""
    return np.rint(np.clip(np.asarray(images, np.float32) / 2 + 0.5, 0, 1) * 255) / np.float32(255)


def evaluate(
    task: PairedTask,
    variables: Variables,
    photos: dict[str, UInt8[np.ndarray, "n h w 3"]],
    baseline: Baseline,
    key: Key[Array, ""],
) -> tuple[dict[str, dict[str, float]], dict[str, UInt8[np.ndarray, "n h w 3"]]]:
    """Figures of three systems on held-out photographs, and the pictures.

    Args:
        task: gives targets and samples.
        variables: the generator's variables to judge (EMA).
        photos: from `common_crop`.
        baseline: from `fit_baseline`.
        key: of all noise.

    Returns:
        Mean figures by system, and the uint8 pictures "source", "output" and "target".
    """
    source = jnp.asarray(photos["source"]) / 255.0
    target_key, sample_key, noise_key = jax.random.split(key, 3)
    if task.look is None:
        target_a = target_b = clean_target = photos["target"] / np.float32(255)
    else:
        draw = jax.jit(lambda k, images: task.render(k, images) * 2 - 1)
        target_a, target_b = (_unit(draw(k, source)) for k in jax.random.split(target_key))
        clean_task = task.without_grain()
        clean_target = _unit(jax.jit(clean_task.render)(target_key, source) * 2 - 1)

    # What a program is not given but has inside, XLA computes with while it compiles.
    sample = jax.jit(lambda v, k, images: task.sample(v, {"source": images * 2 - 1}, k)["image"])
    variables = jax.device_put(variables)
    sample_keys = (jax.random.fold_in(sample_key, i) for i in range(SEEDS))
    outputs = [_unit(sample(variables, k, source)) for k in sample_keys]
    noisy = [baseline.apply(k, source) for k in jax.random.split(noise_key)]
    plain = np.asarray(source)
    systems = {
        INPUT: (plain, plain, plain),
        LUT: (
            _unit(noisy[0][0] * 2 - 1),
            _unit(noisy[1][0] * 2 - 1),
            np.asarray(noisy[0][1], np.float32),
        ),
        TRAINED: (outputs[0], outputs[1], np.mean(outputs, axis=0)),
    }
    figures = {
        name: mean_figures(
            [
                look_figures(PhotoRenderings(*images))
                for images in zip(plain, a, b, mean, target_a, target_b, clean_target, strict=True)
            ]
        )
        for name, (a, b, mean) in systems.items()
    }
    as_bytes = {"source": plain, "output": outputs[0], "target": target_a}
    pictures = {k: np.rint(v * 255).astype(np.uint8) for k, v in as_bytes.items()}
    return add_ratio_to_lut(figures, LUT), pictures
