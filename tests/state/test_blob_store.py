"""Files named by their content, and never outside their folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.core.errors import StateError
from scripts.state.blob_store import BlobStore


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_blob_is_named_by_its_sha256(tmp_path: Path) -> None:
    name = BlobStore(tmp_path).put(b"mask", ".npz")
    digest = hashlib.sha256(b"mask").hexdigest()
    assert name == f"{digest}.npz"
    assert files(tmp_path) == [f"{digest[:2]}/{digest}.npz"]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.binary(max_size=64), max_size=6))
def test_what_is_put_is_read(tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]) -> None:
    store = BlobStore(tmp_path_factory.mktemp("blobs"))
    names = [store.put(data) for data in contents]
    assert store.put_all(contents) == names
    assert [store.read(name) for name in names] == contents
    assert set(store.names()) == set(names)


def test_put_twice_writes_once_and_mends_a_spoiled_file(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    name = store.put(b"mask")
    before = store.path(name).stat().st_ino
    store.put(b"mask")
    assert store.path(name).stat().st_ino == before
    store.path(name).write_bytes(b"spoiled")
    store.put(b"mask")
    assert store.read(name) == b"mask"


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.write_bytes(b"mas")])
def test_missing_or_changed_blob_is_refused_with_its_path(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    store = BlobStore(tmp_path)
    name = store.put(b"mask", ".npz")
    spoil(store.path(name))
    with pytest.raises(StateError, match=f"{name}.*backup"):
        store.read(name)


@pytest.mark.parametrize(
    "name", ["", "../x", "/etc/passwd", "a" * 64 + "/../x", "a" * 63, "A" * 64, "a" * 64 + ".npz\n"]
)
def test_only_names_of_blobs_lead_to_a_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not the name of a blob"):
        BlobStore(tmp_path).path(name)


@pytest.mark.parametrize("suffix", ["npz", "./x", ".NPZ", "/../x", ".a\n"])
def test_suffix_cannot_leave_the_folder(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(ValueError, match="suffix"):
        BlobStore(tmp_path).put(b"", suffix)


def test_removed_blob_is_gone(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    name = store.put(b"mask")
    store.remove(name)
    store.remove(name)
    assert list(store.names()) == []
