"""A trace of a few steps in the middle of a run, for TensorBoard, Perfetto and `chrome://tracing`.

The first steps are let pass, since they warm caches up. Nothing else about the run changes: the
steps traced see the same data and count like all others; only after the last one the device is
waited for, so that the trace holds all of its work.
"""

from pathlib import Path
from types import TracebackType

import jax
from jaxtyping import PyTree

WARM_UP, TRACED = 3, 5


class StepProfile:
    """Traces some steps of a run; a context manager that ends a trace that was cut short.

    Attributes:
        steps: numbers of the steps to trace; empty = none.
        folder: where the trace goes.
    """

    def __init__(self, folder: Path | None, first_step: int, last_step: int):
        """Chooses the steps.

        Args:
            folder: where the trace goes; None = nothing is traced.
            first_step: updates done when this sitting begins.
            last_step: updates that the run will have. In a sitting too short for a warm-up its
                last steps are traced.
        """
        self.folder = folder
        start = max(first_step + 1, min(first_step + WARM_UP, last_step - TRACED) + 1)
        stop = min(start + TRACED, last_step + 1)
        self.steps = range(start, stop) if folder is not None else range(0)
        self._tracing = False

    def __enter__(self) -> "StepProfile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def before(self, step: int) -> None:
        """Starts the trace if this step is the first to be traced."""
        if self.steps and step == self.steps.start:
            assert self.folder is not None
            jax.profiler.start_trace(self.folder)
            self._tracing = True

    def after(self, step: int, state: PyTree) -> bool:
        """Ends the trace once the last step to be traced is done.

        Args:
            step: the step just dispatched.
            state: what it returned.

        Returns:
            Whether the trace was written.
        """
        if not self._tracing or step != self.steps[-1]:
            return False
        jax.block_until_ready(state)
        self._stop()
        return True

    def _stop(self) -> None:
        if self._tracing:
            self._tracing = False
            jax.profiler.stop_trace()
