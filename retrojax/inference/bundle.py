"""A trained network as two files: `model.safetensors` (weights) and `model.json` (all else).

Contract: a bundle needs no flags to load. `model.json` holds

    format      1
    generator   {"name": a name in `retrojax.models.GENERATORS`, `LATENT_GENERATORS` or
                `DISCRIMINATORS` (an imported one), "options": its module fields}
    about       what it was trained for: look, loss, steps, pixels_per_mm, ...
    sha256      of model.safetensors, so that a damaged weight is an error and never a wrong picture
    versions    of retrojax and jax that wrote it

and `model.safetensors` holds float32 arrays under the keys "params/Conv_0/kernel" and so on, one
for each leaf of the variables. Nothing is executed on loading (no pickle); whatever is wrong with
a bundle is a `ValueError` of one line that names the file and the way out. Both files are written
to a temporary name and renamed; a save that is killed between the two leaves a bundle that is
refused, never one that mixes two saves.
"""

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError

import retrojax
from retrojax.inference.shapes import input_channels, variable_shapes
from retrojax.models import DISCRIMINATORS, GENERATORS, LATENT_GENERATORS

FORMAT = 1
WEIGHTS_FILE = "model.safetensors"
DESCRIPTION_FILE = "model.json"
SHIPPED_FOLDER = Path(__file__).parent / "bundles"
_KNOWN = MappingProxyType({**GENERATORS, **LATENT_GENERATORS, **DISCRIMINATORS})
# A photograph of 24x36 mm with a long side of 512 pixels, the default of training.
DEFAULT_PIXELS_PER_MM = 512 / 36


@dataclass(frozen=True, eq=False)
class Bundle:
    """A network ready for `module.apply(variables, ...)`, and what is known about it.

    Attributes:
        module: the Linen module, built from the options in model.json.
        variables: {"params": ..., **collections}, float32.
        about: look, loss, steps, pixels_per_mm and so on; JSON values.
    """

    module: nn.Module
    variables: Mapping[str, Any]
    about: Mapping[str, Any]

    @property
    def pixels_per_mm(self) -> float:
        """Scale of the training photographs, pixels per millimetre of a 24x36 mm frame."""
        return float(self.about.get("pixels_per_mm", DEFAULT_PIXELS_PER_MM))


def shipped_bundles() -> Mapping[str, Path]:
    """Name -> folder of the bundles that come with the package, by name."""
    described = sorted(SHIPPED_FOLDER.glob(f"*/{DESCRIPTION_FILE}"))
    return MappingProxyType({path.parent.name: path.parent for path in described})


def save_bundle(
    folder: str | Path,
    *,
    variables: Mapping[str, Any],
    generator_name: str,
    generator_options: Mapping[str, Any],
    about: Mapping[str, Any],
) -> Path:
    """Write a bundle into `folder` (made if missing); an older bundle there is replaced.

    Args:
        folder: where the two files go.
        variables: {"params": ..., **collections}; floating leaves are stored as float32.
        generator_name: a name in `retrojax.models.GENERATORS`, `LATENT_GENERATORS` or
            `DISCRIMINATORS`.
        generator_options: the module's fields, JSON values only (no dtype: a bundle is float32).
        about: what to keep with the weights, JSON values only.

    Returns:
        The folder.

    Raises:
        ValueError: unknown generator name, or options or about that JSON cannot hold.
    """
    folder = Path(folder)
    _build_module(generator_name, generator_options, where=folder)
    flat = flatten_dict(dict(variables), sep="/")
    weights = safetensors.numpy.save({name: _stored(leaf) for name, leaf in flat.items()})
    description = {
        "format": FORMAT,
        "generator": {"name": generator_name, "options": dict(generator_options)},
        "about": dict(about),
        "sha256": hashlib.sha256(weights).hexdigest(),
        "versions": {"retrojax": retrojax.__version__, "jax": jax.__version__},
    }
    try:
        text = json.dumps(description, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{folder}: generator_options and about must be JSON values ({error}); "
            "give numbers, strings, lists and dicts"
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / WEIGHTS_FILE, weights)
    replace_file(folder / DESCRIPTION_FILE, text.encode() + b"\n")
    return folder


def load_bundle(where: str | Path) -> Bundle:
    """Load a bundle from a folder, or a shipped one by its name.

    Args:
        where: a folder, or a name in `shipped_bundles()`. A shipped name wins over a folder of
            the same name in the working directory; write "./name" or a `Path` for the folder.

    Returns:
        The bundle; its variables have exactly the names and shapes the module asks for.

    Raises:
        ValueError: no such bundle (lists the shipped names), or a file of it is missing, damaged
            or does not fit the other.
    """
    folder = find_bundle(where)
    description = read_description(folder)
    weights = _read(folder / WEIGHTS_FILE)
    if hashlib.sha256(weights).hexdigest() != description["sha256"]:
        raise ValueError(
            f"{folder / WEIGHTS_FILE}: SHA-256 differs from the one in {DESCRIPTION_FILE}: the "
            "file is damaged or belongs to another model; copy both files again or train again"
        )
    try:
        flat = safetensors.numpy.load(weights)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ValueError(
            f"{folder / WEIGHTS_FILE}: not a safetensors file of arrays ({error}); "
            "copy the bundle again or train again"
        ) from error
    module = _build_module(
        description["generator"]["name"], description["generator"]["options"], where=folder
    )
    variables = unflatten_dict(flat, sep="/")
    _check_fit(module, flat, folder)
    return Bundle(module, jax.tree.map(jnp.asarray, variables), description["about"])


