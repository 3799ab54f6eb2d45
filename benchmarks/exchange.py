"""How fast one core reads what another one wrote: whether the two share a cache.

The cores of a virtual machine may lie on one cache of the host or on two, from minute to minute. A
step that hands its maps from core to core then has two speeds; one whose threads keep theirs has
not. The level depends on the process; in one process the rate falls by half. On two cores of an AMD
EPYC server beside a training step: 43 to 49 GB/s, or 24 to 30.
"""

import os
import threading
import time
from collections.abc import Sequence
from typing import Final

import numpy as np

from benchmarks.ratios import spread
from benchmarks.table import with_prefix

_BYTES: Final = 400_000  # Fits a core's own cache; reading takes longer than the call does.
_TURNS: Final = 100


def exchange_rate() -> float | None:
    """Bytes a second, median of a hundred turns of the first two CPUs of this process.

    Returns:
        None where there is only one, or where threads cannot be bound to CPUs.
    """
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        return None
    writer, reader = sorted(os.sched_getaffinity(0))[:2]
    data = np.zeros(_BYTES, np.uint8)
    written, read = threading.Semaphore(0), threading.Semaphore(0)
    seconds = []

    def send() -> None:
        os.sched_setaffinity(0, {writer})
        for turn in range(_TURNS):
            data.fill(turn)
            written.release()
            read.acquire()

    def receive() -> None:
        os.sched_setaffinity(0, {reader})
        for _ in range(_TURNS):
            written.acquire()
            begin = time.perf_counter()
            data.max()
            seconds.append(time.perf_counter() - begin)
            read.release()

    # Both in threads of their own: the caller's stays free to run anywhere.
    threads = [threading.Thread(target=work) for work in (send, receive)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return _BYTES / float(np.median(seconds))


def rates_in_words(rates: Sequence[float | None]) -> str | None:
    """What `exchange_rate` gave before each round, in short; None if it gave nothing."""
    known = [rate for rate in rates if rate is not None]
    if not known:
        return None
    found = spread(known)
    return (
        f"median {with_prefix(found.median, 'B')}/s, {with_prefix(found.least, 'B')}/s to "
        f"{with_prefix(found.most, 'B')}/s (written by one, read by another; it falls by half "
        "while they share no cache)"
    )
