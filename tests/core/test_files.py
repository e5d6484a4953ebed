"""Durable files: whole or not there, and never outside their folder."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scripts.core.errors import InputError, StateError
from scripts.core.files import file_sha256, remove_leftovers, write_atomic


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def trace(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What reached the disk, in order: ("sync", path) and ("rename", path)."""
    events: list[tuple[str, str]] = []
    fsync, replace = os.fsync, os.replace

    def traced_fsync(descriptor: int) -> None:
        events.append(("sync", os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def traced_replace(source: Path, target: Path) -> None:
        events.append(("rename", str(source)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", traced_fsync)
    monkeypatch.setattr(os, "replace", traced_replace)
    return events


def test_write_syncs_file_before_rename_and_folder_after(tmp_path: Path, trace: list[tuple[str, str]]) -> None:
    write_atomic(tmp_path / "curve.csv", b"new")
    (sync, synced), (rename, renamed), after = trace
    assert (sync, rename) == ("sync", "rename")
    assert synced == renamed
    assert Path(renamed).parent == tmp_path
    assert after == ("sync", str(tmp_path))


def test_new_folders_are_synced_from_the_top(tmp_path: Path, trace: list[tuple[str, str]]) -> None:
    write_atomic(tmp_path / "a" / "b" / "file", b"x")
    assert trace[:2] == [("sync", str(tmp_path)), ("sync", str(tmp_path / "a"))]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_failed_write_keeps_the_old_file_and_leaves_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "curve.csv"
    write_atomic(path, b"old")

    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(StateError, match=r"curve\.csv.*No space left"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert files(tmp_path) == ["curve.csv"]


def test_unsyncable_folder_is_tolerated_but_an_io_error_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def failing(code: int) -> Callable[[int], None]:
        def on_folder(descriptor: int) -> None:
            if os.path.isdir(f"/proc/self/fd/{descriptor}"):
                raise OSError(code, os.strerror(code))
            fsync(descriptor)

        return on_folder

    monkeypatch.setattr(os, "fsync", failing(errno.EINVAL))
    write_atomic(tmp_path / "file", b"1")
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    with pytest.raises(StateError, match="Input/output error"):
        write_atomic(tmp_path / "file", b"2")


def test_leftovers_go_and_foreign_files_stay(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    run = tmp_path / "run"
    (run / "blobs" / "ab").mkdir(parents=True)
    outside.mkdir()
    (run / "link").symlink_to(outside)
    half = ".write-0123456789abcdef.tmp"
    for path in (run / half, run / "blobs" / "ab" / half, outside / half, run / "notes.tmp", run / "curve.csv"):
        path.write_bytes(b"half")
    assert remove_leftovers(run) == 2
    assert files(run) == ["curve.csv", "notes.tmp"]
    assert (outside / half).exists()


def test_the_file_of_a_living_writer_is_no_leftover(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, removed = os.replace, []

    def cleaned_first(old: Path, new: Path) -> None:
        removed.append(remove_leftovers(tmp_path))
        real(old, new)

    monkeypatch.setattr(os, "replace", cleaned_first)
    write_atomic(tmp_path / "file", b"1")
    assert (removed, files(tmp_path)) == ([0], ["file"])


def test_leftovers_of_one_folder_alone(tmp_path: Path) -> None:
    (tmp_path / "deeper").mkdir()
    for folder in (tmp_path, tmp_path / "deeper"):
        (folder / ".write-0123456789abcdef.tmp").write_bytes(b"half")
    assert remove_leftovers(tmp_path, deep=False) == 1
    assert (tmp_path / "deeper" / ".write-0123456789abcdef.tmp").exists()
    assert remove_leftovers(tmp_path / "absent") == 0


def test_hash_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, example B.1
    assert file_sha256(tmp_path / "a") == expected
    with pytest.raises(InputError, match="cannot be read"):
        file_sha256(tmp_path / "absent")
