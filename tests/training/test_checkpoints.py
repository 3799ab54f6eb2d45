"""Checkpoints: what was saved comes back bit by bit, or is named as lost; nothing in between."""

import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec, SingleDeviceSharding

from retrojax.training import checkpoints as module
from retrojax.training.checkpoints import CheckpointError, Checkpoints
from retrojax.training.manifest import NAME

ROOT = Path(__file__).parents[2]


class Moments(NamedTuple):
    count: jax.Array
    mu: Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class State:
    params: Any
    moments: tuple
    ema: Any
    step: jax.Array
    key: jax.Array


def make_state(seed: int, width: int = 4) -> State:
    """Every kind of leaf and of empty place that a state of the framework has."""
    key = jax.random.key(seed)
    weights = jax.random.normal(key, (3, 4, width))
    return State(
        params={"conv": {"kernel": weights, "bias": weights[0, 0].astype(jnp.bfloat16)}},
        moments=(Moments(jnp.array(seed, jnp.int32), {"conv": weights**2}), (), {}),
        ema=None,
        step=jnp.array(seed, jnp.int32),
        key=jax.random.fold_in(key, 1),
    )


def bits(tree: Any) -> list[bytes]:
    return [
        np.asarray(
            jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
        ).tobytes()
        for leaf in jax.tree.leaves(tree)
    ]


def assert_same(actual: Any, expected: Any):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
    assert bits(actual) == bits(expected)


