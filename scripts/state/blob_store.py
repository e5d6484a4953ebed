"""Files that are named by the hash of what they hold."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from scripts.core.errors import Problem, StateError
from scripts.core.files import fsync_folder, make_folder, write_atomic, writing

DRAWN = ".drawn.png"
"""Suffix of masks that people drew: unlike all that a run makes, they cannot be made again."""
_WRITERS = 8  # threads; the disk serves their syncs together
_SUFFIX = re.compile(r"(\.[a-z0-9]{1,16})*")
_NAME = re.compile(r"[0-9a-f]{64}" + _SUFFIX.pattern)


def is_blob_name(name: str) -> bool:
    """Tell whether a text is the name of a blob, which leads nowhere but into a store."""
    return _NAME.fullmatch(name) is not None


class BlobStore:
    """Files named ``<sha256><suffix>`` in ``<folder>/<first two hex digits>/``. Writing the same bytes twice is free.

    Safe for use by many threads; of several processes only one may write.

    Args:
        folder: root of the store; made at the first write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, data: bytes, suffix: str = "") -> str:
        """Store ``data`` and return its name; it is on the disk when this returns.

        Args:
            data: the content.
            suffix: ``""`` or lower-case extensions such as ``".npz"``.

        Raises:
            StateError: it cannot be written.
            ValueError: the suffix is not of that form.
        """
        if not _SUFFIX.fullmatch(suffix):
            raise ValueError(f"suffix {suffix!r} is not of the form .npz: lower-case letters and digits after dots")
        name = hashlib.sha256(data).hexdigest() + suffix
        path = self.path(name)
        with writing(path):
            # Compared in full, so that a file spoiled on the disk is mended by writing it anew.
            if path.is_file() and path.read_bytes() == data:
                fsync_folder(path.parent)
                return name
        write_atomic(path, data)
        return name

    def put_all(self, contents: Iterable[bytes], suffix: str = "") -> list[str]:
        """Store many contents and return their names in the same order; as :meth:`put`, at a tenth of its time.

        The disk serves the syncs of several threads together.
        """
        with ThreadPoolExecutor(_WRITERS) as writers:
            return list(writers.map(lambda data: self.put(data, suffix), contents))

    def read(self, name: str) -> bytes:
        """Return the content of ``name``, checked against its hash.

        Raises:
            StateError: the file is missing, cannot be read or has other content than when it was written.
            ValueError: ``name`` is not the name of a blob.
        """
        path = self.path(name)
        cure = "Bring back the file from a backup of the run's folder; the run cannot go on without it."
        try:
            data = path.read_bytes()
        except OSError as error:
            fault = f"file of the run cannot be read ({error.strerror})"
            raise StateError(Problem(fault, where=str(path), cure=cure)) from error
        found = hashlib.sha256(data).hexdigest()
        if found != name[:64]:
            fault = "file of the run was changed"
            problem = Problem(fault, str(path), f"SHA-256 {name[:64]}", f"{found} ({len(data)} bytes)", cure)
            raise StateError(problem)
        return data

    def path(self, name: str) -> Path:
        """Return where ``name`` lies; ``ValueError`` unless it is a blob's name, so no path leads out of the store."""
        if not is_blob_name(name):
            raise ValueError(f"{name!r} is not the name of a blob")
        return self.folder / name[:2] / name

    def names(self) -> Iterator[str]:
        """Yield the names of all blobs on the disk, in no order."""
        for _, _, names in os.walk(self.folder):
            yield from filter(_NAME.fullmatch, names)

    def remove(self, name: str) -> None:
        """Remove one blob; nothing happens when it is not there. Raises ``StateError``."""
        path = self.path(name)
        with writing(path):
            path.unlink(missing_ok=True)

    def move(self, name: str, folder: Path) -> None:
        """Move one blob out of the store into ``folder``, under its name. Raises ``StateError``."""
        make_folder(folder)
        with writing(folder / name):
            self.path(name).replace(folder / name)
            fsync_folder(folder)
