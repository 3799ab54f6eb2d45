"""The parameters of a look: one frozen pytree, each part of it on or off.

A `Look` holds one small dataclass per stage of `retrojax.film.render`, or None where the stage is
off. Which stages are on is structure (static under `jax.jit`); every number is a leaf, so a look
can be differentiated, averaged, batched or passed as an argument of a compiled function. A triple
is (red, green, blue), a tuple of floats or an array of shape [3]. The parts check nothing when
built, since their leaves may be tracers: the range in which a number makes sense stands beside it.

Lengths are micrometres on a film frame of 24 x 36 mm, so a look means the same at any resolution.
"""

import dataclasses
from typing import Any

import jax

# Tree transformations put floats, tracers and shapes in the place of a leaf: no narrower type fits.
Scalar = Any
Rgb = Any

POSITIONED = ("vignette", "light_leak", "dust", "scratches")
"""The stages that need the place in the frame and so cannot be learned from crops."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Exposure:
    """Gain in linear light."""

    stops: Scalar = 0.0  # +1 doubles the light; -3 to 3.


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class WhiteBalance:
    """Gains of the channels in linear light, in stops; green and luminance drift little."""

    warmth: Scalar = 0.0  # Red over blue: red gains half of it, blue loses half; -2 to 2.
    tint: Scalar = 0.0  # Magenta over green: green loses half of it, the others gain a quarter.


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Matrix:
    """Linear mixing of the channels, on encoded values: out = (red, green, blue) @ in.

    Rows that sum to 1 keep greys grey.
    """

    red: Rgb = (1.0, 0.0, 0.0)  # Weights of the input channels in the red of the output.
    green: Rgb = (0.0, 1.0, 0.0)
    blue: Rgb = (0.0, 0.0, 1.0)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Tone:
    """Characteristic curve of each layer, a logistic function of the logarithm of the input.

    See `retrojax.film.tone.tone_curve`.
    """

    contrast: Rgb = (1.5, 1.5, 1.5)  # Exponent of the toe; over 1 bends an S; 0.5 to 4.
    pivot: Rgb = (0.6, 0.6, 0.6)  # Where toe meets shoulder, encoded; small = early shoulder.
    black: Rgb = (0.0, 0.0, 0.0)  # Encoded output of input 0.
    white: Rgb = (1.0, 1.0, 1.0)  # Encoded output of input 1.


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SplitTone:
    """Tints added to shadows and highlights, on encoded values; their luma is taken out."""

    shadows: Rgb = (0.0, 0.0, 0.0)  # Added with weight (1 - luma)^2; -0.3 to 0.3.
    highlights: Rgb = (0.0, 0.0, 0.0)  # Added with weight luma^2; -0.3 to 0.3.


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Fade:
    """Ageing of a print: dyes lose density, paper yellows."""

    loss: Rgb = (0.2, 0.2, 0.2)  # Fraction of each channel's density that is gone; 0 to 1.
    paper: Rgb = (1.0, 1.0, 1.0)  # Encoded colour of the bare paper.


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Halation:
    """Light that crosses the emulsion and comes back from the base, in linear light."""

    strength: Scalar = 0.5  # Scattered light over the highlights' excess; 0 to 2.
    threshold: Scalar = 0.6  # Linear luminance above which light scatters; 0 to 1.
    softness: Scalar = 0.08  # Width of the threshold, linear luminance; over 0.
    radius_um: Scalar = 100.0  # Standard deviation of the first lobe; up to 500.
    colour: Rgb = (1.0, 0.35, 0.1)  # What the layers let through in one passage.


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Grain:
    """Fluctuation of density, of a fixed spectrum on the film. See `retrojax.film.grain`."""

    strength: Scalar = 0.05  # rms density at D = 1 behind a 48 um aperture (Selwyn's limit).
    size_um: Scalar = 50.0  # Full width at half maximum of one clump.
    chroma: Scalar = 0.3  # 0: one pattern for all layers; 1: each layer its own.
    density_power: Scalar = 0.5  # Growth of the rms with density; 0.5 is random grains.


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Vignette:
    """Fall-off of the lens, in linear light."""

    strength: Scalar = 0.4  # (Half diagonal over focal length)^2 in the cos^4 law; 0 to 1.5.


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LightLeak:
    """Stray light through one edge of the camera, added in linear light."""

    strength: Scalar = 0.6  # Linear light at the edge.
    reach: Scalar = 0.12  # How far red comes in, as a fraction of the long side.
    colour: Rgb = (1.0, 0.35, 0.08)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Dust:
    """Specks and fibres on the film or the print."""

    specks: Scalar = 20.0  # Expected number in the frame; up to 64.
    fibres: Scalar = 1.0  # Number in the frame; up to 4.
    size_um: Scalar = 90.0  # Median radius of a speck.
    opacity: Scalar = 0.7  # 0 to 1.
    shade: Rgb = (0.95, 0.93, 0.88)  # White: dust on a negative; black: dust on a slide.


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Scratches:
    """Thin lines along the long side, the way the film runs through the camera."""

    count: Scalar = 2.0  # Number in the frame; up to 8.
    width_um: Scalar = 40.0  # Standard deviation of the profile.
    opacity: Scalar = 0.5  # 0 to 1.
    shade: Rgb = (0.95, 0.95, 0.9)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Look:
    """All parameters of the film renderer. `Look()` changes nothing; None is off and free."""

    exposure: Exposure | None = None
    white_balance: WhiteBalance | None = None
    vignette: Vignette | None = None
    light_leak: LightLeak | None = None
    halation: Halation | None = None
    matrix: Matrix | None = None
    tone: Tone | None = None
    grain: Grain | None = None
    split_tone: SplitTone | None = None
    fade: Fade | None = None
    dust: Dust | None = None
    scratches: Scratches | None = None

    def without(self, *names: str) -> "Look":
        """Returns this look with the named stages off.

        Raises:
            ValueError: for a name that is no stage of a look.
        """
        known = tuple(field.name for field in dataclasses.fields(self))
        for name in names:
            if name not in known:
                raise ValueError(
                    f"{name!r} is not a stage of a look; the stages are {', '.join(known)}"
                )
        return dataclasses.replace(self, **dict.fromkeys(names))
