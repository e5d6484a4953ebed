"""Disks that fail: one that loses at a power cut what was not synced, and one whose nth call fails.

Modelled: the data of a file last until its ``fsync``, the names in a folder until the ``fsync`` of the folder. What was
not synced is lost as a whole, or in a random part, so that later changes may outlive earlier ones.

Trusted to SQLite, whose writing Python cannot hook: that a transaction committed with ``synchronous = FULL`` is on the
disk, and the name of its log too. Its files are taken as they are at the cut. What a torn log does is tested apart, by
cutting the log at every frame.
"""

from __future__ import annotations

import errno
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scripts.state.rows import LabelRow, PseudoRow
from scripts.state.run_state import RunState

N_ROUNDS = 2
IMAGES = [f"i{number}" for number in range(6)]
CALLS = ("fsync", "replace", "mkdir", "unlink", "open")


class PowerCutError(BaseException):
    """The machine is off: no handler of errors runs on it."""


def scripted_run(run_dir: Path) -> list[Any]:
    """Do the phases that are not done, each with queries, masks, pseudo-masks or weights; return all that is stored."""
    with RunState.open(run_dir) as state:
        items = [{"id": image, "sha256": "s", "label": 0, "split": "train"} for image in IMAGES]
        state.register_run({"seed": 0}, [], items, "data")
        for at in range(N_ROUNDS):
            image, others = IMAGES[at], IMAGES[at + 1 :]
            if not state.is_done(at, "query"):
                mask = state.put_blob(f"mask of {image}".encode(), ".png")
                state.commit(at, "query", queries=[(image, 0.5)], labels=[LabelRow(image, at, mask, 1, 1, 0.0)])
            if not state.is_done(at, "train"):
                names = state.put_blobs([f"{at} {other}".encode() for other in others], ".png")
                rows = [PseudoRow(i, at, "final", image, 0.1, 0.5, n) for i, n in zip(others, names, strict=True)]
                model = state.put_blob(bytes([at]) * 5000, ".pt")
                state.commit(at, "train", pseudo=rows, artifacts={"model": model}, rng={"draws": at})
            if not state.is_done(at, "evaluate"):
                state.commit(at, "evaluate", metrics={"dice": at / 3})
        return stored(state)


def stored(state: RunState) -> list[Any]:
    """All rows of a scripted run, and the content of every file they name; a changed file raises."""
    rounds = range(N_ROUNDS)
    pseudo = [row for at in rounds for row in state.pseudo(at, "final")]
    files = [state.read_blob(row.blob) for row in (*state.labels(), *pseudo)]
    files += [state.read_blob(state.artifact(at, "model")) for at in rounds if state.is_done(at, "train")]
    return [state.queries(), state.labels(), pseudo, state.metrics(), [state.phases(at) for at in rounds], files]


