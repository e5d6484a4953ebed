"""Durable files: atomic writing, left-over files, hashes, and an image id as a file name.

A file appears under its final name only when all of it is on the disk: temporary file in the *same* folder (a rename
across disks is a copy), flush, fsync, rename, fsync of the folder (else a power cut may forget the rename). Whatever
fails in between leaves the old file as it was.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import itertools
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from scripts.core.errors import InputError, Problem, StateError

_TEMPORARY = re.compile(r"\.write-[0-9a-f]{16}\.tmp")


def fsync_folder(folder: Path) -> None:
    """Wait until the names in ``folder`` are on the disk. Raises ``OSError``."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync a folder and say so with EINVAL; they order renames themselves.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make ``folder`` and its parents, synced to the disk; nothing happens where it exists. Raises ``StateError``."""
    with writing(folder):
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for path in reversed(missing):
            fsync_folder(path.parent)


def write_atomic(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` so that the old or the new file is there at any instant, never a part of one.

    Args:
        path: file to make or replace; its folder is made when missing.
        data: the whole content.

    Raises:
        StateError: no space, no permission, a fault of the disk; the old file, if any, is untouched unless only the
            last step (fsync of the folder) failed, when the new one may be there.
    """
    with atomic_file(path) as file, writing(path):
        file.write(data)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to write that becomes ``path`` when the block ends, and vanishes when the block raises.

    It is for content that is too large to be held: see :func:`write_atomic` for what is guaranteed.

    Args:
        path: file to make or replace; its folder is made when missing.

    Raises:
        StateError: as :func:`write_atomic`; what the block itself raises passes through.
    """
    make_folder(path.parent)
    with writing(path):
        file, temporary = _own_temporary(path.parent)
    try:
        with file:
            yield file
            with writing(path):
                file.flush()
                os.fsync(file.fileno())
                os.replace(temporary, path)  # still locked: nobody takes the file for a leftover
        with writing(path):
            fsync_folder(path.parent)
    finally:
        # After a failed fsync the kernel may have dropped the pages: the temporary file is never used again.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path, deep: bool = True) -> int:
    """Remove temporary files that a killed :func:`write_atomic` left under ``folder``; return how many.

    Only names of our own pattern are touched, and links to folders are not followed. A file that a living process
    writes is locked and stays, so runs may share a folder.

    Args:
        folder: where to look; it need not exist.
        deep: look into the folders in it too.

    Raises:
        StateError: one cannot be removed.
    """
    count = 0
    with writing(folder):
        for parent, _, names in os.walk(folder) if deep else itertools.islice(os.walk(folder), 1):
            for name in filter(_TEMPORARY.fullmatch, names):
                count += _remove_unless_locked(Path(parent) / name)
    return count


def _own_temporary(folder: Path) -> tuple[BinaryIO, Path]:
    """Make a temporary file and lock it; another process may have taken it for a leftover before the lock: try anew."""
    while True:
        temporary = folder / f".write-{secrets.token_hex(8)}.tmp"
        file = open(temporary, "xb")  # noqa: SIM115 - the caller closes it
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        except OSError:
            file.close()
            temporary.unlink(missing_ok=True)
            raise
        if temporary.exists():
            return file, temporary
        file.close()


def _remove_unless_locked(path: Path) -> bool:
    """Remove a temporary file whose writer is dead: the kernel drops a lock with the process that held it."""
    with contextlib.suppress(FileNotFoundError, BlockingIOError), open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
        return True
    return False


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a fault of the file system at ``path`` into a :class:`StateError` with a cure."""
    try:
        yield
    except OSError as error:
        cure = "Free space or give permission, then run the same command again; nothing stored before is lost."
        raise StateError(
            Problem(f"cannot be written ({error.strerror or error})", where=str(path), cure=cure)
        ) from error


_RESERVED = set('<>:"/\\|?*%')  # a system or the escape itself needs them


def file_stem(key: str) -> str:
    """Return an image id as a file name without suffix, valid on every system: ``"p1/a"`` -> ``"p1%2Fa"``."""
    safe = "".join(quote(char, safe="") if char in _RESERVED or not char.isprintable() else char for char in key)
    if safe.startswith("."):
        safe = f"%2E{safe[1:]}"
    return f"{safe[:-1]}{'%2E' if safe[-1] == '.' else '%20'}" if safe[-1:] in (".", " ") else safe


def file_sha256(path: Path | str) -> str:
    """Return the SHA-256 of a file's bytes as 64 hex digits.

    Raises:
        InputError: the file cannot be read, or is none.
    """
    with plain_file(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def plain_file(path: Path | str) -> Iterator[BufferedReader]:
    """Open a file for reading, and nothing else: to open a pipe waits for ever, and a device may never end.

    Raises:
        InputError: it cannot be read, also within the block, or is no plain file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:  # ValueError: a name that no file system takes
        found = getattr(error, "strerror", None) or str(error)
        raise InputError(Problem("file cannot be read", str(path), found=found)) from error
    try:
        with open(descriptor, "rb") as stream:
            kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
            if kind != stat.S_IFREG:
                raise InputError(_no_plain_file(str(path), kind))
            yield stream
    except OSError as error:
        raise InputError(Problem("file cannot be read", str(path), found=error.strerror or str(error))) from error


def refuse_unless_plain(path: Path) -> None:
    """Raise InputError unless ``path`` is a file that can be read from its beginning to its end."""
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except OSError as error:
        raise InputError(Problem("file cannot be read", str(path), found=error.strerror or str(error))) from error
    if kind != stat.S_IFREG:
        raise InputError(_no_plain_file(str(path), kind))


def _no_plain_file(where: str, kind: int) -> Problem:
    names = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
    return Problem("not a plain file", where, "a file", names.get(kind, "a device"), "Take it away.")


@contextlib.contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """Yield a folder of our own that is gone after the block.

    Raises:
        StateError: there is no room for it; what the block itself raises passes through.
    """
    try:
        made = tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
    except OSError as error:
        where = os.environ.get("TMPDIR", "the system's folder of temporary files")
        raise StateError(Problem("no temporary folder can be made", where, found=str(error), cure=TEMPORARY)) from error
    with made as name:
        yield Path(name)


TEMPORARY = "Free space there, or name another folder in the environment variable TMPDIR."
