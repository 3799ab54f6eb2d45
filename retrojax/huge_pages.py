"""Large pages for a process that trains, or goes over a folder of photographs, on Linux.

XLA asks the C library for a program's temporaries anew in every call on CPU; it gives them back to
the system, which then clears them page by page: a quarter of the time of a `look` step. With these
settings it keeps them, and asks for pages of 2 MB. It reads them when a process starts.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

VARIABLE: Final = "GLIBC_TUNABLES"
_KEPT: Final = 8 << 30  # Bytes that are kept, and allocations that are pages of their own.
TUNABLES: Final = (
    f"glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold={_KEPT}:"
    f"glibc.malloc.trim_threshold={_KEPT}:glibc.malloc.top_pad={64 << 20}"
)
_SUPPORT: Final = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def are_missing(environment: Mapping[str, str], support: Path = _SUPPORT) -> bool:
    """Whether the system has large pages and a process of this environment does not ask for them.

    Args:
        environment: of the process. Any value of `VARIABLE` is somebody's choice and stays.
        support: the file in which Linux says what it offers.
    """
    if not sys.platform.startswith("linux") or VARIABLE in environment:
        return False
    try:
        return "[never]" not in support.read_text()
    except OSError:
        return False


def start_again_with_them() -> None:
    """Puts this program, with the same arguments, in this process's place; does so at most once."""
    if are_missing(os.environ):
        sys.stdout.flush()
        command = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, command, {**os.environ, VARIABLE: TUNABLES})


def keep_what_is_large() -> None:
    """Has XLA run programs for CPU in the thread that calls them; before any array is made.

    Of more than 64 MB glibc keeps what the main thread allocates alone. A thread of XLA's, which
    runs them otherwise, gives a program's temporaries back after every call, settings or not: up
    to a tenth of the time of a large step.
    """
    import jax

    jax.config.update("jax_cpu_enable_async_dispatch", False)
