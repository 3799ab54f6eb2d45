"""The closed table of named looks.

Amounts are chosen for a frame shown about 500 pixels wide and hold at any size. The names describe;
none of them is a product.
"""

from collections.abc import Mapping
from types import MappingProxyType

from retrojax.film.look import (
    Dust,
    Exposure,
    Fade,
    Grain,
    Halation,
    LightLeak,
    Look,
    Matrix,
    Scratches,
    SplitTone,
    Tone,
    Vignette,
    WhiteBalance,
)

LOOKS: Mapping[str, Look] = MappingProxyType(
    {
        "sepia": Look(
            exposure=Exposure(stops=0.15),
            vignette=Vignette(strength=0.3),
            matrix=Matrix(
                red=(0.32, 0.54, 0.14), green=(0.32, 0.54, 0.14), blue=(0.32, 0.54, 0.14)
            ),
            tone=Tone(contrast=(1.4, 1.7, 2.0), pivot=(0.60, 0.68, 0.78), white=(1.0, 0.98, 0.92)),
            grain=Grain(strength=0.17, size_um=68.0, chroma=0.0),
            split_tone=SplitTone(shadows=(0.05, -0.01, -0.03), highlights=(0.02, 0.0, -0.03)),
            fade=Fade(loss=(0.20, 0.17, 0.15), paper=(0.98, 0.94, 0.85)),
            dust=Dust(specks=14.0, fibres=1.0, size_um=80.0, opacity=0.6),
        ),
        "faded-print": Look(
            exposure=Exposure(stops=0.05),
            white_balance=WhiteBalance(warmth=0.3, tint=0.1),
            matrix=Matrix(
                red=(0.80, 0.16, 0.04), green=(0.10, 0.80, 0.10), blue=(0.06, 0.22, 0.72)
            ),
            tone=Tone(contrast=(1.3, 1.3, 1.25), pivot=(0.75, 0.75, 0.8)),
            grain=Grain(strength=0.26, size_um=72.0, chroma=0.45),
            split_tone=SplitTone(shadows=(0.05, -0.01, 0.02), highlights=(0.02, 0.01, -0.06)),
            fade=Fade(loss=(0.48, 0.38, 0.34), paper=(0.99, 0.94, 0.80)),
        ),
        "slide": Look(
            exposure=Exposure(stops=-0.1),
            white_balance=WhiteBalance(warmth=-0.1, tint=0.06),
            vignette=Vignette(strength=0.15),
            halation=Halation(strength=0.2, threshold=0.7, radius_um=70.0),
            matrix=Matrix(
                red=(1.12, -0.08, -0.04), green=(-0.10, 1.20, -0.10), blue=(-0.08, -0.16, 1.24)
            ),
            tone=Tone(contrast=(1.6, 1.62, 1.6), pivot=(0.66, 0.65, 0.64)),
            grain=Grain(strength=0.07, size_um=45.0, chroma=0.5),
        ),
        "instant": Look(
            exposure=Exposure(stops=0.2),
            white_balance=WhiteBalance(warmth=0.1, tint=-0.15),
            vignette=Vignette(strength=0.35),
            light_leak=LightLeak(strength=0.45, reach=0.10, colour=(1.0, 0.3, 0.06)),
            halation=Halation(
                strength=0.35, threshold=0.5, radius_um=220.0, colour=(1.0, 0.8, 0.6)
            ),
            matrix=Matrix(
                red=(0.84, 0.12, 0.04), green=(0.05, 0.88, 0.07), blue=(0.05, 0.15, 0.80)
            ),
            tone=Tone(contrast=(1.55, 1.4, 1.2), pivot=(0.58, 0.58, 0.65)),
            grain=Grain(strength=0.12, size_um=100.0, chroma=0.5),
            split_tone=SplitTone(shadows=(-0.08, 0.02, 0.10), highlights=(0.02, 0.02, -0.07)),
            fade=Fade(loss=(0.22, 0.22, 0.30), paper=(0.97, 0.965, 0.91)),
        ),
        "cross-process": Look(
            exposure=Exposure(stops=0.1),
            matrix=Matrix(
                red=(1.16, -0.10, -0.06), green=(-0.04, 1.12, -0.08), blue=(0.0, 0.04, 0.96)
            ),
            tone=Tone(
                contrast=(2.4, 1.95, 1.15),
                pivot=(0.58, 0.50, 0.80),
                black=(0.0, 0.02, 0.16),
                white=(1.0, 1.0, 0.76),
            ),
            grain=Grain(strength=0.22, size_um=62.0, chroma=0.6),
            split_tone=SplitTone(shadows=(-0.04, 0.02, 0.08), highlights=(0.02, 0.05, -0.08)),
        ),
        "noir": Look(
            vignette=Vignette(strength=0.6),
            halation=Halation(strength=0.4, threshold=0.6, radius_um=120.0, colour=(1.0, 1.0, 1.0)),
            matrix=Matrix(
                red=(0.45, 0.45, 0.10), green=(0.45, 0.45, 0.10), blue=(0.45, 0.45, 0.10)
            ),
            tone=Tone(contrast=(2.3, 2.3, 2.3), pivot=(0.62, 0.62, 0.62)),
            grain=Grain(strength=0.26, size_um=70.0, chroma=0.0),
        ),
        "tungsten-cine": Look(
            exposure=Exposure(stops=-0.3),
            white_balance=WhiteBalance(warmth=-0.95, tint=-0.2),
            halation=Halation(
                strength=3.0,
                threshold=0.42,
                softness=0.05,
                radius_um=160.0,
                colour=(1.0, 0.3, 0.06),
            ),
            matrix=Matrix(
                red=(1.04, -0.02, -0.02), green=(-0.02, 0.98, 0.04), blue=(-0.06, 0.12, 0.94)
            ),
            tone=Tone(
                contrast=(1.65, 1.5, 1.35), pivot=(0.66, 0.68, 0.74), black=(0.0, 0.04, 0.07)
            ),
            grain=Grain(strength=0.15, size_um=50.0, chroma=0.4),
            split_tone=SplitTone(shadows=(-0.12, 0.03, 0.07), highlights=(0.05, 0.0, -0.04)),
        ),
        "expired": Look(
            exposure=Exposure(stops=-0.15),
            white_balance=WhiteBalance(warmth=0.05, tint=0.4),
            vignette=Vignette(strength=0.4),
            light_leak=LightLeak(strength=0.8, reach=0.16),
            matrix=Matrix(
                red=(0.80, 0.16, 0.04), green=(0.14, 0.76, 0.10), blue=(0.10, 0.20, 0.70)
            ),
            tone=Tone(
                contrast=(1.3, 1.45, 1.3),
                pivot=(0.8, 0.7, 0.9),
                black=(0.09, 0.05, 0.14),
                white=(0.97, 0.95, 0.92),
            ),
            grain=Grain(strength=0.32, size_um=85.0, chroma=0.6),
            split_tone=SplitTone(shadows=(0.04, -0.04, 0.08), highlights=(0.02, 0.02, -0.04)),
            dust=Dust(specks=30.0, fibres=2.0),
            scratches=Scratches(count=2.0),
        ),
        "cyanotype": Look(
            vignette=Vignette(strength=0.2),
            matrix=Matrix(
                red=(0.20, 0.50, 0.30), green=(0.20, 0.50, 0.30), blue=(0.20, 0.50, 0.30)
            ),
            tone=Tone(
                contrast=(1.9, 1.3, 1.1),
                pivot=(0.72, 0.72, 0.62),
                black=(0.03, 0.10, 0.24),
                white=(0.96, 0.96, 0.92),
            ),
            grain=Grain(strength=0.16, size_um=95.0, chroma=0.0),
        ),
    }
)

DESCRIPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "sepia": "Silver turned to sulphide: brown mid-tones on cream paper",
        "faded-print": "A print that hung in the light: cyan dye gone, paper yellow, blacks brown",
        "slide": "Reversal film on a light table: deep blacks, clean saturated colour",
        "instant": "A print that develops in the hand: milky, cool shadows, cream highlights",
        "cross-process": "Slide film in negative chemistry: yellow-green lights, blue shadows",
        "noir": "Pushed black and white in hard light",
        "tungsten-cine": "Cinema negative without its backing: teal shadows, red halos",
        "expired": "A roll found in a drawer: fogged, magenta, coarse, leaking and dirty",
        "cyanotype": "Iron salts in the sun: Prussian blue on rag paper",
    }
)
"""What each look is like, for people."""


def look(name: str) -> Look:
    """Returns the look of that name.

    Raises:
        ValueError: for an unknown name; the message lists the known ones.
    """
    if name not in LOOKS:
        raise ValueError(f"unknown look {name!r}; the looks are {', '.join(LOOKS)}")
    return LOOKS[name]
