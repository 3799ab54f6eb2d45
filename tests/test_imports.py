"""The house's one direction of imports, read from the sources and, for what is loaded, from Python.

The tables are closed: a room or a library that is not in them fails, so that a new direction is
decided here and not by accident.
"""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import get_args

import pytest

from experiments.config import LookName, Loss
from retrojax.film import DESCRIPTIONS, LOOKS
from retrojax.losses import ADVERSARIAL_LOSSES

ROOT = Path(__file__).parents[1]
OWN = ("retrojax", "experiments", "benchmarks")

# Room -> the rooms it may import. "retrojax" alone is the version in retrojax/__init__.py.
FOUNDATIONS = {"retrojax.keys", "retrojax.noise", "retrojax.portion", "retrojax"}
GROUND = {
    "retrojax.models",
    "retrojax.losses",
    "retrojax.film",
    "retrojax.data",
    "retrojax.metrics",
}
MAY_IMPORT = {
    "retrojax": set(),
    "retrojax.portion": set(),
    "retrojax.noise": set(),
    "retrojax.keys": {"retrojax.portion", "retrojax.noise"},
    "retrojax.film": FOUNDATIONS,
    "retrojax.losses": FOUNDATIONS,
    "retrojax.models": {*FOUNDATIONS, "retrojax.film"},
    "retrojax.metrics": FOUNDATIONS,
    "retrojax.data": {*FOUNDATIONS, "retrojax.film"},
    "retrojax.tasks": {*FOUNDATIONS, *GROUND},
    "retrojax.training": {*FOUNDATIONS, *GROUND, "retrojax.tasks"},
    "retrojax.inference": {*FOUNDATIONS, "retrojax.models", "retrojax.film", "retrojax.data"},
    "retrojax.huge_pages": set(),
    "retrojax.cli": {*FOUNDATIONS, "retrojax.film", "retrojax.inference", "retrojax.data"}
    | {"retrojax.huge_pages"},
    "experiments": {*FOUNDATIONS, *GROUND}
    | {"retrojax.tasks", "retrojax.training", "retrojax.inference", "retrojax.huge_pages"},
    "benchmarks": {*FOUNDATIONS, *GROUND}
    | {"retrojax.tasks", "retrojax.training", "retrojax.inference", "retrojax.huge_pages"}
    | {"experiments"},
}

# Library -> the only files or folders that may import it.
ONLY_IN = {
    "flax": (
        *("retrojax/models/", "retrojax/tasks/", "retrojax/inference/"),
        *("experiments/build.py", "benchmarks/"),
    ),
    "apache_beam": ("retrojax/data/beam.py",),
    "grain": ("retrojax/data/",),
    "matplotlib": ("retrojax/training/curves.py", "experiments/", "benchmarks/cost_growth.py"),
    "optax": ("retrojax/training/", "experiments/build.py", "benchmarks/"),
    "orbax": ("retrojax/training/checkpoints.py",),
    "safetensors": ("retrojax/inference/bundle.py",),
    "skimage": ("retrojax/metrics/image.py", "retrojax/data/embedded.py", "experiments/"),
    "tensorboardX": ("retrojax/training/logging.py",),
    "tensorflow_datasets": ("retrojax/data/builder.py", "retrojax/data/tfds_source.py"),
    "torch": ("benchmarks/torch_",),
    "tyro": ("retrojax/cli.py", "experiments/run.py"),
}

# Distributions that are required for what they do beside being imported.
NOT_IMPORTED = {
    "array-record": "the files TFDS writes",
    "importlib-resources": "TFDS imports it undeclared",
}


def sources() -> list[Path]:
    """Every module of the three packages, relative to the root."""
    found = [path for name in OWN for path in (ROOT / name).rglob("*.py")]
    return sorted(path.relative_to(ROOT) for path in found)


def imports(path: Path) -> Iterator[str]:
    """Absolute names of the modules that a file imports, also inside its functions."""
    package = path.parent.parts
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            # `from retrojax import models` imports a module, though it names a package.
            yield from (f"{module}.{a.name}" for a in node.names if module in OWN)


def room(module: str) -> str:
    """The row of `MAY_IMPORT` that a module belongs to."""
    parts = module.split(".")
    name = ".".join(parts[:2]) if parts[0] == "retrojax" else parts[0]
    is_module = (ROOT / name.replace(".", "/")).is_dir() or (
        ROOT / f"{name.replace('.', '/')}.py"
    ).is_file()
    return name if is_module else parts[0]


