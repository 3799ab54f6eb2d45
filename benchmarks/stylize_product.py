"""`retrojax stylize` on a folder, and its parts alone: the compiled generator, the files."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path
from typing import Any, Final, NamedTuple
from unittest import mock

import jax
import numpy as np
from PIL import Image

from benchmarks.handover import Handover, save
from experiments.build import module_options
from retrojax.data.photo_files import quiet_decoding
from retrojax.inference import stylize as product
from retrojax.inference.bundle import load_bundle
from retrojax.inference.folder import at_once, stylize_files
from retrojax.inference.jobs import Job, plan_jobs
from retrojax.inference.photo import decode

# The compiled programs of a look, and of all other generators.
PROGRAMS: Final = ("_look_effects", "_look_colour", "_translate")


class Call(NamedTuple):
    """What the product asked of one of its compiled programs.

    Attributes:
        program: its name in `PROGRAMS`.
        run: the program with its module and variables.
        arrays: pixels and, where there is grain, noise; on the device.
    """

    program: str
    run: Callable[..., jax.Array]
    arrays: tuple[jax.Array, ...]


class StylizeProduct:
    """The product's side of the comparison, one round of all photographs at a time."""

    def __init__(self, *, model: str, photographs: str, output: str) -> None:
        """Takes a model as `retrojax stylize` does, the photographs' folder and the results'."""
        self.bundle = load_bundle(model)
        self.jobs = plan_jobs([Path(photographs)], Path(output))
        Path(output).mkdir(exist_ok=True)
        with quiet_decoding():
            pictures = [(job, decode(job.source).pixels) for job in self.jobs]
        self.calls = [
            self._recorded(pixels, job.source.name, first=job is self.jobs[0])
            for job, pixels in pictures
        ]
        self.rounds = {"folder": self._folder, "generator": self._generator, "files": self._files}

    def hand_over(self, file: str) -> None:
        """Writes the weights, the pixels of every call, and what the first picture's calls gave."""
        batches, draws = [], []
        for index, calls in enumerate(self.calls):
            for call in calls:
                pixels, *noise = (np.asarray(array) for array in call.arrays)
                given = {"output": np.asarray(call.run(*call.arrays))} if index == 0 else {}
                batches.append({call.program: pixels, **given})
                draws.append({"noise": noise[0]} if noise else {})
        options = {"generator": module_options(self.bundle.module)}
        variables = jax.tree.map(np.asarray, dict(self.bundle.variables))
        save(Path(file), Handover(options, variables, {}, batches, draws))

    def round(self, what: str) -> float:
        """Seconds for all photographs: of the "folder", the "generator" or the "files"."""
        begin = time.perf_counter()
        self.rounds[what]()
        return time.perf_counter() - begin

    def facts(self) -> dict[str, Any]:
        """What ran, and where."""
        device = jax.local_devices()[0]
        libraries = ("jax", "jaxlib", "flax", "numpy", "pillow")
        return {
            "versions": {name: metadata.version(name) for name in libraries},
            "device": f"{device.device_kind} ({device.platform})",
            "at_once": at_once(),
            "photographs": len(self.jobs),
        }

    def _recorded(self, pixels: np.ndarray, name: str, *, first: bool) -> list[Call]:
        """The calls of one picture. Only the first picture's programs are run.

        All pictures have one size, so that another's results are not needed to know its calls.
        """
        calls: list[Call] = []

        def recorder(program: str) -> Callable[..., Any]:
            original = getattr(product, program)

            def record(module: Any, variables: Any, *arrays: Any) -> Any:
                given = tuple(jax.device_put(array) for array in arrays if array is not None)
                none = (None,) * (len(arrays) - len(given))

                def run(*arrays: jax.Array) -> jax.Array:
                    return original(module, variables, *arrays, *none)

                calls.append(Call(program, run, given))
                if first:
                    return run(*given)
                shape = jax.eval_shape(run, *given)
                return np.zeros(shape.shape, shape.dtype)

            return record

        with ExitStack() as stack:
            for program in PROGRAMS:
                stack.enter_context(mock.patch.object(product, program, recorder(program)))
            product.stylize(self.bundle, pixels, name=name)
        return calls

    def _folder(self) -> None:
        for job, reason in stylize_files(self.jobs, self.bundle):
            if reason is not None:
                raise RuntimeError(f"{job.name}: {reason}")

    def _generator(self) -> None:
        for calls in self.calls:
            jax.block_until_ready([call.run(*call.arrays) for call in calls])

    def _files(self) -> None:
        with ThreadPoolExecutor(at_once()) as pool:
            list(pool.map(_copied, self.jobs))


def _copied(job: Job) -> None:
    """Decodes and encodes with Pillow alone; quality and sampling are the product's."""
    with Image.open(job.source) as image:
        image.convert("RGB").save(job.target, "JPEG", quality=95, subsampling=0)
