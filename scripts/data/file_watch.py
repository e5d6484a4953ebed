"""Files that must stay as they were read: looked at often, hashed again only where they look different."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from scripts.core.errors import InputError, Problem
from scripts.core.files import file_sha256

Stamp = tuple[int, int, int]
"""Size, time of the last change of the content, and of anything about the file, both in nanoseconds."""


def stamp_of(path: str) -> Stamp | None:
    """Return what the file system says of a file, without reading it; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


class ChangedFileError(InputError):
    """A file is not what it was when the run read it; what was done with it since is not about the run's image."""


@dataclass
class FileWatch:
    """Remembers files with their hashes and tells which are no longer the same.

    The hash decides. It is computed anew only for a file whose size or times differ, so that looking at a hundred
    thousand files takes less than a second; a content that was changed while all three were kept is not found.
    """

    _files: dict[str, tuple[str, str, Stamp | None]] = field(default_factory=dict)  # path -> name, hash, stamp

    def add(self, name: str, path: str, sha256: str, stamp: Stamp | None) -> None:
        """Watch a file.

        Args:
            name: what messages call it, e.g. ``"mask of a_01"``.
            path: the file.
            sha256: of its content.
            stamp: taken before it was read, so that a change during the reading counts as one after it.
        """
        self._files[path] = name, sha256, stamp

    def changed(self) -> list[Problem]:
        """Name each file that is gone or has another content than when it was added."""
        return [problem for path in list(self._files) if (problem := self.problem(path)) is not None]

    def problem(self, path: str) -> Problem | None:
        """Return what became of one file, None where it is as it was or is not watched."""
        if path not in self._files:
            return None
        name, sha256, stamp = self._files[path]
        now = stamp_of(path)
        if now is not None and now == stamp:
            return None
        try:
            found = file_sha256(path)
        except InputError as error:
            return Problem("file is gone since the run read it", name, path, error.problems[0].found, _CURE)
        if found == sha256:
            self._files[path] = name, sha256, now
            return None
        what = "file (SHA-256) changed since the run read it"
        return Problem(what, f"{name} ({path})", sha256, found, _CURE)

    def require_same(self, path: str) -> None:
        """Raise :class:`ChangedFileError` where a file is gone or has another content than when it was added."""
        problem = self.problem(path)
        if problem is not None:
            raise ChangedFileError(problem)


_CURE = "Bring the file back as it was, and go on: a server at once, a command when it is given again."
