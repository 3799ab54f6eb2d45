"""How much memory a process has taken."""

import re
import resource
import sys
from pathlib import Path


def peak_memory() -> int:
    """Largest resident size of this process so far, in bytes.

    Linux hands `ru_maxrss` on to the processes that a process starts, so that a small child of a
    large parent would never grow; what /proc says is the process's own.
    """
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text())
        if found is not None:
            return int(found[1]) * 1024
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size * (1 if sys.platform == "darwin" else 1024)
