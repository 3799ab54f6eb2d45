"""Every convolution of the benchmark's models, by the product's functions and by PyTorch's.

    python benchmarks/operations.py --json=operations.json
    python benchmarks/operations.py --models=document,dcgan64 --threads=1

Each distinct convolution is timed alone in the directions in which a step has it, in float32 on
random arrays: the product in one process and PyTorch (channels_last) in another, in turn, with as
many threads. The table starts with the operation that is worst for the product and ends with the
number of those that miss the goal, 1.5 times PyTorch's time. Needs the extra `bench`.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple

# Started by its path, Python looks for modules in benchmarks/ and not in the checkout above it.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.command_line import Parser, new_file, positive
from benchmarks.comparison_table import QUIET
from benchmarks.convolutions import Convolution
from benchmarks.exchange import exchange_rate, rates_in_words
from benchmarks.games import GAMES, game
from benchmarks.ratios import Spread, ratios
from benchmarks.recorded import record
from benchmarks.table import loads
from benchmarks.worker import Worker, available_cpus

CALL_SECONDS: Final = 0.1
MOST_CALLS: Final = 200
GOAL: Final = 1.5
"""The product's time over PyTorch's that no operation should exceed."""


class Timed(NamedTuple):
    """One operation in both systems.

    Attributes:
        convolution: its shape.
        direction: out of `DIRECTIONS`.
        models: whose step has it.
        product: seconds of each round.
        torch: seconds of each round.
    """

    convolution: Convolution
    direction: str
    models: tuple[str, ...]
    product: tuple[float, ...]
    torch: tuple[float, ...]

    @property
    def ratio(self) -> Spread:
        """The product's time over PyTorch's."""
        return ratios(self.product, self.torch)


def main(arguments: Sequence[str] | None = None) -> None:
    """Times the operations and prints their table."""
    load = os.getloadavg() if hasattr(os, "getloadavg") else None
    parser = _arguments()
    chosen = parser.parse_args(arguments)
    if find_spec("torch") is None:
        parser.error("this needs PyTorch: pip install '.[bench]'")
    threads = chosen.threads or available_cpus()
    if threads > available_cpus():
        parser.error(f"--threads={threads}, but there are {available_cpus()} CPUs")
    exchange = [exchange_rate()]
    found = sorted(measure(chosen.models, rounds=chosen.rounds, threads=threads), key=_worst_first)
    exchange.append(exchange_rate())
    print(table(found))
    text = "unknown" if load is None else loads(load)
    print(f"\n{threads} of {os.cpu_count()} CPUs for each system, load average before {text}.")
    if load is not None and load[0] > QUIET:
        print("WARNING: the machine is not quiet: these ratios say nothing.")
    cores = rates_in_words(exchange)
    if cores is not None:
        print(f"Core to core, before and after: {cores}.")
    if chosen.json is not None:
        chosen.json.write_text(json.dumps([one._asdict() for one in found], indent=2) + "\n")


def measure(models: Sequence[str], *, rounds: int, threads: int) -> Iterator[Timed]:
    """Times every operation of the models' steps.

    Args:
        models: names of games.
        rounds: of each system and operation, in turn.
        threads: of each system.
    """
    uses = record(game(model) for model in models)
    with (
        Worker("product-operations", threads=threads) as product,
        Worker("torch-operations", threads=threads) as torch,
    ):
        for convolution, directions in uses.items():
            for direction, users in directions.items():
                options: dict[str, Any] = {"convolution": convolution, "direction": direction}
                slowest = max(
                    worker.call("prepare", dtype="float32", **options)
                    for worker in (product, torch)
                )
                calls = min(MOST_CALLS, max(1, int(CALL_SECONDS / slowest)))
                times = [
                    (product.call("time", calls=calls), torch.call("time", calls=calls))
                    for _ in range(rounds)
                ]
                ours, theirs = zip(*times, strict=True)
                yield Timed(convolution, direction, users, ours, theirs)


def table(found: Sequence[Timed]) -> str:
    """A Markdown table, a row for each operation, and below it how many miss the goal."""
    rows = [
        ["operation", "direction", "product, ms", "PyTorch, ms", "product / PyTorch", "range"],
        ["---", "---", "---:", "---:", "---:", "---:"],
    ]
    rows[0] += ["product, GFLOP/s", "PyTorch, GFLOP/s", "models"]
    rows[1] += ["---:", "---:", "---"]
    for one in found:
        ratio, (ours, theirs) = one.ratio, (_median(one.product), _median(one.torch))
        rows.append(
            [
                *(one.convolution.title, one.direction, f"{ours * 1e3:.2f}", f"{theirs * 1e3:.2f}"),
                *(f"{ratio.median:.2f}", f"{ratio.least:.2f} to {ratio.most:.2f}"),
                *(f"{one.convolution.flops / t / 1e9:.1f}" for t in (ours, theirs)),
                ", ".join(one.models),
            ]
        )
    above = sum(one.ratio.median > GOAL for one in found)
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*lines, "", f"{above} of {len(found)} above {GOAL}"])


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def _worst_first(one: Timed) -> float:
    return -one.ratio.median


def _models(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    for name in names:
        if name not in GAMES:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(GAMES)}")
    return names


def _arguments() -> Parser:
    parser = Parser(
        prog="operations",
        description="Every convolution of the benchmark's models beside PyTorch's.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--models",
        type=_models,
        default=tuple(GAMES),
        help=f"with commas between (default: {','.join(GAMES)})",
    )
    add("--rounds", type=positive, default=5, help="of each system, in turn (default: 5)")
    add("--threads", type=positive, help="CPUs of each system (default: all)")
    add("--json", type=new_file, metavar="FILE", help="write the figures there too")
    return parser


if __name__ == "__main__":
    main()
