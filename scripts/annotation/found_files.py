"""Files between a run and the people who draw: names that can be read back, and what lies in a folder of masks."""

from __future__ import annotations

import contextlib
import itertools
import lzma
import os
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import unquote

from scripts.core.errors import InputError, Problem, StateError
from scripts.core.files import plain_file, refuse_unless_plain, temporary_folder, writing
from scripts.images.drawn.outline_files import SUFFIXES
from scripts.images.files.names import SUFFIXES as IMAGE_SUFFIXES

SKIP = ".skip"
"""A text file ``<name>.skip`` says that an image cannot be drawn; its text is the reason."""

_KNOWN = (*reversed(IMAGE_SUFFIXES), *SUFFIXES, SKIP)
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, NotImplementedError, RuntimeError, OSError, EOFError,
    ValueError, LookupError, ArithmeticError, MemoryError,
)  # fmt: skip
"""What Python's reader raises on damaged archives; for a password it is a ``RuntimeError``."""
_LONGEST_NAME = 255  # bytes, what file systems take
_MEMBER_BYTES, _ARCHIVE_BYTES, _MEMBERS = 64 * 1024**2, 1024**3, 10_000
_DIRECTORY_BYTES = _MEMBERS * 512
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""What can be unpacked piece by piece; Python unpacks the others whole, however much that is."""
_MOST_PROBLEMS = 20


def key_of(name: str) -> str:
    """Return the image id that a file is for: :func:`file_stem` undone, without the suffix of a known format."""
    lower = name.lower()
    suffix = next((s for s in _KNOWN if lower.endswith(s)), PurePosixPath(name).suffix)
    return unquote(name[: len(name) - len(suffix)] if suffix else name)


@dataclass(frozen=True)
class Found:
    """One file that somebody put into a folder of masks.

    Attributes:
        path: where its content can be read while the iteration stands at it.
        origin: where it lies, relative to the folder; members of an archive behind its name.
        user: annotator by the sub-folder it lies in, ``""`` for none.
        image: id of the image that it is for, where its content tells; ``""`` where its name does.
    """

    path: Path
    origin: str
    user: str
    image: str = ""

    @property
    def key(self) -> str:
        """Id of the image that it is for."""
        return self.image or key_of(PurePosixPath(self.origin).name)

    @property
    def is_skip(self) -> bool:
        """Whether it says that the image cannot be drawn."""
        return self.path.suffix.lower() == SKIP


def found_files(folder: Path, problems: list[Problem]) -> Iterator[Found]:
    """Yield what people put into ``folder`` and its sub-folders, one per annotator, archives opened, in order of name.

    Hidden files are passed over. Links that lead out of the folder, pipes and other things that are no files are
    problems, and so are names that nothing could store.

    Args:
        folder: it need not exist.
        problems: what cannot even be opened is added to.

    Raises:
        StateError: there is no room to unpack an archive.
    """
    for path in _paths(folder, problems):
        inner = path.relative_to(folder)
        problem = _not_usable(folder, inner)
        if problem is not None:
            problems.append(problem)
            continue
        user = inner.parts[0] if len(inner.parts) > 1 else ""
        if path.suffix.lower() == ".zip":
            yield from _members(path, inner.as_posix(), user, problems)
        else:
            yield Found(path, inner.as_posix(), user)


def _paths(folder: Path, problems: list[Problem]) -> list[Path]:
    """Return what lies in a folder and its sub-folders, without hidden names and folders."""

    def closed(error: OSError) -> None:
        if Path(error.filename) != folder or folder.exists():
            problems.append(Problem("folder cannot be read", str(error.filename), found=error.strerror or str(error)))

    found = []
    for parent, folders, names in os.walk(folder, onerror=closed):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [name for name in folders if Path(parent, name).is_symlink()]  # they are not walked into
        found += [Path(parent, name) for name in (*names, *links) if not name.startswith(".")]
    return sorted(found)


def _not_usable(folder: Path, inner: Path) -> Problem | None:
    name = str(inner)
    if not name.isprintable():  # also where bytes of the name are no text
        return Problem("name cannot be used", name, "printable letters", cure="Give the file another name.")
    try:
        target = (folder / inner).resolve(strict=True)
        if not target.is_relative_to(folder.resolve()):
            return Problem("link leads out of the folder", name, f"a file in {folder}", str(target))
        refuse_unless_plain(target)
    except InputError as error:
        return replace(error.problems[0], where=name)
    except (OSError, RuntimeError) as error:  # RuntimeError: a link to itself
        return Problem("file cannot be read", name, "a plain file", getattr(error, "strerror", None) or str(error))
    return None


def _members(path: Path, origin: str, user: str, problems: list[Problem]) -> Iterator[Found]:
    try:
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(temporary_folder("masks-"))
            file = stack.enter_context(plain_file(path))
            _refuse_large_directory(file, origin)
            archive = stack.enter_context(zipfile.ZipFile(file))
            members = [info for info in archive.infolist() if not info.filename.endswith("/")]
            problems += (refused := list(itertools.islice(_unfit(members, origin), _MOST_PROBLEMS)))
            for info in [] if refused else sorted(members, key=lambda info: info.filename):
                with archive.open(info) as member:
                    data = member.read(info.file_size + 1)  # else all is unpacked at once, whatever its size
                target = folder / info.filename  # a plain name, see _unfit
                with writing(target):
                    target.write_bytes(data)
                yield Found(target, f"{origin}/{info.filename}", user)
                target.unlink()
    except StateError:
        raise
    except InputError as error:
        problems += error.problems
    except _DAMAGED as error:
        cure = "Save it again, or unpack it here."
        problems.append(Problem("archive cannot be read", origin, "an intact zip file", str(error), cure))


def _refuse_large_directory(file: BinaryIO, origin: str) -> None:
    """Raise InputError before an archive's directory is read, which may name millions of files."""
    end = zipfile._EndRecData(file)  # type: ignore[attr-defined]
    size = end[zipfile._ECD_SIZE] if end else 0  # type: ignore[attr-defined]
    if size > _DIRECTORY_BYTES:
        expected = f"{_MEMBERS} files, a directory of {_DIRECTORY_BYTES} bytes"
        raise InputError(Problem("archive is too large", origin, expected, f"{size} bytes"))