def restore(folder: Path, like: Any) -> tuple[Any, int, list[str]]:
    with Checkpoints(folder) as checkpoints:
        found = checkpoints.restore(like)
    assert found is not None
    return *found, checkpoints.notes


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the intact steps 1 and 2; copy it before breaking it."""
    folder = tmp_path_factory.mktemp("checkpoints")
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(1, make_state(1))
        checkpoints.save(2, make_state(2))
    return folder


@pytest.fixture
def folder(two_steps: Path, tmp_path: Path) -> Path:
    return shutil.copytree(two_steps, tmp_path / "checkpoints")


# What is saved


def test_the_newest_state_comes_back_bit_by_bit(folder: Path):
    state, step, notes = restore(folder, make_state(0))
    assert step == 2
    assert notes == []
    assert_same(state, make_state(2))


def test_shapes_without_values_are_enough_to_restore(folder: Path):
    state, _, _ = restore(folder, jax.eval_shape(lambda: make_state(0)))
    assert_same(state, make_state(2))


def test_a_new_folder_has_no_steps(tmp_path: Path):
    with Checkpoints(tmp_path / "a" / "b") as checkpoints:
        assert checkpoints.steps() == ()
        assert checkpoints.restore(make_state(0)) is None
        assert checkpoints.notes == []


def test_donating_right_after_save_does_not_change_what_is_saved(tmp_path: Path):
    @partial(jax.jit, donate_argnums=0)
    def overwrite(tree: Any) -> Any:
        return jax.tree.map(lambda x: x * 0 - 1, tree)

    everywhere = NamedSharding(jax.make_mesh((4,), ("data",)), PartitionSpec())
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        for step in range(1, 13):
            where = everywhere if step % 2 else SingleDeviceSharding(jax.devices()[0])
            state = {  # 4 devices divide the rows of a, so each of them saves a part; not of b
                "a": jax.device_put(jnp.full((500, 1000), step), where),
                "b": jax.device_put(jnp.full((499, 997), step + 1), where),
            }
            checkpoints.save(step, state)
            after = overwrite(overwrite(state))
            jax.block_until_ready(after)
            found = checkpoints.restore(after)
            assert found is not None
            assert found[1] == step
            assert (np.asarray(found[0]["a"]) == step).all()
            assert (np.asarray(found[0]["b"]) == step + 1).all()


@pytest.mark.parametrize("split", [False, True])
def test_devices_may_change_between_save_and_restore(tmp_path: Path, split: bool):
    four = jax.make_mesh((4,), ("data",))
    one = SingleDeviceSharding(jax.devices()[1])
    weights = NamedSharding(four, PartitionSpec("data") if split else PartitionSpec())
    rest = NamedSharding(four, PartitionSpec())

    def place(state: Any, weights: Any, rest: Any) -> Any:
        return jax.tree.map(
            lambda x: jax.device_put(x, weights if x.shape == (8, 6) else rest), state
        )

    state = {
        "w": jnp.arange(48.0).reshape(8, 6),
        "step": jnp.array(5),
        "key": jax.random.key(3),
    }
    many, single = place(state, weights, rest), place(state, one, one)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, many)
        found, _ = checkpoints.restore(single) or (None, 0)
        assert_same(found, state)
        assert jax.tree.map(lambda x: x.sharding, found) == jax.tree.map(lambda _: one, state)
        checkpoints.save(2, found)
        back, step = checkpoints.restore(many) or (None, 0)
    assert step == 2
    assert_same(back, state)
    for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(many), strict=True):
        assert a.sharding.is_equivalent_to(b.sharding, a.ndim)


def test_a_leaf_that_is_no_array_is_named(tmp_path: Path):
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(ValueError, match="rate is a float"):
        checkpoints.save(1, {"w": jnp.ones(3), "rate": 0.1})


# Which steps are kept


def test_old_steps_go_only_when_a_newer_one_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    on_disk_at_record = []
    write = module.write_manifest

    def watched(folder: Path, **rest: Any) -> None:
        on_disk_at_record.append(sorted(int(p.name) for p in tmp_path.iterdir()))
        write(folder, **rest)

    monkeypatch.setattr(module, "write_manifest", watched)
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        for step in (5, 10, 15, 20):
            checkpoints.save(step, {"w": jnp.ones(step)})
    assert on_disk_at_record == [[5], [5, 10], [5, 10, 15], [10, 15, 20]]
    assert checkpoints.steps() == (15, 20)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["15", "20"]


def test_keep_below_one_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="keep is 0"):
        Checkpoints(tmp_path, keep=0)


def test_a_step_is_recorded_without_waiting_for_the_next_save(tmp_path: Path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(3, make_state(3))
        limit = time.monotonic() + 20
        while checkpoints.steps() != (3,) and time.monotonic() < limit:
            time.sleep(0.01)
        assert checkpoints.steps() == (3,)


def test_an_intact_step_is_saved_again_only_by_force(folder: Path):
    with Checkpoints(folder) as checkpoints:
        assert not checkpoints.save(2, make_state(9))
        assert_same((checkpoints.restore(make_state(0)) or [None])[0], make_state(2))
        assert checkpoints.save(2, make_state(9), force=True)
        assert_same((checkpoints.restore(make_state(0)) or [None])[0], make_state(9))
    assert checkpoints.steps() == (1, 2)


# Damage


def half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[random.Random(path.name).randrange(len(data))] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [half, empty, flip, Path.unlink])
def test_damage_to_any_single_file_falls_back_to_the_step_before(
    folder: Path, damage: Callable[[Path], None]
):
    newest = folder / "2"
    names = sorted(p.relative_to(newest) for p in newest.rglob("*") if p.is_file())
    assert len(names) > 8
    backup = shutil.copytree(newest, folder.parent / "backup")
    with Checkpoints(folder) as checkpoints:
        for name in names:
            if damage is not Path.unlink and (newest / name).stat().st_size == 0:
                continue
            damage(newest / name)
            checkpoints.notes.clear()
            found = checkpoints.restore(make_state(0))
            assert found is not None
            assert found[1] == 1, name
            assert_same(found[0], make_state(1))
            assert len(checkpoints.notes) == 1
            assert str(newest) in checkpoints.notes[0]
            reason = "cut off" if name.name == NAME and damage is Path.unlink else name.as_posix()
            assert reason in checkpoints.notes[0]
            shutil.rmtree(newest)
            shutil.copytree(backup, newest)
        assert (checkpoints.restore(make_state(0)) or [0, 0])[1] == 2


def test_a_symbolic_link_is_refused_though_its_target_is_right(folder: Path, tmp_path: Path):
    (folder / "2" / "_METADATA").rename(tmp_path / "elsewhere")
    (folder / "2" / "_METADATA").symlink_to(tmp_path / "elsewhere")
    _, step, notes = restore(folder, make_state(0))
    assert step == 1
    assert "_METADATA is not a regular file" in notes[0]


def test_a_step_renamed_to_another_is_refused(folder: Path):
    (folder / "2").rename(folder / "7")
    _, step, notes = restore(folder, make_state(0))
    assert step == 1
    assert "belongs to step 2" in notes[0]


def test_all_damaged_stops_with_one_line(folder: Path):
    flip(folder / "1" / "_METADATA")
    (folder / "2" / "_METADATA").unlink()
    with Checkpoints(folder) as checkpoints, pytest.raises(CheckpointError) as caught:
        checkpoints.restore(make_state(0))
    message = str(caught.value)
    assert "\n" not in message
    assert "step 2: _METADATA is missing; step 1: _METADATA was changed" in message
    assert "move the folder away to start from the beginning" in message
    assert sorted(p.name for p in folder.iterdir()) == ["1", "2"]


def test_a_damaged_step_can_be_saved_again_and_does_not_push_out_good_ones(folder: Path):
    flip(folder / "2" / "_METADATA")
    with Checkpoints(folder) as checkpoints:
        assert (checkpoints.restore(make_state(0)) or [0, 0])[1] == 1
        checkpoints.save(3, make_state(3))
        checkpoints.wait()
        assert checkpoints.steps() == (1, 2, 3)  # step 1 is the fall-back of step 3
        assert checkpoints.save(2, make_state(2))
        checkpoints.wait()
        flip(folder / "3" / "_METADATA")
        state, step = checkpoints.restore(make_state(0)) or (None, 0)
    assert step == 2
    assert_same(state, make_state(2))


# Interrupted saves


def test_a_cut_off_step_is_passed_over_and_replaced(folder: Path):
    (folder / "2" / NAME).unlink()
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.steps() == (1,)
        state, step = checkpoints.restore(make_state(0)) or (None, 0)
        assert step == 1
        assert_same(state, make_state(1))
        assert "2 is passed over: its save was cut off" in checkpoints.notes[0]
        assert checkpoints.save(2, make_state(2))
        assert (checkpoints.restore(make_state(0)) or [0, 0])[1] == 2


def test_only_cut_off_steps_are_no_steps(folder: Path):
    (folder / "1" / NAME).unlink()
    (folder / "2" / NAME).unlink()
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.restore(make_state(0)) is None
    assert len(checkpoints.notes) == 2


def test_opening_removes_half_written_steps_and_nothing_else(folder: Path):
    for name in ("3.orbax-checkpoint-tmp", "4.orbax-checkpoint-tmp-17"):
        (folder / name / "d").mkdir(parents=True)
    (folder / "mine").mkdir()
    (folder / "notes.txt").write_text("x")
    with Checkpoints(folder) as checkpoints:
        assert sorted(p.name for p in folder.iterdir()) == ["1", "2", "mine", "notes.txt"]
        assert checkpoints.steps() == (1, 2)


KILLED = """
import sys
import jax.numpy as jnp
from retrojax.training.checkpoints import Checkpoints
with Checkpoints(sys.argv[1]) as checkpoints:
    like = {"a": jnp.zeros((300, 1000)), "b": jnp.zeros(7), "step": jnp.array(0)}
    found = checkpoints.restore(like)
    step = 0 if found is None else found[1]
    while True:
        step += 1
        checkpoints.save(step, {k: jnp.full_like(x, step) for k, x in like.items()})
        print(step - 1, flush=True)  # save() has waited for the one before
