"""Trains a look: `python -m experiments.run --loss=lsgan`; the same command resumes it."""

import sys
from collections.abc import Sequence

import tyro

from experiments.config import Config
from experiments.presets import PRESETS, preset


def parse(arguments: Sequence[str]) -> Config:
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
    return tyro.cli(
        Config,
        default=preset(chosen),
        args=list(arguments),
        prog="python -m experiments.run",
        description=f"Trains a look on photographs. Presets: {', '.join(PRESETS)}.\n\n"
        f"Losses (r = real logit, f = fake logit, both minimised):\n\n{formulas}",
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
        from experiments.look_run import open_look_run

        run = open_look_run(config)
    except ValueError as error:
        print(f"experiments.run: error: {error}", file=sys.stderr)
        return 2

    from retrojax.training.checkpoints import CheckpointError
    from retrojax.training.stopping import Stopped

    try:
        run.finish()
    except (CheckpointError, FloatingPointError, OSError) as error:
        print(f"experiments.run: error: {error}", file=sys.stderr)
        return 1
    except Stopped as stopped:
        print(f"experiments.run: {stopped}", file=sys.stderr)
        return stopped.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
