"""Settings for every test: four virtual CPU devices, strict shapes, checked annotations.

Programs are compiled without LLVM's expensive passes: tests run for milliseconds what would take
many times longer to optimise. The HLO that some of them look at is the same. Programs that tests
start inherit it.

XLA's threads are more than the devices: a program on all four holds one for each until all have
come to an exchange, and what runs beside it needs others.
"""

import gc
import os
from importlib.metadata import version
from itertools import count

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault("NPROC", "8")  # XLA's name for the number of its threads on CPU.
if version("jaxlib").startswith("0.10."):
    # The older of its two code generators compiles in 0.6 of the time; later versions have one.
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")

import jax
import jaxtyping
import pytest

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
jaxtyping.install_import_hook("retrojax", "beartype.beartype")

# Files of few tests that run for minutes: a worker that meets one at the end keeps all waiting.
FIRST = ("test_processes.py", "test_parallel.py")


def pytest_collection_modifyitems(items):
    """Brings the longest files to the front; the order is otherwise that of the folders."""
    items.sort(key=lambda item: item.path.name not in FIRST)


# Files between two clearings of a process's compiled programs.
KEPT, FILES = 5, count(1)


@pytest.fixture(autouse=True, scope="module")
def compiled_programs_go_after_a_few_files():
    """Else a process holds every program of every test: gigabytes, which slow all that follows."""
    yield
    if next(FILES) % KEPT == 0:
        jax.clear_caches()
        gc.collect()
