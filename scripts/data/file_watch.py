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
        problems = []
        for path, (name, sha256, stamp) in self._files.items():
            now = stamp_of(path)
            if now is not None and now == stamp:
                continue
            try:
                found = file_sha256(path)
            except InputError as error:
                problems.append(
                    Problem("file is gone since the run read it", name, path, error.problems[0].found, _CURE)
                )
                continue
            if found == sha256:
                self._files[path] = name, sha256, now
            else:
                what = "file (SHA-256) changed since the run read it"
                problems.append(Problem(what, f"{name} ({path})", sha256, found, _CURE))
        return problems


_CURE = "Bring the file back as it was, then run the same command again; or choose another output folder for a new run."
