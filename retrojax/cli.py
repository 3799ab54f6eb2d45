"""The command `retrojax`: a trained model on files and folders.

Contract: exit 0 = all done; 1 = nothing could be done; 2 = wrong arguments, found before anything
is compiled, one line on stderr; 3 = done, but for the files that are named. JAX is imported after
the arguments are parsed, so that `--help` and mistakes answer at once.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from retrojax import huge_pages

if TYPE_CHECKING:
    from retrojax.inference.bundle import Bundle
    from retrojax.inference.jobs import Job

_OK, _FAILED, _USAGE, _REJECTS = 0, 1, 2, 3


@dataclasses.dataclass(frozen=True)
class Stylize:
    """Give photographs a retro look. The result has the photograph's size; metadata is removed."""

    inputs: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(name="input", metavar="INPUT...")
    ]
    """Photographs, and folders of photographs (with their subfolders)."""
    model: str = "faded-print"
    """A shipped look (see `retrojax looks`), or the model/ folder of a run."""
    output: Path = Path("stylized")
    """Folder for the results: JPEG for JPEG, else PNG. Inputs are never overwritten."""
    seed: int = 0
    """Another number gives other grain; the same number gives the same file again."""
    strength: float = 1.0
    """From 0 (the photograph) to 1 (the full look)."""
    shard: str = "1/1"
    """I/N: do the I-th of N equal parts, from 1/N to N/N; N machines share a folder so."""


@dataclasses.dataclass(frozen=True)
class Generate:
    """Make images from noise, with the model of a noise-to-image run."""

    model: str
    """The model/ folder of a run."""
    count: int = 16
    """How many."""
    output: Path = Path("generated")
    """Folder for the PNG files."""
    seed: int = 0
    """Another number gives other images; the same number gives the same ones again."""


@dataclasses.dataclass(frozen=True)
class ImportTorch:
    """Turn weights of CycleGAN, pix2pix or CUT in PyTorch into a model for `retrojax stylize`."""

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """latest_net_G.pth or the like, or .safetensors; nothing in it is executed."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder for the model; an older model there is replaced."""
    architecture: Literal["resnet", "unet", "patchgan", "pixelgan"] | None = None
    """Refuse any other; without it, whichever the keys show."""
    norm: Literal["instance", "batch", "none"] | None = None
    """Only for files whose convolutions have no bias and whose norm has no weights."""
    dropout: Literal["yes", "no"] | None = None
    """Whether a U-Net was trained with dropout, which its keys do not show; without it, yes."""
    noise_channels: int = 0
    """How many of the generator's input channels are noise."""


@dataclasses.dataclass(frozen=True)
class ExportTorch:
    """Write a ResNet, a U-Net or a PatchGAN as a state dictionary for PyTorch's originals."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """The model/ folder of a run, or of import-torch."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The file: .pth (PyTorch 1.6 or newer) or .safetensors; an older file there is replaced."""


@dataclasses.dataclass(frozen=True)
class Prepare:
    """Decode and shrink the photographs of a run once, before it starts."""

    data: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")]
    """What the run's --data will say: folder:PATH, pairs:SOURCE,TARGET, tfds:NAME ..."""
    photo_size: int = 512
    """What its --photo-size will say: the longest side in pixels."""
    beam: bool = False
    """Prepare by an Apache Beam pipeline (extra: beam), for folders of any size."""
    beam_options: str = ""
    """Options of Apache Beam with commas between: runner=FlinkRunner,flink_master=HOST:PORT."""


@dataclasses.dataclass(frozen=True)
class Looks:
    """List the looks that come with retrojax."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        argv: arguments after the program's name; None = those of the process.

    Returns:
        The exit code; see the module's docstring.
    """
    command = tyro.cli(
        Annotated[Stylize, tyro.conf.subcommand("stylize")]
        | Annotated[Generate, tyro.conf.subcommand("generate")]
        | Annotated[ImportTorch, tyro.conf.subcommand("import-torch")]
        | Annotated[ExportTorch, tyro.conf.subcommand("export-torch")]
        | Annotated[Prepare, tyro.conf.subcommand("prepare")]
        | Annotated[Looks, tyro.conf.subcommand("looks")],
        prog="retrojax",
        description="GANs that give photographs a retro look.",
        args=argv,
    )
    try:
        match command:
            case Looks():
                return _list_looks()
            case Generate():
                return _generate(command)
            case ImportTorch():
                return _import_torch(command)
            case ExportTorch():
                return _export_torch(command)
            case Prepare():
                return _prepare(command)
            case _:
                if argv is None:
                    huge_pages.start_again_with_them()
                return _stylize(command)
    except ValueError as error:
        print(f"retrojax: error: {error}", file=sys.stderr)
        return _USAGE