def _is_plain(name: str) -> bool:
    return (
        Path(name).name == name
        and name[:1] not in ("", ".")
        and name.isprintable()
        and not set(name) & set("\\:")
        and len(name.encode()) <= _LONGEST_NAME
    )


def _unfit(members: Sequence[zipfile.ZipInfo], origin: str) -> Iterator[Problem]:
    """Yield what speaks against an archive; sizes are those its directory states, which reading does not exceed."""
    if not members:
        yield Problem("archive is empty", origin, "masks")
    for info in members:
        name = info.filename
        if not _is_plain(name):
            yield Problem("archive holds more than plain files", origin, "names without folders", repr(name))
        elif info.compress_type not in _METHODS:
            found = f"{name}, method {info.compress_type}"
            cure = "Save it again as a usual zip file."
            yield Problem("archive is packed in a way that cannot be read", origin, "stored or deflated", found, cure)
        elif info.file_size > _MEMBER_BYTES:
            found = f"{name}, {info.file_size} bytes"
            yield Problem("file in an archive is too large", origin, f"at most {_MEMBER_BYTES} bytes", found)
    twice = [name for name, count in Counter(info.filename for info in members).items() if count > 1]
    if twice:  # which of them counts nobody could say
        yield Problem("archive holds a file twice", origin, "each name once", repr(twice[0]))
    total = sum(info.file_size for info in members)
    if len(members) > _MEMBERS or total > _ARCHIVE_BYTES:
        found = f"{len(members)} files, {total} bytes"
        yield Problem("archive is too large", origin, f"{_MEMBERS} files, {_ARCHIVE_BYTES} bytes", found)


def read_reason(path: Path) -> str:
    """Return the first 500 letters of a text file; ``InputError`` when it cannot be read."""
    with plain_file(path) as file:
        text = file.read(2000).decode("utf-8", errors="ignore")
    return "".join(char if char.isprintable() else " " for char in text).strip()[:500]
