"""Trains a preset: `python -m experiments.run --loss=lsgan`; the same command resumes it."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import tyro

from experiments.config import AnyConfig, GenerationConfig, TranslationConfig
from experiments.presets import PRESETS, preset
from retrojax import huge_pages

if TYPE_CHECKING:
    from experiments.generation_run import GenerationRun
    from experiments.look_run import LookRun
    from experiments.translation_run import TranslationRun


def parse(arguments: Sequence[str]) -> AnyConfig:
    """Parses flat flags over the defaults of `--preset`.

    Raises:
        SystemExit: with code 2 for an unknown flag or value, 0 after `--help`.
        ValueError: for values that do not go together.
    """
    chosen = "look"
    for index, argument in enumerate(arguments):
        if argument.startswith("--preset="):
            chosen = argument.split("=", 1)[1]
        elif argument == "--preset" and index + 1 < len(arguments):
            chosen = arguments[index + 1]
    from retrojax.losses import ADVERSARIAL_LOSSES

    formulas = "\n\n".join(f"{name}: {loss.formula}" for name, loss in ADVERSARIAL_LOSSES.items())
    default = preset(chosen)
    return tyro.cli(
        type(default),
        default=default,
        args=list(arguments),
        prog="python -m experiments.run",
        description=f"Trains a GAN. Presets: {', '.join(PRESETS)}; each kind of run has its own "
        f"flags, shown by --preset=NAME --help.\n\n"
        f"Losses (r = real logit, f = fake logit, both minimised):\n\n{formulas}",
    )


def open_run(config: AnyConfig) -> "LookRun | GenerationRun | TranslationRun":
    """Checks a run's input and opens its folder; nothing is compiled."""
    if isinstance(config, GenerationConfig):
        from experiments.generation_run import open_generation_run

        return open_generation_run(config)
    if isinstance(config, TranslationConfig):
        from experiments.translation_run import open_translation_run

        return open_translation_run(config)
    from experiments.look_run import open_look_run

    return open_look_run(config)


def _refuse_remat_in_vain() -> None:
    """Raises a ValueError where `--remat` would cost time and save nothing."""
    import jax

    from retrojax.models.stages import remat_saves_memory

    if not remat_saves_memory():
        raise ValueError(
            f"--remat saves no memory on CPU with jax {jax.__version__}, whose compiler merges "
            "what is computed twice; use --accumulate=K, or jax 0.12 (Python 3.12)"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code.

    0 done, 1 failed while running, 2 bad input (before anything is compiled), 130 or 143 stopped
    by a signal with the state saved.
    """
    try:
        config = parse(sys.argv[1:] if arguments is None else arguments)
        # The stack is loaded after parsing, so that --help and a wrong flag answer at once.
        print("loading JAX and the photographs ...", flush=True)
        huge_pages.keep_what_is_large()
        from retrojax.training.processes import await_verdict, in_turn, join, wait_for_all

        if config.distributed or config.coordinator:
            join(config.coordinator, config.num_processes, config.process_id)
        if config.remat:
            _refuse_remat_in_vain()
        if config.compilation_cache:
            from retrojax.training.compilation_cache import keep_compiled_programs

            kept = keep_compiled_programs(config.compilation_cache)
            print(f"compiled programs are kept in {kept}", flush=True)
        run = in_turn(lambda: open_run(config))
    except ValueError as error:
        print(f"experiments.run: error: {error}", file=sys.stderr)
        return 2

    import jax

    from retrojax.training.checkpoints import CheckpointError
    from retrojax.training.stopping import Stopped

    try:
        run.finish()
        wait_for_all("the end of the run")
    except (CheckpointError, FloatingPointError, OSError) as error:
        print(f"experiments.run: error: {error}", file=sys.stderr)
        return 1
    except Stopped as stopped:
        print(f"experiments.run: {stopped}", file=sys.stderr)
        return stopped.exit_code
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1:
            raise
        print(
            f"experiments.run: error: process {jax.process_index()} of {jax.process_count()} lost "
            f"the others ({str(error).partition(chr(10))[0][:200]}); run the same command again in "
            "all processes to go on at the last checkpoint",
            file=sys.stderr,
            flush=True,
        )
        await_verdict()
        return 1
    return 0


if __name__ == "__main__":
    huge_pages.start_again_with_them()
    sys.exit(main())
