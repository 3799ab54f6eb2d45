"""How long the loop's own work beside the steps (saving, logging, sampling) holds the next step.

Time in which the loop waits for the device is not counted, since the device works meanwhile; nor is
what the threads behind the loop take from steps on a CPU.
"""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stalls:
    """Seconds spent on each kind of event between two dispatches of the step.

    Attributes:
        total: seconds of all events so far, also those after the last dispatch.
    """

    def __init__(self) -> None:
        self.total = 0.0
        self._since: dict[str, float] = {}
        self._held: dict[str, list[float]] = {}

    @contextmanager
    def of(self, kind: str) -> Iterator[None]:
        """Times what runs inside as an event of this kind."""
        begin = time.perf_counter()
        yield
        seconds = time.perf_counter() - begin
        self.total += seconds
        self._since[kind] = self._since.get(kind, 0.0) + seconds

    def dispatched(self) -> None:
        """Says that a step was dispatched: what was timed since the one before has held it."""
        for kind, seconds in self._since.items():
            self._held.setdefault(kind, []).append(seconds)
        self._since.clear()

    def summary(self) -> dict[str, dict[str, float]]:
        """Kind -> "median" and "largest" of the seconds by which it held a step."""
        return {
            kind: {"median": statistics.median(held), "largest": max(held)}
            for kind, held in self._held.items()
        }