"""


def kill_and_restore(folder: Path, kills: int) -> None:
    """Each child goes on where the last was killed; no finished step may be lost."""
    like = {"a": jnp.zeros((300, 1000)), "b": jnp.zeros(7), "step": jnp.array(0)}
    dice, durable = random.Random(1), 0
    for _ in range(kills):
        command = [sys.executable, "-c", KILLED, str(folder)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for _ in range(3):
                durable = int(child.stdout.readline())
            time.sleep(dice.random() / 5)
            child.kill()
            durable = max([durable, *map(int, child.stdout.read().split())])
        state, step, _ = restore(folder, like)
        assert step >= durable
        assert all((np.asarray(leaf) == step).all() for leaf in jax.tree.leaves(state))
        names = [p.name for p in folder.iterdir()]
        assert all(name.isdigit() for name in names), names
        assert len(names) <= 4, names


def test_killed_saves_leave_a_good_step(tmp_path: Path):
    kill_and_restore(tmp_path, 3)


@pytest.mark.slow
def test_twenty_killed_saves_leave_a_good_step(tmp_path: Path):
    kill_and_restore(tmp_path, 20)


# Errors


def test_a_full_disk_is_seen_before_the_save(folder: Path, monkeypatch: pytest.MonkeyPatch):
    state = {"w": jnp.ones(1000)}
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=7999))
    with Checkpoints(folder) as checkpoints:
        with pytest.raises(CheckpointError, match=r"8,000 bytes .* must be free .* 7,999 are"):
            checkpoints.save(3, state)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=8000))
        assert checkpoints.save(3, state)
        checkpoints.wait()
        assert checkpoints.steps() == (2, 3)


@pytest.mark.parametrize("surface", ["wait", "save", "close"])
def test_a_failed_save_is_raised_once_and_leaves_the_step_before(folder: Path, surface: str):
    state = {"w": jax.random.normal(jax.random.key(0), (1000, 1000))}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    checkpoints = Checkpoints(folder)
    try:
        # Writing beyond this size fails, as on a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        with pytest.raises(CheckpointError, match="step 3 could not be saved") as caught:
            checkpoints.save(3, state)
            {
                "wait": checkpoints.wait,
                "save": lambda: checkpoints.save(4, state),
                "close": checkpoints.close,
            }[surface]()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(caught.value)
    assert checkpoints.steps() == (1, 2)
    assert sorted(p.name for p in folder.iterdir()) == ["1", "2"]  # nothing keeps the disk full
    if surface != "close":
        assert checkpoints.save(3, state)
    checkpoints.close()
    checkpoints.close()
    assert restore(folder, make_state(0) if surface == "close" else state)[1] == (
        2 if surface == "close" else 3
    )


def test_a_manifest_that_cannot_be_written_is_a_failed_save(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_manifest", full)
    checkpoints = Checkpoints(folder)
    checkpoints.save(3, make_state(3))
    with pytest.raises(CheckpointError, match="No space left on device"):
        checkpoints.close()
    assert checkpoints.steps() == (1, 2)


def test_the_error_that_ends_a_run_is_not_hidden_by_a_failed_save(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_manifest", full)
    with pytest.raises(KeyError, match="mine") as caught, Checkpoints(folder) as checkpoints:
        checkpoints.save(3, make_state(3))
        raise KeyError("mine")
    assert "step 3 could not be saved" in caught.value.__notes__[0]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="choose another folder"):
        Checkpoints(tmp_path / "file" / "checkpoints")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ema": {"w": jnp.ones(2)}}, r"ema/w \(float32\[2\]\) is not in it"),
        ({"params": {}}, r"it holds params/conv/bias \(bfloat16\[4\]\), which is not wanted"),
        ({"step": jnp.zeros(2, jnp.int32)}, r"step is int32\[\] in it, int32\[2\] is wanted"),
        ({"step": jnp.zeros(())}, r"step is int32\[\] in it, float32\[\] is wanted"),
        ({"key": jax.random.key(0, impl="rbg")}, r"key is key<fry>\[\] in it, key<rbg>\[\]"),
    ],
)
def test_another_model_is_refused_by_its_first_leaf(folder: Path, change: dict, message: str):
    like = State(**{**vars(make_state(0)), **change})
    with Checkpoints(folder) as checkpoints:
        with pytest.raises(CheckpointError, match=message) as caught:
            checkpoints.restore(like)
    assert "\n" not in str(caught.value)


def test_orbax_stays_quiet(folder: Path, caplog: pytest.LogCaptureFixture, capfd):
    with caplog.at_level("DEBUG"), Checkpoints(folder) as checkpoints:
        checkpoints.save(3, make_state(3))
        checkpoints.restore(make_state(0))
    assert [r.getMessage() for r in caplog.records if "orbax" in r.pathname] == []
    assert capfd.readouterr() == ("", "")
