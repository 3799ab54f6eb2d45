"""The step that is timed is the one that a run of the same preset compiles."""

from dataclasses import replace
from types import SimpleNamespace

import jax
import pytest

from benchmarks import product as benchmark
from benchmarks.product import product, random_batches
from experiments import run
from experiments.build import build_average
from experiments.presets import preset
from retrojax.training import loop
from retrojax.training.placement import make_placement

lower_first_state = loop.lower_first_state


class Enough(Exception):
    """Ends a run before its step is compiled."""


def shapes(tree):
    return jax.tree.map(lambda x: (x.shape, x.dtype), tree)


def only_traced(task, one, optimizers, **options):
    """A run's first state without its values, for which nothing is compiled."""
    made = lower_first_state(task, one, optimizers, **options)
    return SimpleNamespace(out_info=made.out_info, compile=lambda: lambda one: None)


@pytest.mark.slow
# Pairs, two domains, a batch of its own for the generator with schedules over the images seen.
@pytest.mark.parametrize("name", ["text-tiny", "cyclegan-tiny", "r3gan-tiny"])
def test_a_run_is_given_the_same_step(name, monkeypatch, tmp_path):
    seen = {}

    def of_the_run(task, optimizers, **options):
        def step(state, raw):
            seen.update(options=options, state=shapes(state), raw=shapes(raw))
            raise Enough

        return step

    monkeypatch.setattr(loop, "lower_first_state", only_traced)
    monkeypatch.setattr(loop, "make_step", of_the_run)
    with pytest.raises(Enough):
        run.main([f"--preset={name}", "--batch-size=4", f"--run-dir={tmp_path / 'run'}"])

    asked = []
    make_step = benchmark.make_step

    def of_the_benchmark(task, optimizers, **options):
        asked.append(options)
        return make_step(task, optimizers, **options)

    monkeypatch.setattr(benchmark, "make_step", of_the_benchmark)
    subject = product(replace(preset(name), batch_size=4))
    assert asked == [seen["options"]]
    assert shapes(subject.state) == seen["state"]
    assert shapes(subject.raw) == seen["raw"]


def test_r3gan_is_given_two_batches_a_step_and_a_ramped_average():
    config = preset("r3gan-tiny")
    subject = product(config)
    assert callable(build_average(config)) and subject.state.ema is not None
    assert shapes(subject.raw) == {"source": ((2 * config.batch_size, 16, 16, 3), "uint8")}
    (batch,) = random_batches(config, make_placement(4, jax.local_devices()[:1]), count=1)
    assert shapes(batch) == shapes(subject.raw)


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("tiny", {"source"}),
        ("r3gan-tiny", {"source"}),
        ("pix2pix-tiny", {"source"}),
        ("text-tiny", {"source", "target"}),
        ("cyclegan-tiny", {"source", "target"}),
    ],
)
def test_photographs_come_with_the_targets_that_are_not_rendered_from_them(name, names):
    config = replace(preset(name), batch_size=4)
    (batch,) = random_batches(config, make_placement(4), count=1)
    assert batch.keys() == names
    assert len({x.tobytes() for x in jax.device_get(batch).values()}) == len(names)
