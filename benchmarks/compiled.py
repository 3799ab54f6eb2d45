"""What a step says about itself before it is run: FLOPs; compiled, memory, aliasing, collectives.

A program that is compiled for several devices is one device's share of the work, so every figure
of `CompiledFacts` is per device.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

import jax
from jaxtyping import PyTree

# A result in the HLO text: `%name = f32[8]{0} all-reduce(`, or a tuple `(f32[8]{0}, f32[])`. Of an
# asynchronous pair only the start counts.
_COLLECTIVE = re.compile(
    r"^\s*(?:ROOT )?%?[\w.-]+ = (?P<shape>.+?) (?P<name>all-reduce|all-gather|all-to-all"
    r"|reduce-scatter|collective-permute|collective-broadcast)(?:-start)?\(",
    re.MULTILINE,
)
_ARRAY = re.compile(r"\b([a-z]+\d*\w*)\[([\d,]*)\]")
_ALIAS = re.compile(r"\{[\d, ]*\}: \((\d+), \{[\d, ]*\}, (?:may|must)-alias\)")


def step_flops(step: Callable[..., object], *arguments: PyTree) -> float | None:
    """FLOPs of one call of a step: of its convolutions the taps that meet no padding.

    Read from the program lowered for a TPU, whichever device runs it: there convolutions are plain
    ones, while a CPU's program has other forms of them, and a GPU's compiled program does not
    count what cuDNN does.

    Returns:
        The number; None if the CPU, which counts them, is not among the platforms of this process.
    """
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), arguments)
    try:
        counting = jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return None
    with jax.default_device(counting):
        lowered = jax.jit(step).trace(*shapes).lower(lowering_platforms=("tpu",))
    return (lowered.cost_analysis() or {}).get("flops")


class CompiledFacts(NamedTuple):
    """One device's share of a compiled step.

    Attributes:
        memory: bytes by kind from `memory_analysis()`; on a TPU with the padding of its tiles.
        aliased_bytes: of the inputs whose memory the outputs take over, without padding.
        all_reduces: number of all-reduce operations.
        all_reduce_bytes: of their results.
        other_collectives: number of every other kind of communication.
    """

    memory: dict[str, int]
    aliased_bytes: int
    all_reduces: int
    all_reduce_bytes: int
    other_collectives: int


def compiled_facts(compiled: "jax.stages.Compiled") -> CompiledFacts:
    """Reads a compiled program's analyses and its HLO text."""
    analysis = compiled.memory_analysis()
    kinds = ("argument", "output", "temp", "alias")
    text = compiled.as_text() or ""
    sizes = collectives(text)
    reduced = [size for name, size in sizes if name == "all-reduce"]
    return CompiledFacts(
        memory={kind: getattr(analysis, f"{kind}_size_in_bytes") for kind in kinds},
        aliased_bytes=aliased_bytes(text),
        all_reduces=len(reduced),
        all_reduce_bytes=sum(reduced),
        other_collectives=len(sizes) - len(reduced),
    )


def collectives(hlo: str) -> list[tuple[str, int]]:
    """Kind and size in bytes of every collective's result in a compiled program's text."""
    return [(found["name"], _bytes(found["shape"])) for found in _COLLECTIVE.finditer(hlo)]


def aliased_bytes(hlo: str) -> int:
    """Bytes of the parameters that the program's header gives over to outputs.

    `alias_size_in_bytes` counts tiles where arrays are padded to tiles: several times the state of
    a small network on a TPU, so it cannot show whether all of the state was taken over.
    """
    header = hlo.partition("\n")[0]
    parameters = header.partition("entry_computation_layout={(")[2].partition(")->")[0]
    shapes = [found[0] for found in _ARRAY.finditer(parameters)]
    return sum(_bytes(shapes[int(number)]) for number in set(_ALIAS.findall(header)))


def _bytes(shape: str) -> int:
    """Size of an HLO shape, or of a tuple of them."""
    total = 0
    for kind, sides in _ARRAY.findall(shape):
        bits = re.search(r"\d+", kind)
        count = 1
        for side in filter(None, sides.split(",")):
            count *= int(side)
        # `pred` is the only type without its bits in the name; it takes a byte.
        total += count * (int(bits[0]) if bits else 8) // 8
    return total
