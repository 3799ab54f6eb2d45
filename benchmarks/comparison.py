"""The product's step beside other systems' of the same game: equal first, then round by round."""

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from benchmarks.exchange import exchange_rate
from benchmarks.games import game
from benchmarks.ratios import ratios, spread
from benchmarks.table import Report
from benchmarks.worker import Worker

PRODUCT: Final = "product"
TOLERANCE: Final = 1e-3
LEAST_STEPS: Final = 3

Losses = Sequence[Mapping[str, float]]


class DisagreementError(Exception):
    """Two systems do not play the same game."""


def compare(
    chosen: Mapping[str, Any],
    against: Sequence[str],
    *,
    rounds: int,
    steps: int,
    warmup: int,
    round_seconds: float,
    threads: int,
) -> Report:
    """Checks that all systems have the same losses, then times them in turn.

    Args:
        chosen: what `games.game` takes.
        against: names in `worker.CONTENDERS`; the product may be among them, as its own peer.
        rounds: of each system, in turn.
        steps: of a round at most, waited for at its end.
        warmup: untimed steps before, for every 50 timed ones; at least one.
        round_seconds: a round is shortened to last about as long with the slowest system.
        threads: of every system.

    Raises:
        DisagreementError: if losses differ by more than a thousandth.
        RuntimeError: if a system fails, or they run on different devices.
    """
    load = os.getloadavg() if hasattr(os, "getloadavg") else None
    names = [PRODUCT, *against]
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        file = str(Path(folder) / "handover.npz")
        workers = [stack.enter_context(Worker(n, threads=threads, **chosen)) for n in names]
        _say("compiling and comparing the first steps")
        workers[0].call("hand_over", file=file)
        expected = workers[0].call("losses")
        agreement = {}
        for worker in workers[1:]:
            worker.call("load", file=file)
            agreement[worker.name] = agree(worker.name, worker.call("losses"), expected)
        for worker in workers:
            worker.call("compile")
        _one_device({worker.name: worker.call("facts")["device"] for worker in workers})

        ceilings = [worker.call("ceilings") for worker in workers]
        slowest = max(w.call("round", steps=2, warmup=1)["seconds"] for w in workers)
        steps = min(steps, max(LEAST_STEPS, int(round_seconds / slowest)))
        warmup = max(min(warmup, 1), steps * warmup // 50)
        seconds, exchange, finite = [[] for _ in workers], [], True
        minutes = slowest * (steps + warmup) * rounds * len(workers) / 60
        _say(f"{rounds} rounds of {steps} steps after {warmup}, up to {minutes:.1f} minutes")
        for _ in range(rounds):
            exchange.append(exchange_rate())
            for worker, times in zip(workers, seconds, strict=True):
                answer = worker.call("round", steps=steps, warmup=warmup)
                times.append(answer["seconds"])
                finite &= answer["finite"]
        again = [worker.call("ceilings") for worker in workers]
        facts = [worker.call("facts") for worker in workers]

    return {
        "title": game(**chosen).title,
        "load_average": load,
        "cpu_count": os.cpu_count(),
        "threads": threads,
        "rounds": rounds,
        "steps": steps,
        "warmup": warmup,
        "finite": finite,
        "exchange": exchange,
        "flops": facts[0]["flops"],
        "ceilings": {
            name: {kind: max(before[kind], after[kind]) for kind in before}
            for name, before, after in zip(names, ceilings, again, strict=True)
        },
        "agreement": agreement,
        "systems": [
            {"name": name, "seconds": times, "spread": spread(times)._asdict(), **said}
            for name, times, said in zip(names, seconds, facts, strict=True)
        ],
        "ratios": [
            {"name": name, **ratios(seconds[0], times)._asdict()}
            for name, times in zip(against, seconds[1:], strict=True)
        ],
    }


def agree(name: str, found: Losses, expected: Losses) -> dict[str, Any]:
    """The largest relative difference of two systems' losses, and where it is.

    Raises:
        DisagreementError: if it is more than a thousandth, or a loss is missing or not finite.
    """
    worst: dict[str, Any] = {"difference": 0.0, "loss": "", "step": 0}
    for step, (ours, theirs) in enumerate(zip(expected, found, strict=True)):
        if set(ours) != set(theirs):
            raise DisagreementError(
                f"{name} has other losses: {', '.join(sorted(set(ours) ^ set(theirs)))}"
            )
        for loss, value in ours.items():
            difference = abs(theirs[loss] - value) / max(abs(value), sys.float_info.min)
            if not difference <= TOLERANCE:
                raise DisagreementError(
                    f"{name} plays another game: {loss} in step {step} is {theirs[loss]:.6g}, the "
                    f"product's is {value:.6g}; no times were taken"
                )
            if difference >= worst["difference"]:
                worst = {"difference": difference, "loss": loss, "step": step}
    return worst | {"steps": len(expected)}


def _one_device(devices: Mapping[str, str]) -> None:
    """Refuses to compare a GPU with a CPU.

    Raises:
        RuntimeError: names the devices.
    """
    if len({device.rpartition("(")[2] for device in devices.values()}) > 1:
        listed = ", ".join(f"{name} on {device}" for name, device in devices.items())
        raise RuntimeError(
            f"different devices: {listed}; set JAX_PLATFORMS=cpu and CUDA_VISIBLE_DEVICES= to "
            "compare on the CPU"
        )


def _say(text: str) -> None:
    print(f"step_time: {text}", file=sys.stderr)
