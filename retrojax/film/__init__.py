"""What "retro" means, as differentiable pure functions.

`render(key, image, look)` renders a photograph in [0, 1] on film; `Look` is the pytree of its
parameters, `LOOKS` the closed table of named ones. `retrojax.film.lut` holds 3-D lookup tables.
"""

from retrojax.film.look import POSITIONED, Look
from retrojax.film.looks import DESCRIPTIONS, LOOKS, look
from retrojax.film.render import render

__all__ = ["DESCRIPTIONS", "LOOKS", "POSITIONED", "Look", "look", "render"]
