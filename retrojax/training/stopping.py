"""Stopping on request: SIGTERM and SIGINT set a flag that the loop reads between two steps."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class Stopped(Exception):
    """The run was asked to stop and has saved its state.

    Attributes:
        exit_code: 128 + the signal's number, as shells report it.
    """

    def __init__(self, step: int, signal_number: int):
        super().__init__(f"stopped and saved at step {step}; run the same command to go on")
        self.exit_code = 128 + signal_number


class StopRequest:
    """The first signal received, or None."""

    signal_number: int | None = None


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """While active, the first SIGTERM or SIGINT is noted; a second one acts as it did before."""
    request = StopRequest()
    previous = {}

    def note(number: int, frame: object) -> None:
        request.signal_number = number
        for one, handler in previous.items():
            signal.signal(one, handler)

    for one in (signal.SIGTERM, signal.SIGINT):
        previous[one] = signal.signal(one, note)
    try:
        yield request
    finally:
        for one, handler in previous.items():
            signal.signal(one, handler)
