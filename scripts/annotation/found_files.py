"""Files between a run and the people who draw: names that can be read back, and what lies in a folder of masks."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from scripts.core.errors import InputError, Problem
from scripts.images.outlines import SUFFIXES
from scripts.images.reading import FORMATS, NIFTI_SUFFIXES

SKIP = ".skip"
"""A text file ``<name>.skip`` says that an image cannot be drawn; its text is the reason."""

_KNOWN = (*NIFTI_SUFFIXES, *FORMATS, *SUFFIXES, SKIP)
_MEMBER_BYTES, _ARCHIVE_BYTES, _MEMBERS = 64 * 1024**2, 1024**3, 10_000


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
    """

    path: Path
    origin: str
    user: str

    @property
    def key(self) -> str:
        """Id of the image that it is for, by its name."""
        return key_of(PurePosixPath(self.origin).name)

    @property
    def is_skip(self) -> bool:
        """Whether it says that the image cannot be drawn."""
        return self.path.suffix.lower() == SKIP


def found_files(folder: Path, problems: list[Problem]) -> Iterator[Found]:
    """Yield what people put into ``folder`` and its sub-folders, one per annotator, archives opened, in order of name.

    Hidden files are passed over, links that lead out of the folder are problems.

    Args:
        folder: it need not exist.
        problems: what cannot even be opened is added to.
    """
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        if any(part.startswith(".") for part in inner.parts) or path.is_dir():
            continue
        if not path.resolve().is_relative_to(folder.resolve()):
            problems.append(
                Problem("link leads out of the folder", str(inner), f"a file in {folder}", str(path.resolve()))
            )
            continue
        user = inner.parts[0] if len(inner.parts) > 1 else ""
        if path.suffix.lower() == ".zip":
            yield from _members(path, inner.as_posix(), user, problems)
        else:
            yield Found(path, inner.as_posix(), user)


def _members(path: Path, origin: str, user: str, problems: list[Problem]) -> Iterator[Found]:
    try:
        with contextlib.ExitStack() as stack:
            archive = stack.enter_context(zipfile.ZipFile(path))
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="masks-")))
            members = [info for info in archive.infolist() if not info.is_dir()]
            problems += (refused := list(_unfit(members, origin)))
            for info in [] if refused else sorted(members, key=lambda info: info.filename):
                target = folder / info.filename  # a plain name, see _unfit
                with archive.open(info) as source, target.open("wb") as sink:
                    shutil.copyfileobj(source, sink)
                yield Found(target, f"{origin}/{info.filename}", user)
                target.unlink()
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError) as error:
        cure = "Save it again, or unpack it here."
        problems.append(Problem("archive cannot be read", origin, "an intact zip file", str(error), cure))


def _unfit(members: Iterable[zipfile.ZipInfo], origin: str) -> Iterator[Problem]:
    """Yield what speaks against an archive; sizes are those its directory states, which reading does not exceed."""
    members = list(members)
    for info in members:
        if Path(info.filename).name != info.filename or set(info.filename) & set("\\:\0") or info.filename[:1] == ".":
            yield Problem("archive holds more than plain files", origin, "names without folders", repr(info.filename))
        elif info.file_size > _MEMBER_BYTES:
            found = f"{info.filename}, {info.file_size} bytes"
            yield Problem("file in an archive is too large", origin, f"at most {_MEMBER_BYTES} bytes", found)
    total = sum(info.file_size for info in members)
    if len(members) > _MEMBERS or total > _ARCHIVE_BYTES:
        found = f"{len(members)} files, {total} bytes"
        yield Problem("archive is too large", origin, f"{_MEMBERS} files, {_ARCHIVE_BYTES} bytes", found)


def read_reason(path: Path) -> str:
    """Return the first 500 letters of a text file; ``InputError`` when it is no text."""
    try:
        text = path.read_bytes()[:2000].decode("utf-8", errors="ignore")
    except OSError as error:
        raise InputError(Problem("reason cannot be read", path.name, found=str(error))) from error
    return "".join(char if char.isprintable() else " " for char in text).strip()[:500]
