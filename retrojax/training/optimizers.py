"""Optimisers by name, from optax."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import optax

_OPTIMIZERS: Mapping[str, Callable[..., optax.GradientTransformation]] = MappingProxyType(
    {
        "adam": lambda rate, b1, b2: optax.adam(rate, b1=b1, b2=b2),
        "sgd": lambda rate, b1, b2: optax.sgd(rate),
    }
)


def make_schedule(
    name: str, learning_rate: float, *, steps: int, constant_share: float = 0.5
) -> optax.Schedule:
    """Learning rate as a function of the number of completed updates.

    Args:
        name: "constant"; "linear" or "cosine": constant for the first `constant_share` of the
            steps, then down to 0 at the last.
        learning_rate: the rate at the start, above 0.
        steps: length of the run in updates.
        constant_share: in [0, 1).

    Returns:
        An optax schedule.

    Raises:
        ValueError: for an unknown name.
    """
    start = int(steps * constant_share)
    rest = max(steps - start, 1)
    constant = optax.constant_schedule(learning_rate)
    if name == "constant":
        return constant
    if name == "linear":
        decay = optax.linear_schedule(learning_rate, 0.0, rest)
    elif name == "cosine":
        decay = optax.cosine_decay_schedule(learning_rate, rest)
    else:
        raise ValueError(f"unknown schedule {name!r}; choose one of constant, linear, cosine")
    return optax.join_schedules([constant, decay], [start])


def make_optimizer(
    name: str, learning_rate: float | optax.Schedule, *, b1: float = 0.5, b2: float = 0.999
) -> optax.GradientTransformation:
    """Builds one player's optimiser.

    Args:
        name: "adam" (Kingma and Ba 2015, epsilon 1e-8) or "sgd" (no momentum).
        learning_rate: a rate or a schedule.
        b1: Adam's first decay; 0.5 is usual for GANs (Radford et al. 2016). SGD ignores it.
        b2: Adam's second decay. SGD ignores it.

    Raises:
        ValueError: for an unknown name; the message lists the known ones.
    """
    if name not in _OPTIMIZERS:
        raise ValueError(f"unknown optimizer {name!r}; choose one of {', '.join(_OPTIMIZERS)}")
    return _OPTIMIZERS[name](learning_rate, b1, b2)