def _list_looks() -> int:
    from retrojax.film import DESCRIPTIONS
    from retrojax.inference.bundle import read_description, shipped_bundles

    for name, folder in shipped_bundles().items():
        print(f"{name:16} {DESCRIPTIONS[read_description(folder)['about']['look']]}")
    return _OK


def _stylize(options: Stylize) -> int:
    from retrojax.inference.jobs import make_writable, parse_shard, plan_jobs, shard_of

    if not options.inputs:
        raise ValueError("give at least one photograph or folder")
    part, parts = parse_shard(options.shard)
    # Names are given before the parts are dealt out, so that no two parts write one file.
    jobs = shard_of(plan_jobs(options.inputs, options.output), part, parts)

    from retrojax.inference.bundle import load_bundle
    from retrojax.inference.geometry import geometry
    from retrojax.inference.stylize import check_options

    check_options(seed=options.seed, strength=options.strength)
    bundle = load_bundle(options.model)
    geometry(bundle.module)  # Refuses a model that is not for photographs.
    make_writable(options.output)
    rejected = _run(jobs, bundle, options)
    done = len(jobs) - rejected
    share = "" if parts == 1 else f" (part {options.shard})"
    print(f"{done} of {len(jobs)}{share} done with {options.model}, written to {options.output}")
    if rejected:
        return _REJECTS if done else _FAILED
    return _OK


def _generate(options: Generate) -> int:
    from retrojax.inference.bundle import load_bundle
    from retrojax.inference.generate import generate
    from retrojax.inference.jobs import make_writable
    from retrojax.inference.photo import Picture, encode

    bundle = load_bundle(options.model)
    make_writable(options.output)
    images = generate(bundle, count=options.count, seed=options.seed)
    for index, image in enumerate(images):
        encode(options.output / f"{options.seed}-{index:04d}.png", Picture(image, None))
    print(f"{len(images)} images of {options.model}, written to {options.output}")
    return _OK


def _import_torch(options: ImportTorch) -> int:
    from retrojax.inference.bundle import save_bundle
    from retrojax.inference.jobs import make_writable
    from retrojax.inference.torch_file import read_state
    from retrojax.inference.torch_layout import from_torch

    state = read_state(options.file)
    try:
        found = from_torch(
            state,
            architecture=options.architecture,
            norm=options.norm,
            dropout=None if options.dropout is None else options.dropout == "yes",
            noise_channels=options.noise_channels,
        )
    except ValueError as error:
        raise ValueError(f"{options.file}: {error}") from error
    make_writable(options.output)
    save_bundle(
        options.output,
        variables=found.variables,
        generator_name=found.name,
        generator_options=found.options,
        about={"imported_from": options.file.name},
    )
    fields = ", ".join(f"{key}={value}" for key, value in found.options.items())
    print(f"{found.name} ({fields})")
    use = (
        "it judges photographs and changes none"
        if found.judges
        else f"use it with: retrojax stylize PHOTO --model {options.output}"
    )
    print(f"written to {options.output}; {use}")
    return _OK


def _export_torch(options: ExportTorch) -> int:
    from retrojax.inference.torch_file import check_suffix, write_state

    check_suffix(options.output)

    from retrojax.inference.bundle import load_bundle
    from retrojax.inference.torch_layout import to_torch

    bundle = load_bundle(options.model)
    state = to_torch(bundle.module, bundle.variables)
    write_state(options.output, state)
    print(f"{len(state)} tensors of a {type(bundle.module).__name__}, written to {options.output}")
    return _OK


def _prepare(options: Prepare) -> int:
    if options.beam_options and not options.beam:
        raise ValueError(f"--beam-options={options.beam_options} goes with --beam")
    from retrojax.data import default_cache_dir, open_data

    flags = [f"--{option}" for option in options.beam_options.split(",") if option]
    data = open_data(
        options.data,
        photo_size=options.photo_size,
        window=1,
        beam=flags if options.beam else None,
    )
    for line in data.skipped:
        print(f"retrojax: skipped {line}", file=sys.stderr)
    print(f"{data.description}\nprepared below {default_cache_dir()}")
    return _REJECTS if data.skipped else _OK


def _run(jobs: Sequence["Job"], bundle: "Bundle", options: Stylize) -> int:
    """Does the jobs; names each file that could not be done, and returns how many."""
    from rich.console import Console
    from rich.progress import Progress

    from retrojax.inference.folder import stylize_files

    console = Console(stderr=True)
    rejected = 0
    # The bar is for people: a log file gets the rejects and the summary.
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("stylize", total=len(jobs))
        for job, reason in stylize_files(
            jobs, bundle, seed=options.seed, strength=options.strength
        ):
            if reason is not None:
                rejected += 1
                progress.console.print(
                    f"retrojax: skipped {job.name}: {reason}", markup=False, soft_wrap=True
                )
            progress.update(bar, description=job.source.name[:40], advance=1)
    return rejected


if __name__ == "__main__":
    sys.exit(main())