class LossyDisk:
    """Follows what is durable under ``root``, and cuts the power before the ``cut``-th call.

    Args:
        root: empty folder, taken as durable itself.
        cut: number of the call, from 1.
    """

    def __init__(self, root: Path, cut: int) -> None:
        self.root, self.cut, self.calls = root, cut, 0
        self.images: list[tuple[Path, int | None]] = []
        self._names: dict[int, dict[str, int]] = {root.stat().st_ino: {}}
        self._data: dict[int, bytes] = {}
        self._turn = threading.RLock()

    def install(self, patch: pytest.MonkeyPatch, images: list[tuple[Path, int | None]]) -> None:
        """Watch the calls; at the cut, write what survives to each folder (seed None: nothing that was not synced)."""
        self.images = images
        for name in ("fsync", "replace", "mkdir", "unlink"):
            patch.setattr(os, name, self._watched(name, getattr(os, name)))

    def _watched(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            with self._turn:
                self.calls += 1
                if self.calls == self.cut:
                    for target, seed in self.images:
                        self._write_survivors(target, seed)
                if self.calls >= self.cut:
                    raise PowerCutError
                result = real(*arguments, **named)
                if name == "fsync":
                    self._synced(Path(os.readlink(f"/proc/self/fd/{arguments[0]}")))
                return result

        return call

    def _synced(self, path: Path) -> None:
        number = path.stat().st_ino
        if path.is_dir():
            self._names[number] = _names(path)
        else:
            self._data[number] = path.read_bytes()

    def _write_survivors(self, target: Path, seed: int | None) -> None:
        paths = {path.stat().st_ino: path for path in (self.root, *self.root.rglob("*"))}
        rng = None if seed is None else random.Random(seed)
        # Written with the real calls: open and makedirs' mkdir are not counted, as the cut has come.
        self._write_folder(self.root.stat().st_ino, paths, target, rng)

    def _write_folder(self, number: int, paths: dict[int, Path], target: Path, rng: random.Random | None) -> None:
        _make(target)
        names = dict(self._names.get(number, {}))
        now = _names(paths[number]) if number in paths else {}
        for name in sorted({*names, *now}):
            by_sqlite = name.startswith("state.sqlite-")
            if by_sqlite or (rng is not None and rng.random() < 0.5):
                names.pop(name, None)
                names |= {name: now[name]} if name in now else {}
        for name, child in names.items():
            path = paths.get(child)
            if (path is not None and path.is_dir()) or child in self._names:
                self._write_folder(child, paths, target / name, rng)
            elif name.endswith("-shm"):
                continue
            elif name.startswith("state.sqlite") and path is not None:
                (target / name).write_bytes(path.read_bytes())
            else:
                content = path.read_bytes() if path is not None else b""
                part = 0 if rng is None else rng.randint(0, len(content))
                (target / name).write_bytes(self._data.get(child, content[:part]))


def _names(folder: Path) -> dict[str, int]:
    return {entry.name: entry.inode() for entry in os.scandir(folder)}


_real_mkdir = os.mkdir


def _make(folder: Path) -> None:
    if not folder.exists():
        _real_mkdir(folder)


class FailingDisk:
    """Lets the ``nth`` call of one kind on a file under ``root`` fail: a name of ``CALLS``, or ``"write"``.

    A failing write first writes half of the data, as a disk does that becomes full.
    """

    def __init__(self, root: Path, call: str, nth: int, code: int) -> None:
        self.root, self.call, self.nth, self.code, self.calls = root, call, nth, code, 0
        self._turn = threading.Lock()

    @property
    def hit(self) -> bool:
        """Whether a call has failed."""
        return self.calls >= self.nth

    def install(self, patch: pytest.MonkeyPatch) -> None:
        if self.call in ("write", "open"):
            patch.setattr("scripts.core.files.open", self._open, raising=False)
        if self.call != "write":
            real = getattr(os, self.call)

            def call(first: Any, *arguments: Any, **named: Any) -> Any:
                path = os.readlink(f"/proc/self/fd/{first}") if isinstance(first, int) else os.fspath(first)
                if path.startswith(str(self.root)):
                    self.count()
                return real(first, *arguments, **named)

            patch.setattr(os, self.call, call)

    def count(self) -> None:
        """Count a call, and fail when it is the one."""
        with self._turn:
            self.calls += 1
            fails = self.calls == self.nth
        if fails:
            raise OSError(self.code, os.strerror(self.code))

    def _open(self, path: Path, mode: str) -> Any:
        if self.call == "open":
            self.count()
            return open(path, mode)
        return _HalfWriter(open(path, mode), self)


class _HalfWriter:
    def __init__(self, file: Any, disk: FailingDisk) -> None:
        self._file, self._disk = file, disk

    def __enter__(self) -> _HalfWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: bytes) -> int:
        try:
            self._disk.count()
        except OSError:
            self._file.write(data[: len(data) // 2])
            raise
        return self._file.write(data)


ERRORS = (errno.EIO, errno.ENOSPC)
