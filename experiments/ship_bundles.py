"""Trains the looks that come with the package: `python -m experiments.ship_bundles`.

One main job per look (finished runs in runs/ are taken as they are); each run's model/ folder is
copied to retrojax/inference/bundles/LOOK.
"""

import argparse
import shutil
from pathlib import Path

from experiments.run import main as run

LOOKS = ("faded-print", "cross-process", "tungsten-cine", "sepia", "instant")
BUNDLES = Path(__file__).parents[1] / "retrojax" / "inference" / "bundles"


def main() -> None:
    """Parses the command line, trains and copies."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--looks", nargs="+", choices=LOOKS, default=LOOKS)
    for look in parser.parse_args().looks:
        folder = Path("runs") / f"bundle-{look}"
        code = run([f"--look={look}", f"--run-dir={folder}"])
        if code:
            raise SystemExit(code)
        target = BUNDLES / look
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(folder / "model", target)
        print(f"shipped {target}: {sum(f.stat().st_size for f in target.iterdir())} bytes")


if __name__ == "__main__":
    main()
