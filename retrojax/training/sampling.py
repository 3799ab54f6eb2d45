"""Sample pictures drawn and written in the background, while training goes on.

The next step takes over the memory of the state, so the generator is copied first: a copy on the
device, behind the step that makes it, for which nobody waits. All the rest (making the sampler,
compiling the drawing at its first time, drawing, encoding, writing) is one thread's work.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from retrojax.tasks.task import Variables
from retrojax.training.logging import RunLog
from retrojax.training.samples import write_png

Sampler = Callable[[Variables], UInt8[np.ndarray, "h w 3"]]
"""Draws a picture that shows what a generator can do."""

WAITING = 4
"""Samples under way, each with a copy of the generator, at which the next one is waited with.

The first takes longest: the drawing is compiled meanwhile.
"""


class Samples:
    """The samples of a run; a context manager that waits for the last ones on its way out.

    An error in the background is raised where a later sample is asked for, or on the way out.
    """

    def __init__(self, make_sampler: Callable[[], Sampler], folder: Path, log: RunLog):
        """Has the sampler made; draws nothing yet.

        Args:
            make_sampler: makes what draws; both are called in the background.
            folder: where PNG files go, named by step.
            log: is given the pictures too.
        """
        self._folder, self._log = folder, log
        self._copy = jax.jit(_copy_of_variables)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="samples")
        self._sampler = self._thread.submit(make_sampler)
        self._drawings: deque[Future[None]] = deque()

    def __enter__(self) -> "Samples":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.wait()
        except Exception as failure:
            if error is None:
                raise
            # The error that ended the run stays the one that is seen first.
            error.add_note(f"a sample could not be drawn: {failure}")
        finally:
            self._thread.shutdown()

    def draw(self, step: int, variables: Variables) -> None:
        """Has a sample drawn; waits only if `WAITING` are not finished.

        Args:
            step: completed updates.
            variables: the generator's, on one device; they may be donated afterwards.
        """
        while self._drawings and (self._drawings[0].done() or len(self._drawings) >= WAITING):
            self._drawings.popleft().result()
        self._drawings.append(self._thread.submit(self._write, step, self._copy(variables)))

    def wait(self) -> None:
        """Waits for the samples under way, and raises what went wrong with one; said once."""
        while self._drawings:
            self._drawings.popleft().result()

    def _write(self, step: int, variables: Variables) -> None:
        picture = self._sampler.result()(variables)
        write_png(self._folder / f"{step:08d}.png", picture)
        self._log.image(step, "samples", picture)


def _copy_of_variables(variables: Variables) -> Variables:
    return jax.tree.map(jnp.copy, variables)
