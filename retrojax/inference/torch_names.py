"""What PyTorch's originals call each layer of our networks.

The originals are `nn.Sequential`s, so a layer's name is its place in the list. The lists are
written out here, `None` for what has no weights (padding, activations, dropout), and the names
counted off. Originals: `ResnetGenerator`, `UnetGenerator`, `NLayerDiscriminator` and
`PixelDiscriminator` of Zhu et al. 2017 (arXiv:1703.10593) and Isola et al. 2017
(arXiv:1611.07004), and the anti-aliased forms of Park et al. 2020 (arXiv:2007.15651).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from retrojax.models import PatchDiscriminator, PixelDiscriminator, ResNetGenerator, UNetGenerator

Kind = Literal["conv", "norm", "down filter", "up filter"]


class Layer(NamedTuple):
    """One layer with weights, or one of CUT's constant filters.

    Attributes:
        kind: "conv" (transposed or not), "norm", or a filter: its weights are constants.
        ours: its name in our module; for a filter, the convolution before ("down filter") or
            after it ("up filter"), which says how many channels it has.
        theirs: its name in the original, without ".weight".
    """

    kind: Kind
    ours: str
    theirs: str = ""


Slot = Layer | tuple["Layer | None", ...] | None


def _conv(name: str) -> Layer:
    return Layer("conv", name)


def _norm(name: str) -> Layer:
    return Layer("norm", name)


def _counted(prefix: str, slots: Iterable[Slot]) -> Iterator[Layer]:
    """Names by place; a tuple is a residual block with a list of its own."""
    for place, slot in enumerate(slots):
        if isinstance(slot, Layer):
            yield slot._replace(theirs=f"{prefix}.{place}")
        elif slot is not None:
            yield from _counted(f"{prefix}.{place}.conv_block", slot)


def _resnet(module: ResNetGenerator) -> Iterator[Layer]:
    slots: list[Slot] = [None, _conv("stem"), _norm("stem_norm"), None]
    for name in ("down_0", "down_1"):
        slots += [_conv(name), _norm(f"{name}_norm"), None]
        slots += [Layer("down filter", name)] if module.antialias_down else []
    for name in (f"block_{i}" for i in range(module.blocks)):
        dropout = (None,) if module.dropout else ()
        first = (None, _conv(f"{name}_conv_0"), _norm(f"{name}_norm_0"), None, *dropout)
        slots.append((*first, None, _conv(f"{name}_conv_1"), _norm(f"{name}_norm_1")))
    for name in ("up_0", "up_1"):
        slots += [Layer("up filter", name)] if module.antialias_up else []
        slots += [_conv(name), _norm(f"{name}_norm"), None]
    return _counted("model", [*slots, None, _conv("image")])


def _unet(module: UNetGenerator) -> Iterator[Layer]:
    """The levels are nested: each is an entry, "3" of the one above it ("1" of the outermost)."""
    prefix = "model.model"
    yield from _counted(prefix, [_conv("down_1"), None, None, _conv("image")])
    for level in range(2, module.levels + 1):
        prefix += ".1.model" if level == 2 else ".3.model"
        down, up = _conv(f"down_{level}"), (_conv(f"up_{level}"), _norm(f"up_{level}_norm"))
        inner = (_norm(f"down_{level}_norm"), None) if level < module.levels else ()
        yield from _counted(prefix, [None, down, *inner, None, *up])


def _patchgan(module: PatchDiscriminator) -> Iterator[Layer]:
    slots: list[Slot] = []
    for i in range(module.layers + 1):
        slots += [_conv(f"conv_{i}"), *([_norm(f"norm_{i}")] if i else []), None]
        if module.antialias and i < module.layers:
            slots.append(Layer("down filter", f"conv_{i}"))
    return _counted("model", [*slots, _conv("logits")])


def _pixelgan(_: PixelDiscriminator) -> Iterator[Layer]:
    return _counted(
        "net", [_conv("conv_0"), None, _conv("conv_1"), _norm("norm_1"), None, _conv("logits")]
    )


LAYERS: Mapping[str, Callable[[Any], Iterator[Layer]]] = MappingProxyType(
    {"resnet": _resnet, "unet": _unet, "patchgan": _patchgan, "pixelgan": _pixelgan}
)
"""Architectures that PyTorch's originals have too -> from a module to its layers, in order."""