def room_of(path: Path) -> str:
    """The row of `MAY_IMPORT` that a file belongs to."""
    return room(".".join(path.with_suffix("").parts))


@pytest.mark.parametrize("path", sources(), ids=str)
def test_rooms_import_in_one_direction(path):
    for module in imports(path):
        if module.split(".")[0] not in OWN or room(module) == room_of(path):
            continue
        assert room(module) in MAY_IMPORT[room_of(path)], f"{path} imports {module}"


def test_within_training_nothing_imports_the_loop():
    for path in sources():
        if path.parts[:2] == ("retrojax", "training"):
            assert "retrojax.training.loop" not in set(imports(path)), path


def test_libraries_stay_in_their_rooms():
    for path in sources():
        for library in {module.split(".")[0] for module in imports(path)} & set(ONLY_IN):
            assert path.as_posix().startswith(ONLY_IN[library]), f"{path} imports {library}"


def test_orbax_is_met_in_exactly_one_file():
    users = [p for p in sources() if any(m.split(".")[0] == "orbax" for m in imports(p))]
    assert users == [Path("retrojax/training/checkpoints.py")]


def test_every_imported_library_is_declared_and_every_declared_one_is_used():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = {requirement_name(text) for text in project["dependencies"]}
    extras = project["optional-dependencies"]
    named = (*extras["tensorboard"], *extras["bench"], *extras["beam"])
    optional = {requirement_name(text) for text in named}
    owners = metadata.packages_distributions()
    used = set()
    for path in sources():
        for module in imports(path):
            top = module.split(".")[0]
            if top not in OWN and top not in sys.stdlib_module_names:
                used |= {canonical(name) for name in owners.get(top, [top])}
    assert used <= required | optional, f"undeclared: {sorted(used - required - optional)}"
    assert required - used == set(NOT_IMPORTED), "a dependency that nothing imports"


def requirement_name(text: str) -> str:
    """The distribution's name in a requirement such as `jax>=0.10`."""
    end = next((i for i, c in enumerate(text) if not (c.isalnum() or c in "-_.")), len(text))
    return canonical(text[:end])


def canonical(name: str) -> str:
    """A distribution's name in its normal form."""
    return name.lower().replace("_", "-").replace(".", "-")


def loaded_after(statement: str) -> set[str]:
    """Top-level modules in a fresh Python after a statement."""
    code = f"{statement}\nimport sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_models_losses_and_film_load_no_heavy_library():
    loaded = loaded_after("import retrojax.models, retrojax.losses, retrojax.film")
    heavy = {"tensorflow_datasets", "tensorflow", "orbax", "grain", "tyro", "optax"}
    heavy |= {"skimage", "sklearn", "matplotlib", "PIL"}
    assert {"jax", "flax"} <= loaded
    assert not loaded & heavy


def test_configuration_loads_no_command_line_and_no_data():
    loaded = loaded_after("import experiments.config, experiments.presets")
    assert not loaded & {"tyro", "jax", "flax", "numpy", "grain", "orbax", "tensorflow_datasets"}


def test_the_benchmark_loads_neither_data_pipeline_nor_checkpoints_nor_command_line():
    loaded = loaded_after("import benchmarks.step_time")
    heavy = {"grain", "tensorflow_datasets", "array_record", "orbax", "tensorstore", "tyro"}
    heavy |= {"skimage", "sklearn", "matplotlib", "safetensors", "tensorboardX", "PIL"}
    assert not loaded & heavy


def test_choices_of_the_configuration_are_the_tables():
    assert get_args(Loss) == tuple(ADVERSARIAL_LOSSES)
    assert get_args(LookName) == tuple(LOOKS) == tuple(DESCRIPTIONS)


def test_no_file_is_a_drawer_for_everything():
    names = {path.stem for path in sources()}
    assert not names & {"utils", "util", "helpers", "misc", "common"}


def test_the_tree_in_contributing_is_the_tree():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    tree = text.partition("### The tree\n\n```\n")[2].partition("\n```")[0]
    written, folders = set(), []
    for line in tree.splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        folders = [*folders[:depth], name]
        if name.endswith(".py"):
            written.add("".join(folders))
    modules = {path.as_posix() for path in sources() if path.name != "__init__.py"}
    assert written == modules, f"differ: {sorted(written ^ modules)}"
