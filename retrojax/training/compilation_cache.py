"""Compiled programs kept on disk, so that the next process need not compile them again.

JAX tells programs apart by what they compute and how they are compiled, but not machines that share
a disk: code made for one CPU may not run on another. So each combination of versions and machine
has a folder of its own below the one that the user names.
"""

import hashlib
import os
import platform
import re
from importlib import metadata
from pathlib import Path

import jax

CPU_FACTS = ("model name", "flags", "Features", "CPU implementer", "CPU part")


def keep_compiled_programs(folder: str | os.PathLike[str]) -> Path:
    """From now on programs are looked for on disk before they are compiled, and written there.

    Call it before anything is compiled.

    Args:
        folder: may be shared by runs and by machines; made if missing.

    Returns:
        The folder of this machine below it.

    Raises:
        ValueError: if it cannot be written to.
    """
    own = Path(folder).expanduser().absolute() / this_machine()
    try:
        own.mkdir(parents=True, exist_ok=True)
        if not os.access(own, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise ValueError(
            f"--compilation-cache={folder} cannot be written to ({error.strerror or error}); "
            "choose another folder, or leave it out"
        ) from error
    jax.config.update("jax_compilation_cache_dir", str(own))
    # JAX keeps only what took a second to compile; a start has many programs that take less.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    return own


def this_machine() -> str:
    """A folder's name made of the versions, the device, and the host's processor and its abilities.

    The processor counts beside a GPU too: it runs programs of its own.
    """
    device = jax.local_devices()[0]
    kind = device.device_kind if device.platform != "cpu" else platform.machine()
    digest = hashlib.sha256(_processor().encode()).hexdigest()[:12]
    versions = f"jax-{jax.__version__}-jaxlib-{metadata.version('jaxlib')}"
    name = f"{versions}-{device.platform}-{kind}-{digest}"
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)


def _processor() -> str:
    """Model and instruction sets as Linux lists them; elsewhere what Python knows of the model."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return f"{platform.system()} {platform.machine()} {platform.processor()}"
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in CPU_FACTS:
            found.setdefault(name.strip(), value.strip())
    return f"{platform.machine()} {sorted(found.items())}"
