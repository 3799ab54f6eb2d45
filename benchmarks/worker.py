"""Contenders in processes of their own: each is started once and asked, a line of JSON at a time.

A process for each keeps their libraries, thread pools and memory apart; since the answers are
waited for one by one, only one of them works at any time. All have large pages, as a run has.
"""

import importlib
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from types import MappingProxyType
from typing import Any

from retrojax.huge_pages import TUNABLES, VARIABLE

ROOT = Path(__file__).resolve().parents[1]

# Name -> module, class, and what it is made with beside the caller's options.
CONTENDERS = MappingProxyType(
    {
        "product": ("benchmarks.contender", "ProductContender", {}),
        "flax": ("benchmarks.idiomatic_flax", "FlaxContender", {}),
        "torch": ("benchmarks.torch_reference", "TorchContender", {"mode": "eager"}),
        "torch-compile": ("benchmarks.torch_reference", "TorchContender", {"mode": "default"}),
        "torch-max-autotune": (
            "benchmarks.torch_reference",
            "TorchContender",
            {"mode": "max-autotune"},
        ),
        "product-stylize": ("benchmarks.stylize_product", "StylizeProduct", {}),
        "torch-stylize": ("benchmarks.torch_stylize", "TorchStylize", {}),
        "product-operations": ("benchmarks.product_operations", "ProductOperations", {}),
        "torch-operations": ("benchmarks.torch_operations", "TorchOperations", {}),
    }
)


class Worker:
    """A contender in another process; to be used as a context, which ends it."""

    def __init__(self, name: str, *, threads: int, **options: Any) -> None:
        """Starts the process.

        Args:
            name: a name in `CONTENDERS`.
            threads: number of CPUs that it may use, and of its library's threads.
            **options: JSON values that the contender is made with.
        """
        self.name = name
        # Libraries that cannot be told by affinity read these.
        counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NPROC"), str(threads))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", name, str(threads), json.dumps(options)],
            cwd=ROOT,
            env={
                VARIABLE: TUNABLES,
                **os.environ,
                **counts,
                "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def call(self, method: str, **options: Any) -> Any:
        """Calls a method of the contender and waits for its result, a JSON value.

        Raises:
            RuntimeError: if it raised, or its process has ended; the message says what happened.
        """
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None and stdout is not None
        try:
            print(json.dumps([method, options]), file=stdin, flush=True)
            line = stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            code = self.process.wait()
            raise RuntimeError(f"{self.name} ended in {method!r} with exit code {code}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{self.name} failed in {method!r}:\n{answer['error']}")
        return answer["result"]

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def available_cpus() -> int:
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def main(arguments: list[str]) -> None:
    """Serves calls from stdin until it is closed; what libraries print goes to stderr."""
    name, threads, options = arguments
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(threads)])
    contender = None
    for line in sys.stdin:
        method, called_with = json.loads(line)
        try:
            if contender is None:
                module, kind, own = CONTENDERS[name]
                made = getattr(importlib.import_module(module), kind)
                contender = made(**own, **json.loads(options))
            answer = {"result": getattr(contender, method)(**called_with)}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
