from __future__ import annotations

import os
from pathlib import Path

import pytest

from scripts.core.files import file_sha256
from scripts.data import file_watch
from scripts.data.file_watch import FileWatch, stamp_of


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths that were hashed."""
    paths: list[str] = []

    def counting(path: str) -> str:
        paths.append(str(path))
        return file_sha256(path)

    monkeypatch.setattr(file_watch, "file_sha256", counting)
    return paths


@pytest.fixture
def watched(tmp_path: Path) -> tuple[FileWatch, Path, Path]:
    watch = FileWatch()
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        path.write_bytes(b"pixels of " + path.name.encode())
        watch.add(f"image of {path.stem}", str(path), file_sha256(path), stamp_of(str(path)))
    return watch, *paths


def test_untouched_files_are_not_even_read(watched, hashed: list[str]) -> None:
    assert watched[0].changed() == []
    assert hashed == []


def test_the_hash_decides(watched, hashed: list[str]) -> None:
    watch, a, _ = watched
    os.utime(a, ns=(1, 1))
    assert watch.changed() == []
    assert hashed == [str(a)]
    assert watch.changed() == []  # its new times are known now
    assert hashed == [str(a)]


def test_a_changed_file_is_named_with_both_hashes(watched) -> None:
    watch, a, _ = watched
    before, times = file_sha256(a), a.stat()
    a.write_bytes(b"PIXELS OF a.png")
    os.utime(a, ns=(times.st_atime_ns, times.st_mtime_ns))  # same size and time of the content
    (problem,) = watch.changed()
    assert "image of a" in problem.where
    assert str(a) in problem.where
    assert (problem.expected, problem.found) == (before, file_sha256(a))
    a.write_bytes(b"pixels of a.png")
    assert watch.changed() == []


def test_files_that_are_gone_are_named(watched) -> None:
    watch, a, b = watched
    a.unlink()
    b.unlink()
    assert [problem.where for problem in watch.changed()] == ["image of a", "image of b"]
    assert all("gone" in problem.what for problem in watch.changed())


def test_a_change_during_the_reading_counts(watched, tmp_path: Path) -> None:
    watch, a, _ = watched
    stamp = stamp_of(str(a))
    a.write_bytes(b"another")
    watch.add("image of a", str(a), "0" * 64, stamp)  # as if it had been hashed before
    assert len(watch.changed()) == 1
