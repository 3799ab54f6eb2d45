"""What is measured: the product's own step for a configuration, and random photographs for it."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import PyTree

from experiments.build import build_average, build_optimizers, build_task
from experiments.config import AnyConfig, TranslationConfig
from retrojax.training.placement import AXIS, Placement
from retrojax.training.state import GanState, init_state
from retrojax.training.step import Step, make_step, rounds


@dataclass(frozen=True)
class Product:
    """A step that is ready to be compiled; nothing lies on a device yet.

    Attributes:
        step: the joint step, as the training loop builds it.
        init: the state at step 0, for a raw batch of any size.
        state: the state's shapes.
        raw: the shapes of a raw batch.
    """

    step: Step
    init: Callable[[PyTree], GanState]
    state: GanState
    raw: PyTree

    @property
    def state_bytes(self) -> int:
        """Size of the whole state."""
        return tree_bytes(self.state)

    @property
    def gradient_bytes(self) -> int:
        """Size of both players' gradients, which have the shapes and types of their params."""
        return tree_bytes((self.state.generator.params, self.state.discriminator.params))

    def compile(self, placement: Placement) -> "jax.stages.Compiled":
        """Compiles the step as training does; takes shapes only, so the devices may be absent."""
        return placement.compile(self.step, self.state, self.raw)


def product(config: AnyConfig) -> Product:
    """Builds what a run with this configuration would step: look rendered, state averaged."""
    task = build_task(config)
    optimizers = build_optimizers(config)
    ema = config.ema_halflife_images > 0

    def init(raw: PyTree) -> GanState:
        init_key, prepare_key, run_key = jax.random.split(jax.random.key(config.seed), 3)
        generator, discriminator = task.init(init_key, task.prepare(raw, prepare_key))
        return init_state(run_key, generator, discriminator, optimizers, ema=ema)

    step = make_step(
        task,
        optimizers,
        order=config.order,
        ema_halflife_images=build_average(config),
        discriminator_steps=config.discriminator_steps,
        fresh_generator_batch=config.fresh_generator_batch,
        accumulate=config.accumulate,
        axis_name=AXIS if config.parallel == "pmap" else None,
    )
    shape = _shape(config, _images_per_step(config))
    raw = {name: jax.ShapeDtypeStruct(shape, np.uint8) for name in _names(config)}
    return Product(step, init, jax.eval_shape(init, raw), raw)


def start(config: AnyConfig, product: Product, placement: Placement) -> GanState:
    """The state at step 0 on the devices."""
    one = {name: np.zeros(_shape(config, 1), np.uint8) for name in _names(config)}
    return placement.put_state(jax.jit(product.init)(one))


def random_batches(config: AnyConfig, placement: Placement, *, count: int) -> list[PyTree]:
    """Raw batches on the devices, uint8, each of other contents.

    Random, because multipliers take less power, and run faster, on zeros.
    """
    rng = np.random.default_rng(config.seed)
    shape = _shape(config, _images_per_step(config))
    return [
        placement.put_batch(
            {name: rng.integers(0, 256, shape, dtype=np.uint8) for name in _names(config)}
        )
        for _ in range(count)
    ]


def tree_bytes(tree: PyTree) -> int:
    """Size of all leaves together; shapes will do."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _images_per_step(config: AnyConfig) -> int:
    """What the loop reads for a step: a batch for every round of it."""
    return config.batch_size * rounds(config.discriminator_steps, config.fresh_generator_batch)


def _names(config: AnyConfig) -> tuple[str, ...]:
    """What a raw batch has: targets where there are two domains, or pairs that nothing renders."""
    own_targets = isinstance(config, TranslationConfig) and (
        config.method != "paired" or config.look == "none"
    )
    return ("source", "target") if own_targets else ("source",)


def _shape(config: AnyConfig, images: int) -> tuple[int, int, int, int]:
    return (images, config.window, config.window, 3)
