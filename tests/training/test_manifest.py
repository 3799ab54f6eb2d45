"""The record of a checkpoint: whatever befalls the files, `verify` sees it and reads no other."""

import json
import os
from pathlib import Path

import pytest

from retrojax.training.manifest import (
    NAME,
    DamagedError,
    is_recorded,
    read_manifest,
    verify,
    write_manifest,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "7"
    (folder / "d").mkdir(parents=True)
    (folder / "d" / "a").write_bytes(bytes(range(200)))
    (folder / "b").write_bytes(b"text")
    (folder / "empty").write_bytes(b"")
    write_manifest(folder, step=7, leaves={"w": "float32[3]"}, versions={"jax": "1"})
    return folder


def test_an_untouched_folder_verifies(folder: Path):
    manifest = verify(folder, step=7)
    assert manifest.step == 7
    assert {name: size for name, (size, _) in manifest.files.items()} == {
        "d/a": 200,
        "b": 4,
        "empty": 0,
    }
    assert dict(manifest.leaves) == {"w": "float32[3]"}
    assert dict(manifest.versions) == {"jax": "1"}
    assert not list(folder.glob("*.tmp"))


def test_a_flipped_bit_anywhere_is_seen(folder: Path):
    for name in ("d/a", "b", NAME):
        path = folder / name
        good = path.read_bytes()
        for bit in range(0, 8 * len(good), 11):
            bad = bytearray(good)
            bad[bit // 8] ^= 1 << bit % 8
            path.write_bytes(bad)
            with pytest.raises(DamagedError, match=Path(name).name):
                verify(folder, step=7)
        path.write_bytes(good)
    verify(folder, step=7)


def test_missing_and_extra_files_are_named(folder: Path):
    (folder / "extra").write_bytes(b"")
    with pytest.raises(DamagedError, match="extra does not belong to it"):
        verify(folder, step=7)
    (folder / "extra").unlink()
    (folder / "empty").unlink()
    with pytest.raises(DamagedError, match="empty is missing"):
        verify(folder, step=7)


def test_links_and_pipes_are_refused_unread(folder: Path, tmp_path: Path):
    twin = tmp_path / "twin"
    twin.write_bytes((folder / "b").read_bytes())
    (folder / "b").unlink()
    (folder / "b").symlink_to(twin)
    with pytest.raises(DamagedError, match="b is not a regular file"):
        verify(folder, step=7)
    (folder / "b").unlink()
    os.link(twin, folder / "b")
    with pytest.raises(DamagedError, match="b is a hard link"):
        verify(folder, step=7)
    (folder / "b").unlink()
    os.mkfifo(folder / "b")  # reading it would wait forever
    with pytest.raises(DamagedError, match="b is not a regular file"):
        verify(folder, step=7)


def test_a_linked_folder_is_refused(folder: Path, tmp_path: Path):
    (folder / "d").rename(tmp_path / "d")
    (folder / "d").symlink_to(tmp_path / "d")
    with pytest.raises(DamagedError, match="d is not a regular file"):
        verify(folder, step=7)
    link = tmp_path / "8"
    link.symlink_to(folder)
    with pytest.raises(DamagedError, match="not a folder"):
        verify(link, step=7)


def test_a_linked_manifest_is_refused(folder: Path, tmp_path: Path):
    (folder / NAME).rename(tmp_path / NAME)
    (folder / NAME).symlink_to(tmp_path / NAME)
    with pytest.raises(DamagedError, match=f"{NAME} is not a regular file"):
        read_manifest(folder, step=7)


def test_a_manifest_of_another_step_is_refused(folder: Path):
    with pytest.raises(DamagedError, match="belongs to step 7"):
        verify(folder, step=8)


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{}", '{"format": 1}', "[" * 50_000, '{"format": 1, "files": []}']
)
def test_what_is_no_manifest_is_refused(folder: Path, text: str):
    (folder / NAME).write_text(text)
    with pytest.raises(DamagedError, match=f"{NAME} cannot be read"):
        verify(folder, step=7)


def test_a_rewritten_or_newer_manifest_is_refused(folder: Path):
    body = json.loads((folder / NAME).read_text())
    (folder / NAME).write_text(json.dumps(body))
    with pytest.raises(DamagedError, match="was changed"):
        verify(folder, step=7)
    (folder / NAME).write_text(json.dumps({**body, "format": 2}))
    with pytest.raises(DamagedError, match="format 2, this version reads 1"):
        verify(folder, step=7)


def test_a_huge_manifest_is_not_parsed(folder: Path):
    os.truncate(folder / NAME, 2**40)  # sparse
    with pytest.raises(DamagedError, match="has more than"):
        verify(folder, step=7)


def test_recorded_means_the_manifest_is_there(folder: Path):
    assert is_recorded(folder)
    (folder / NAME).unlink()
    assert not is_recorded(folder)


def test_a_folder_with_a_link_is_not_recorded(tmp_path: Path):
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "x").symlink_to("/etc/hostname")
    with pytest.raises(DamagedError, match="x is not a regular file"):
        write_manifest(tmp_path / "7", step=7, leaves={}, versions={})
    assert not is_recorded(tmp_path / "7")
