"""Checkpoints of a run: saved in the background by Orbax, recorded by hash, verified when read.

One folder per step below the run's `checkpoints/`. A step counts from the moment its
`MANIFEST.json` lies there (see `retrojax.training.manifest`), not before; older steps are deleted
only then. What is there is always read from the disk. A process killed at any moment leaves the
newest finished step readable; a step cut off on the way is noted and passed over, a damaged one is
named and the step before it is used, and when none is good the run stops: nothing starts again
from scratch in silence.

The state is any pytree of arrays, typed PRNG keys included. One run owns the folder at a time.
With several processes all call the same methods; the first one looks at the disk and tells the
others. This is the only file that knows Orbax.
"""

import contextlib
import logging
import os
import re
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from jaxtyping import PyTree

import retrojax
from retrojax.training.manifest import (
    NAME,
    DamagedError,
    is_recorded,
    read_manifest,
    verify,
    write_manifest,
)

_STEP = re.compile(r"0|[1-9][0-9]*")
_UNFINISHED = re.compile(r"[0-9]+\.orbax-checkpoint-tmp.*")
_NONE, _FAILED = -1, -2


class CheckpointError(RuntimeError):
    """A checkpoint could not be saved or restored; the message is one line and says what to do."""


def _quiet(record: logging.LogRecord) -> bool:
    # Orbax tells its every move, and failures with pages of trace: those are raised here instead.
    return "orbax" not in record.pathname


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _agreed(decide: Callable[[], int]) -> int:
    """What `decide` says on the first process, on all of them.

    Files may change between two looks, and processes that decided differently would wait for each
    other forever.
    """
    if jax.process_count() == 1:
        return decide()
    answer, failure = _FAILED, None
    if jax.process_index() == 0:
        try:
            answer = decide()
        except Exception as error:
            failure = error
    answer = int(multihost_utils.broadcast_one_to_all(np.int32(answer)))
    if failure is not None:
        raise failure
    if answer == _FAILED:
        raise CheckpointError("the first process gave up on its checkpoints; its message says why")
    return answer


def _describe(state: PyTree) -> dict[str, str]:
    """Path -> dtype and shape of every leaf, as kept in the manifest."""
    leaves = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if not hasattr(leaf, "dtype"):
            raise ValueError(f"{name} is a {type(leaf).__name__}; make every leaf an array")
        leaves[name] = f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"
    return leaves


def _first_difference(stored: dict[str, str], wanted: dict[str, str]) -> str | None:
    """The first leaf that two trees do not share, in words."""
    for name in [*wanted, *stored]:
        if name not in stored:
            return f"{name} ({wanted[name]}) is not in it"
        if name not in wanted:
            return f"it holds {name} ({stored[name]}), which is not wanted"
        if stored[name] != wanted[name]:
            return f"{name} is {stored[name]} in it, {wanted[name]} is wanted"
    return None


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    # Without a sharding Orbax looks for the devices that saved the array.
    sharding = getattr(leaf, "sharding", None)
    if sharding is None:
        sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _delete(path: Path) -> None:
    """Deletes a step; a kill on the way leaves it cut off, not damaged."""
    if path.is_symlink() or not path.is_dir():
        path.unlink()
        return
    (path / NAME).unlink(missing_ok=True)
    shutil.rmtree(path)


