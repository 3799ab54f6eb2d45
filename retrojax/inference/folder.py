"""Many photographs: read, stylised and written, several at a time.

Contract: the files are those that one at a time would give, byte for byte. While one photograph is
on the device, others are read, shrunk, enlarged and written; at most `at_once` are in memory. A
photograph that cannot be done stops no other.
"""

import os
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from retrojax.data.photo_files import quiet_decoding
from retrojax.inference.bundle import Bundle
from retrojax.inference.jobs import Job
from retrojax.inference.photo import Picture, decode, encode
from retrojax.inference.stylize import stylize

MOST_AT_ONCE = 4


def at_once() -> int:
    """How many photographs this machine does at a time: one for each CPU, at most four."""
    return min(MOST_AT_ONCE, os.cpu_count() or 1)


def stylize_files(
    jobs: Sequence[Job],
    bundle: Bundle,
    *,
    seed: int = 0,
    strength: float = 1.0,
    workers: int | None = None,
) -> Generator[tuple[Job, str | None], None, None]:
    """Does the jobs; closed early, it ends those that were begun and no other.

    Args:
        jobs: what to read and where to write it.
        bundle: the trained model.
        seed: see `stylize`; the grain also depends on the file's name.
        strength: see `stylize`.
        workers: photographs at a time, at least 1; None = `at_once()`.

    Yields:
        Each job in turn as soon as it and those before it are done, with the reason if it could
        not be done, else None.
    """
    attempt = partial(_attempt, bundle=bundle, seed=seed, strength=strength)
    pool = ThreadPoolExecutor(at_once() if workers is None else workers)
    with quiet_decoding():
        try:
            yield from zip(jobs, pool.map(attempt, jobs), strict=True)
        finally:
            pool.shutdown(cancel_futures=True)


def _attempt(job: Job, *, bundle: Bundle, seed: int, strength: float) -> str | None:
    try:
        pixels, alpha = decode(job.source)
        styled = stylize(bundle, pixels, seed=seed, name=job.source.name, strength=strength)
        job.target.parent.mkdir(parents=True, exist_ok=True)
        encode(job.target, Picture(styled, alpha))
    except (ValueError, OSError, MemoryError) as error:
        return str(error)
    return None
