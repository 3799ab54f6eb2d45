"""Trains the looks that come with the package: `python -m experiments.ship_bundles`.

One main job per look, in its own folder (a finished run is taken as it is); each run's model/
folder is copied to retrojax/inference/bundles/LOOK.
"""

import argparse
import shutil
from pathlib import Path

from experiments.config import LookConfig, LookName
from experiments.run import main as run

LOOKS: tuple[LookName, ...] = ("faded-print", "cross-process", "tungsten-cine")
BUNDLES = Path(__file__).parents[1] / "retrojax" / "inference" / "bundles"


def main() -> None:
    """Parses the command line, trains and copies."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--looks", nargs="+", choices=LOOKS, default=LOOKS)
    for look in parser.parse_args().looks:
        code = run([f"--look={look}"])
        if code:
            raise SystemExit(code)
        folder = LookConfig(look=look).folder
        target = BUNDLES / look
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(folder / "model", target)
        print(f"shipped {target}: {sum(f.stat().st_size for f in target.iterdir())} bytes")


if __name__ == "__main__":
    main()