def unpack_safetensors(content: bytes) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Any safetensors file: name -> (type as it is called there, shape, little-endian values).

    Raises:
        ValueError: it is none, or damaged; the text is the reason alone.
    """
    try:
        views = safetensors.deserialize(content)
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"not a whole safetensors file ({_first_line(error)})") from error
    return {
        name: (view["dtype"], tuple(view["shape"]), bytes(view["data"])) for name, view in views
    }


def pack_safetensors(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The content of a safetensors file."""
    return safetensors.numpy.save({key: np.asarray(x, order="C") for key, x in arrays.items()})


def find_bundle(where: str | Path) -> Path:
    """Folder of the bundle called `where`; see `load_bundle` for the rule.

    Raises:
        ValueError: it is neither a shipped look nor a folder; the message lists the looks.
    """
    shipped = shipped_bundles()
    if isinstance(where, str) and where in shipped:
        return shipped[where]
    if Path(where).is_dir():
        return Path(where)
    raise ValueError(
        f"no model {str(where)!r}: it is neither a folder nor a shipped look; "
        f"give a run's model/ folder or one of: {', '.join(shipped) or '(none shipped)'}"
    )


def read_description(folder: Path) -> dict[str, Any]:
    """Read and check model.json of the bundle in `folder`.

    Raises:
        ValueError: the file is missing, is no JSON, or lacks or mistypes a field.
    """
    path = folder / DESCRIPTION_FILE
    try:
        description = json.loads(_read(path))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON ({error}); copy the bundle again") from error
    if not isinstance(description, dict):
        raise ValueError(f"{path}: must hold a JSON object; copy the bundle again")
    if description.get("format") != FORMAT:
        raise ValueError(
            f"{path}: format {description.get('format')!r}, this retrojax reads {FORMAT}; "
            "load it with the retrojax that wrote it, or update"
        )
    generator = description.get("generator")
    about = description.get("about")
    fields = {
        "generator.name": isinstance(generator, dict) and isinstance(generator.get("name"), str),
        "generator.options": (
            isinstance(generator, dict) and isinstance(generator.get("options"), dict)
        ),
        "about": isinstance(about, dict),
        "about.pixels_per_mm": isinstance(about, dict) and _is_scale(about.get("pixels_per_mm", 1)),
        "sha256": isinstance(description.get("sha256"), str),
    }
    wrong = [name for name, valid in fields.items() if not valid]
    if wrong:
        raise ValueError(f"{path}: {', '.join(wrong)} missing or wrong; copy the bundle again")
    return description


def _build_module(name: str, options: Mapping[str, Any], *, where: Path) -> nn.Module:
    if name not in _KNOWN:
        raise ValueError(f"{where}: unknown generator {name!r}; known: {', '.join(_KNOWN)}")
    try:
        return _KNOWN[name](**{key: _frozen(value) for key, value in options.items()})
    except TypeError as error:
        raise ValueError(
            f"{where}: wrong options for generator {name!r} ({_first_line(error)})"
        ) from error


def _check_fit(module: nn.Module, flat: Mapping[str, np.ndarray], folder: Path) -> None:
    """The weights must be the tree the module would make: same names, shapes, dtypes."""
    try:
        wanted = variable_shapes(module, channels=input_channels(module, flat))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{folder / DESCRIPTION_FILE}: the generator cannot be built from its options "
            f"({_first_line(error)}); copy the bundle again"
        ) from error
    expected = {key: (leaf.shape, str(leaf.dtype)) for key, leaf in wanted.items()}
    found = {key: (leaf.shape, str(leaf.dtype)) for key, leaf in flat.items()}
    if expected != found:
        differing = sorted(key for key in expected | found if expected.get(key) != found.get(key))
        first = differing[0]
        raise ValueError(
            f"{folder / WEIGHTS_FILE}: {len(differing)} arrays do not fit the generator of "
            f"{DESCRIPTION_FILE}, first {first}: file {found.get(first)}, generator "
            f"{expected.get(first)}; the two files belong to different models"
        )
    broken = [key for key, leaf in flat.items() if not np.isfinite(leaf).all()]
    if broken:
        raise ValueError(
            f"{folder / WEIGHTS_FILE}: {broken[0]} holds NaN or infinity: training diverged; "
            "use an earlier checkpoint or train again"
        )


def _stored(leaf: Any) -> np.ndarray:
    array = np.asarray(leaf)
    # bfloat16 counts as floating for jax but not for numpy.
    wide = array.astype(np.float32) if jnp.issubdtype(array.dtype, jnp.floating) else array
    return np.ascontiguousarray(wide)


def _frozen(value: Any) -> Any:
    """JSON lists as tuples: a module must be hashable to be a static argument of jit."""
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _is_scale(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value > 0


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or error
        raise ValueError(
            f"{path}: cannot be read ({reason}); a bundle is a folder with {WEIGHTS_FILE} and "
            f"{DESCRIPTION_FILE}"
        ) from error


def replace_file(path: Path, content: bytes) -> None:
    """Write a file under a temporary name and rename it: under its own name it is always whole.

    Raises:
        OSError: the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
