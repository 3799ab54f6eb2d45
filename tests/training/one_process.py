"""Trains the tiny game of `many_devices` as one process of several, for `test_processes`.

`python tests/training/one_process.py JOB.json` with {"coordinator", "processes", "process",
"devices", "parallel", "runs": [[folder, steps, devices used], ...], "die": [step, process] or
null}. Each run goes on at the last checkpoint of its folder and leaves `params-STEPS.npz` there,
the metrics' log, and the hashes of the examples that each process read.
"""

import hashlib
import json
import os
import signal
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

# Sets the environment, so it comes before JAX.
from tests.training.many_devices import BATCH, PAIRED, SGD  # isort: skip

import jax

from retrojax.data.photos import Photo, PhotoData, Photos
from retrojax.training import loop
from retrojax.training.placement import make_placement
from retrojax.training.processes import is_first, join, wait_for_all
from retrojax.training.stopping import Stopped


def photos():
    """Five photographs that differ in size and content, and one held out."""

    def read(index):
        rng = np.random.default_rng(index)
        pixels = rng.integers(0, 256, (14 + index, 17 - index, 3), np.uint8)
        return Photo(f"{index}.png", pixels, None)

    return PhotoData(Photos(5, read), (read(5),), "five tiny photographs", (), "tiny")


def train(folder, steps, devices=None, *, parallel="jit", die=None):
    """Trains to `steps` in a folder, on that many devices or all; writes what tests look at."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    read = loop_batches

    def batches(*args, **options):
        first = options["first_step"]
        for number, batch in enumerate(read(*args, **options), first):
            hashes = [hashlib.sha256(image.tobytes()).hexdigest()[:12] for image in batch["source"]]
            with (folder / f"read-{jax.process_index()}.jsonl").open("a") as file:
                file.write(json.dumps([number, hashes]) + "\n")
            if die == [number, jax.process_index()]:
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch

    def placement(*args, **options):
        return make_placement(*args, jax.devices()[:devices], **options)

    loop.batches, loop.make_placement = batches, placement
    settings = loop.LoopSettings(
        steps=steps,
        batch_size=BATCH,
        window=10,
        ema_halflife_images=100.0,
        parallel=parallel,
        save_every_steps=2,
        save_every_seconds=0.0,
        sample_every_steps=0,
        log_every_steps=1,
    )
    try:
        state, _ = loop.train(PAIRED, SGD, photos(), settings, folder)
    finally:
        loop.batches, loop.make_placement = read, make_placement
    if is_first():
        leaves = jax.tree_util.tree_leaves_with_path(
            (state.generator.params, state.discriminator.params, state.ema)
        )
        named = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
        np.savez(folder / f"params-{steps}.npz", **named)


loop_batches = loop.batches


def main(job):
    """Joins the others and does the runs of a job."""
    jax.config.update("jax_num_cpu_devices", job["devices"])
    if job["processes"] > 1:
        join(job["coordinator"], job["processes"], job["process"])
    for folder, steps, devices in job["runs"]:
        try:
            train(folder, steps, devices, parallel=job["parallel"], die=job["die"])
        except Stopped as stopped:
            print(stopped, flush=True)
            sys.exit(stopped.exit_code)
        wait_for_all(f"{folder} {steps}")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