class Checkpoints:
    """The checkpoints of one run; a context manager that waits for the last save on its way out.

    Attributes:
        folder: where the steps lie.
        notes: one line for each step that `restore` passed over, and for what could not be deleted.
    """

    def __init__(self, folder: str | os.PathLike[str], *, keep: int = 2):
        """Opens (or makes) a folder and removes what an interrupted save left half written.

        Args:
            folder: where the steps lie, used by this run alone.
            keep: number of finished steps to keep, at least 1; 2 leave one to fall back on.

        Raises:
            ValueError: if `keep` is below 1.
            CheckpointError: if the folder cannot be made.
        """
        if keep < 1:
            raise ValueError(f"keep is {keep}, but at least 1 checkpoint must stay")
        logging.getLogger("absl").addFilter(_quiet)
        self.folder = Path(folder).absolute()
        self.notes: list[str] = []
        self._keep = keep
        self._damaged: set[int] = set()
        self._saving: tuple[int, Future[None]] | None = None
        self._orbax = ocp.StandardCheckpointer()
        self._finisher = ThreadPoolExecutor(1, thread_name_prefix="checkpoints")
        if jax.process_index() == 0:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._remove_unfinished()
            except OSError as error:
                raise CheckpointError(
                    f"checkpoints cannot be kept in {self.folder} ({error.strerror}); "
                    "choose another folder"
                ) from error

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except CheckpointError as failure:
            if error is None:
                raise
            # The error that ended the run stays the one that is seen first.
            error.add_note(str(failure))

    def steps(self) -> tuple[int, ...]:
        """Finished steps on disk, oldest first; whether they are intact only `restore` checks."""
        return tuple(step for step in self._found() if is_recorded(self._path(step)))

    def save(self, step: int, state: PyTree, *, force: bool = False) -> bool:
        """Starts to save a state and returns once its buffers may be donated.

        Waits for the save before it. A step cut off or damaged earlier is replaced.

        Args:
            step: number of completed updates, the name of the checkpoint.
            state: pytree of arrays on any devices.
            force: replaces the step even where an intact one is there already.

        Returns:
            Whether a save was started: False if the step is there and intact.

        Raises:
            CheckpointError: if the previous save failed, if less than twice the state's bytes are
                free, or if the save cannot start.
            ValueError: if a leaf is no array.
        """
        leaves = _describe(state)
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        self.wait()
        if not _agreed(lambda: self._make_room(step, size, force)):
            return False
        try:
            self._orbax.save(self._path(step), state)
        except Exception as error:
            raise self._failure(step, error) from error
        self._saving = (step, self._finisher.submit(self._finish, step, leaves))
        return True

    def wait(self) -> None:
        """Waits until the save under way is finished and recorded.

        Raises:
            CheckpointError: if it failed; said once. Older steps are untouched then.
        """
        if self._saving is None:
            return
        step, saving = self._saving
        try:
            saving.result()
        except Exception as error:
            self._saving = None
            raise self._failure(step, error) from error
        self._saving = None

    def close(self) -> None:
        """Waits like `wait` and ends the background work; may be called again.

        Raises:
            CheckpointError: if the last save failed.
        """
        try:
            self.wait()
        finally:
            self._finisher.shutdown()
            self._orbax.close()

    def restore(self, like: PyTree) -> tuple[PyTree, int] | None:
        """Reads the newest intact step.

        Args:
            like: pytree of arrays or `jax.ShapeDtypeStruct` with the structure, shapes, dtypes and
                shardings wanted; devices may be others than those that saved. A leaf without
                sharding goes to the first device.

        Returns:
            The state and its step; None if no step was ever finished here. What was passed over,
            and why, is in `notes`.

        Raises:
            CheckpointError: if steps are there but none is intact, or if the state is another one
                than `like`; the first leaf that differs is named.
        """
        self.wait()
        step = _agreed(self._newest_intact)
        if step == _NONE:
            return None
        path = self._path(step)
        stored = read_manifest(path, step=step)
        difference = _first_difference(dict(stored.leaves), _describe(like))
        if difference is not None:
            raise CheckpointError(
                f"checkpoint {path} belongs to another model: {difference}; resume with the "
                "settings it was saved with, or choose a new folder"
            )
        try:
            return self._orbax.restore(path, jax.tree.map(_abstract, like)), step
        except Exception as error:
            written = ", ".join(f"{name} {version}" for name, version in stored.versions.items())
            raise CheckpointError(
                f"checkpoint {path} is intact, but could not be read ({_first_line(error)}); "
                f"it was written by {written}"
            ) from error

    def _path(self, step: int) -> Path:
        return self.folder / str(step)

    def _found(self) -> list[int]:
        """Steps of which there is anything, oldest first."""
        if not self.folder.is_dir():
            return []
        return sorted(int(name) for name in os.listdir(self.folder) if _STEP.fullmatch(name))

    def _failure(self, step: int, error: Exception) -> CheckpointError:
        return CheckpointError(
            f"step {step} could not be saved in {self.folder} ({_first_line(error)}); see that "
            "the disk has space and can be written to, then run again to resume"
        )

    def _remove_unfinished(self) -> None:
        """Removes half-written steps: they keep a full disk full, and block their step's save."""
        for name in os.listdir(self.folder):
            if _UNFINISHED.fullmatch(name):
                _delete(self.folder / name)

    def _make_room(self, step: int, size: int, force: bool) -> int:
        """Clears the place of a step; 0 if an intact one is to stay there."""
        path = self._path(step)
        try:
            self._remove_unfinished()
            if os.path.lexists(path):
                if not force and self._check(step) is None:
                    return 0
                _delete(path)
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            raise self._failure(step, error) from error
        if free < 2 * size:
            raise CheckpointError(
                f"step {step} was not saved: {2 * size:,} bytes (twice the state) must be free for "
                f"{self.folder}, {free:,} are; free some space, then run again to resume"
            )
        return 1

    def _finish(self, step: int, leaves: dict[str, str]) -> None:
        """In the background: waits for Orbax, records the step, then deletes older ones."""
        first = jax.process_index() == 0
        try:
            self._orbax.wait_until_finished()
            if not first:
                return
            versions = {
                "retrojax": retrojax.__version__,
                "jax": jax.__version__,
                "orbax-checkpoint": ocp.__version__,
            }
            write_manifest(self._path(step), step=step, leaves=leaves, versions=versions)
        except BaseException:
            if first:
                with contextlib.suppress(OSError):
                    self._remove_unfinished()
            raise
        self._damaged.discard(step)
        self._delete_older_than(step)

    def _delete_older_than(self, step: int) -> None:
        # Damaged steps known to this run do not count and stay: someone may want to look at them.
        kept = {s for s in self.steps() if s not in self._damaged}
        kept = set(sorted(kept)[-self._keep :]) | self._damaged
        for old in self._found():
            if old < step and old not in kept:
                try:
                    _delete(self._path(old))
                except OSError as error:
                    self.notes.append(f"old checkpoint {self._path(old)} stays: {error.strerror}")

    def _check(self, step: int) -> str | None:
        """What is wrong with a step; None if it is intact."""
        path = self._path(step)
        if path.is_dir() and not is_recorded(path):
            return "its save was cut off"
        try:
            verify(path, step=step)
        except DamagedError as error:
            return str(error)
        return None

    def _newest_intact(self) -> int:
        damaged = []
        for step in reversed(self._found()):
            reason = self._check(step)
            if reason is None:
                return step
            note = f"checkpoint {self._path(step)} is passed over: {reason}"
            self.notes.append(note)
            if is_recorded(self._path(step)):
                self._damaged.add(step)
                damaged.append(f"step {step}: {reason}")
        if damaged:
            raise CheckpointError(
                f"no checkpoint in {self.folder} is intact ({'; '.join(damaged)}); put back a copy "
                "of one, or move the folder away to start from the beginning"
            )
        return _NONE
