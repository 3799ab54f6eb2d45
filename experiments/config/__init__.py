"""The configuration of a run: frozen, complete, flat dataclasses; validated when built.

`RunConfig` is what every run has; one subclass for each kind of run adds the rest.
"""

from experiments.config.base import MAY_CHANGE, LookName, Loss, RunConfig, as_dict, flag
from experiments.config.generation import GenerationConfig
from experiments.config.look import LookConfig
from experiments.config.translation import TranslationConfig

AnyConfig = LookConfig | GenerationConfig | TranslationConfig

__all__ = [
    "MAY_CHANGE",
    "AnyConfig",
    "GenerationConfig",
    "LookConfig",
    "LookName",
    "Loss",
    "RunConfig",
    "TranslationConfig",
    "as_dict",
    "flag",
]
