"""What tests of several processes need: a port, and a folder in which they share programs."""

import socket
from pathlib import Path


def free_port() -> int:
    """A port of the loopback at which nobody listens now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def shared_programs(folder: Path) -> dict[str, str]:
    """Environment of processes that compile each program once, and find it here the next time."""
    return {
        "JAX_COMPILATION_CACHE_DIR": str(folder / "programs"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
