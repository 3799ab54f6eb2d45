"""The table of a step's report, in plain text."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

Report = dict[str, Any]
"""What is written to --json: JSON values by name; figures in seconds, bytes and FLOPs."""


def table(report: Report) -> str:
    """Lays a report out as lines of `what   figure`."""
    times = _times(report) if report["ran"] else ()
    return laid_out([*_subject(report), *times, *_program(report)])


def laid_out(rows: Sequence[tuple[str, str]]) -> str:
    """Lines of `what   figure`, the figures below each other."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def loads(averages: Iterable[float]) -> str:
    """Load averages of 1, 5 and 15 minutes."""
    return " ".join(f"{load:.2f}" for load in averages)


def with_prefix(value: float, unit: str) -> str:
    """Three significant digits or so, with a decimal prefix."""
    for prefix, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= scale:
            return f"{value / scale:.{1 if value >= 100 * scale else 2}f} {prefix}{unit}"
    return f"{value:.0f} {unit}"


def _subject(report: Report) -> Iterator[tuple[str, str]]:
    device, count = report["device"], report["device"]["count"]
    of = "device" if count == 1 else "devices"
    if report["ran"]:
        yield "device", f"{count} {of}: {device['kind']} ({device['platform']})"
    else:
        yield (
            "COMPILED, NOT RUN",
            f"for {count} {of}: {device['kind']}, topology {report['topology']}",
        )
    yield (
        "step",
        f"preset {report['preset']}, loss {report['loss']}, batch {report['batch_size']}, "
        f"window {report['window']}, {report['dtype']}, "
        f"matmul precision {report['matmul_precision']}",
    )
    yield "versions", ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    if report["load_average"] is not None:
        text = loads(report["load_average"])
        yield "load average before", f"{text} (1, 5, 15 min; {report['cpu_count']} CPUs)"
    yield "compile", f"{report['compile_seconds']:.2f} s on this machine"


def _times(report: Report) -> Iterator[tuple[str, str]]:
    yield "first call", f"{report['first_call_seconds']:.3f} s, then {report['warmup']} of warm-up"
    times = report["step_seconds"]
    yield (
        "step, waited for",
        f"median {_ms(times['median'])}, p10 {_ms(times['p10'])}, p90 {_ms(times['p90'])} "
        f"({report['steps']} steps)",
    )
    yield (
        "step, pipelined",
        f"{_ms(report['pipelined_seconds'])} = {report['images_per_second']:.1f} images/s "
        f"({report['steps']} steps, one wait at the end)",
    )
    matmul = report["matmul"]
    yield (
        "matmul ceiling",
        f"{_flops(matmul['flops_per_second'])}/s ({matmul['size']} x {matmul['size']}, "
        f"{matmul['dtype']}, on all devices at once)",
    )
    if report["flops_per_second"] is not None:
        yield (
            "FLOP/s",
            f"{_flops(report['flops_per_second'])}/s (FLOPs per step / median), "
            f"{report['share_of_matmul']:.1%} of the ceiling",
        )
    if report["peak_device_bytes"] is not None:
        yield "peak memory", f"{_bytes(report['peak_device_bytes'])} on the first device"
    if not report["finite"]:
        yield "WARNING", "the last step's metrics are not finite; the times are of a broken game"


def _program(report: Report) -> Iterator[tuple[str, str]]:
    if report["flops"] is not None:
        yield "FLOPs per step", f"{_flops(report['flops'])} on all devices (lowered.cost_analysis)"
    memory = ", ".join(f"{kind} {_bytes(size)}" for kind, size in report["memory"].items())
    yield "memory per device", memory
    share = report["aliased_bytes"] / report["state_bytes"]
    yield (
        "state aliasing",
        f"{share:.2%} ({_bytes(report['aliased_bytes'])} of {_bytes(report['state_bytes'])} "
        "updated in place)",
    )
    yield (
        "all-reduces",
        f"{report['all_reduces']}, in all {_bytes(report['all_reduce_bytes'])} (gradients of both "
        f"players: {_bytes(report['gradient_bytes'])}); other collectives: "
        f"{report['other_collectives']}",
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms"


def _flops(value: float) -> str:
    return with_prefix(value, "FLOP")


def _bytes(value: float) -> str:
    return with_prefix(value, "B")
