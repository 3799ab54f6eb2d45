"""The table of a comparison, in plain text."""

from collections.abc import Iterator
from typing import Final

from benchmarks.exchange import rates_in_words
from benchmarks.table import Report, laid_out, loads, with_prefix

QUIET: Final = 0.7
"""Load average above which other work decides who is faster."""

COMPARED: Final = (
    "the joint step from prepared float batches (no look is rendered, nothing flipped); equal "
    "weights at the start of every round; noise and dropout drawn by each system itself"
)
CHECKED: Final = "float32, no dropout, a tenth of the rates, the product's noise handed over"


def comparison_table(report: Report) -> str:
    """Lays a comparison out as lines of `what   figure`."""
    return laid_out([*_subject(report), *_agreement(report), *_times(report), *_ceilings(report)])


def _subject(report: Report) -> Iterator[tuple[str, str]]:
    systems = report["systems"]
    yield "step", report["title"]
    yield "compared", COMPARED
    device = systems[0]["device"]
    yield "device", f"{device}, {report['threads']} of {report['cpu_count']} CPUs for each system"
    versions = {name: v for system in systems for name, v in system["versions"].items()}
    yield "versions", ", ".join(f"{name} {version}" for name, version in versions.items())
    load = report["load_average"]
    if load is not None:
        yield "load average before", f"{loads(load)} (1, 5, 15 min; {report['cpu_count']} CPUs)"
        if load[0] > QUIET:
            yield "WARNING", "the machine is not quiet: these ratios say nothing"
    if not report["finite"]:
        yield "WARNING", "losses are not finite; the times are of a broken game"


def _agreement(report: Report) -> Iterator[tuple[str, str]]:
    for name, worst in report["agreement"].items():
        yield (
            f"losses, {name}",
            f"at most {worst['difference']:.1e} from the product's in {worst['steps']} steps "
            f"({worst['loss']}, step {worst['step']}; {CHECKED})",
        )


def _times(report: Report) -> Iterator[tuple[str, str]]:
    peaks = report["ceilings"].values()
    matmul, conv = (max(found[kind] for found in peaks) for kind in ("matmul", "convolution"))
    for system in report["systems"]:
        times = system["spread"]
        text = (
            f"median {times['median'] * 1e3:.2f} ms, {times['least'] * 1e3:.2f} to "
            f"{times['most'] * 1e3:.2f}; compiled in {system['compile_seconds']:.1f} s; "
            f"peak memory {with_prefix(system['peak_bytes'], 'B')}"
        )
        if report["flops"] is not None:
            speed = report["flops"] / times["median"]
            text += (
                f"; {with_prefix(speed, 'FLOP')}/s, {speed / matmul:.1%} of the matmul peak, "
                f"{speed / conv:.1%} of the convolution peak"
            )
        yield f"step, {system['name']}", text
    for ratio in report["ratios"]:
        yield (
            f"product / {ratio['name']}",
            f"median {ratio['median']:.3f}, {ratio['least']:.3f} to {ratio['most']:.3f}, 95 % "
            f"bootstrap {ratio['low']:.3f} to {ratio['high']:.3f} ({report['rounds']} rounds in "
            f"turn of {report['steps']} steps after {report['warmup']}; below 1 the product is "
            "faster)",
        )


def _ceilings(report: Report) -> Iterator[tuple[str, str]]:
    for name, found in report["ceilings"].items():
        peaks = (f"{kind} {with_prefix(value, 'FLOP')}/s" for kind, value in found.items())
        yield f"peaks, {name}", ", ".join(peaks)
    cores = rates_in_words(report["exchange"])
    if cores is not None:
        yield "core to core", cores
    if report["flops"] is not None:
        yield (
            "FLOPs per step",
            f"{with_prefix(report['flops'], 'FLOP')} (lowered.cost_analysis of the product's, "
            "for all systems)",
        )
