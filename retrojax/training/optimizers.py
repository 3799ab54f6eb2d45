"""Optimisers by name, from optax."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax.numpy as jnp
import optax
from jaxtyping import Array


def _adam(
    rate: float | optax.Schedule, b1: float, b2: float | optax.Schedule
) -> optax.GradientTransformation:
    if not callable(b2):
        return optax.adam(rate, b1=b1, b2=b2)
    return optax.inject_hyperparams(optax.adam)(learning_rate=rate, b1=b1, b2=b2)


_OPTIMIZERS: Mapping[str, Callable[..., optax.GradientTransformation]] = MappingProxyType(
    {
        "adam": _adam,
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


def epoch_schedule(
    learning_rate: float,
    *,
    steps_per_epoch: int,
    constant: int,
    decay: int,
    before_epoch: bool,
) -> optax.Schedule:
    """The schedule of CycleGAN's, pix2pix's and CUT's code: constant, then linear, by epochs.

    The factor is 1 - max(0, t + 1 - constant) / (decay + 1) with t the times that the schedule was
    stepped: e in the e-th epoch (from 1) where it is stepped before an epoch, e - 1 after one.

    Args:
        learning_rate: the rate at the start, above 0.
        steps_per_epoch: updates of an epoch, at least 1.
        constant: epochs before the decay.
        decay: epochs of the decay.
        before_epoch: True as pix2pix's and CycleGAN's code since July 2020, whose last epoch has
            rate 0; False as before, and as CUT's.

    Returns:
        An optax schedule.
    """

    def schedule(count: Array | int) -> Array:
        taken = jnp.asarray(count) // steps_per_epoch + before_epoch
        return learning_rate * (1.0 - jnp.maximum(0, taken + 1 - constant) / (decay + 1))

    return schedule


def make_optimizer(
    name: str,
    learning_rate: float | optax.Schedule,
    *,
    b1: float = 0.5,
    b2: float | optax.Schedule = 0.999,
) -> optax.GradientTransformation:
    """Builds one player's optimiser.

    Args:
        name: "adam" (Kingma and Ba 2015, epsilon 1e-8) or "sgd" (no momentum).
        learning_rate: a rate or a schedule.
        b1: Adam's first decay; 0.5 is usual for GANs (Radford et al. 2016). SGD ignores it.
        b2: Adam's second decay, a number or a schedule (R3GAN). SGD ignores it.

    Raises:
        ValueError: for an unknown name; the message lists the known ones.
    """
    if name not in _OPTIMIZERS:
        raise ValueError(f"unknown optimizer {name!r}; choose one of {', '.join(_OPTIMIZERS)}")
    return _OPTIMIZERS[name](learning_rate, b1, b2)
