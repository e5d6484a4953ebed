"""Regions of slides that stand for images: a small text file says which pixels of which slide, and none is copied.

A file ``NAME.region`` holds JSON: ``slide`` (path, relative to the file's folder), ``backend``, ``level`` that is read,
``area`` ([top, left, bottom, right] in pixels of level 0), ``size`` ([height, width] of the image it stands for), and
what the slide was when the region was made, ``file_bytes`` and ``digest`` (:func:`digest_of`). The slide of a mask is
one of masks.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from scripts.core.errors import InputError, Problem
from scripts.core.files import plain_file
from scripts.images.slide_files.box import Box
from scripts.images.slide_files.reader import BACKENDS, Slide

_MOST_BYTES = 64 * 1024
_MOST_OPEN = 8
_BLOCKS, _BLOCK = 64, 64 * 1024  # of a slide that are looked at for its digest
_ANEW = "Make the pool anew with python -m scripts.data slides."
_REMAKE = f"Bring the slide back as it was. {_ANEW.replace('Make', 'Or make')}"


@dataclass(frozen=True)
class Region:
    """A part of a slide.

    Attributes:
        slide: path of the slide, relative to the folder of the region's file or absolute.
        backend: one of :data:`scripts.images.slide_files.reader.BACKENDS`.
        level: of the slide that is read.
        area: pixels of level 0.
        size: (height, width) of the image that it stands for.
        file_bytes: size of the slide's file.
        digest: see :func:`digest_of`.
    """

    slide: str
    backend: str
    level: int
    area: Box
    size: tuple[int, int]
    file_bytes: int
    digest: str

    def text(self) -> bytes:
        """Return the content of the region's file."""
        return f"{json.dumps({**asdict(self), 'area': list(self.area)})}\n".encode()

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels of level 0 per pixel of the region, (y, x)."""
        return self.area.size[0] / self.size[0], self.area.size[1] / self.size[1]

    def slide_path(self, file: Path) -> Path:
        """Return where the slide is, for the region in ``file``."""
        return Path(os.path.normpath(file.resolve().parent / self.slide))


def load_region(path: Path | str) -> Region:
    """Read a region's file, not the slide.

    Raises:
        InputError: the file cannot be read, or is none.
    """
    with plain_file(path) as file:
        content = file.read(_MOST_BYTES + 1)
    try:
        if len(content) > _MOST_BYTES:
            raise ValueError(f"more than {_MOST_BYTES} bytes")
        return _region_of(json.loads(content))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        found = f"{type(error).__name__}: {error}"[:200]
        raise InputError(Problem("not a region of a slide", str(path), "JSON of a region", found, _ANEW)) from error


def _region_of(told: Any) -> Region:
    """Return the region that JSON tells. Raises ``ValueError``, ``TypeError`` or ``KeyError``."""
    area = Box(*(float(edge) for edge in told["area"]))
    height, width = (int(side) for side in told["size"])
    if not all(map(math.isfinite, area)) or area.top < 0 or area.left < 0 or min(area.size) <= 0:
        raise ValueError(f"area {list(area)}")
    if min(height, width) < 1 or height * width > 2 * (Image.MAX_IMAGE_PIXELS or height * width):
        raise ValueError(f"size {told['size']}")
    if told["backend"] not in BACKENDS:
        raise ValueError(f"backend {told['backend']!r}")
    return Region(
        str(told["slide"]), told["backend"], int(told["level"]), area, (height, width), int(told["file_bytes"]),
        str(told["digest"]),
    )  # fmt: skip


def read_region(path: Path, bits: int = 8, content: bytes | None = None) -> npt.NDArray[np.uint8]:
    """Return the pixels of a region, uint8 (H, W, 3) RGB; what the slide leaves out is white.

    Args:
        path: of the region's file.
        bits: slides have 8, whatever other images of a data set have.
        content: of the file, where it was read; a region that is no file of the data set is refused.

    Raises:
        InputError: file or slide cannot be read, the slide is another one, or the region is not in it.
    """
    _refuse_sent(path, content)
    region = load_region(path)
    return _opened(path, region).read_area(region.level, region.area, region.size)


def size_of_region(path: Path, content: bytes | None = None) -> tuple[int, int]:
    """Return (H, W) of :func:`read_region`, from the region's file alone; ``InputError`` where that is none."""
    _refuse_sent(path, content)
    return load_region(path).size


def _refuse_sent(path: Path, content: bytes | None) -> None:
    """Raise InputError for a region that is no file of the data set: it could name any slide."""
    if content is not None:
        raise InputError(Problem("a region of a slide cannot be sent", path.name, "pixels", "the name of a file"))


def region_values(path: Path) -> npt.NDArray[np.uint8]:
    """Return the values of a mask's region, uint8 (H, W), by nearest neighbour; what the slide leaves out is 0.

    Raises:
        InputError: as :func:`read_region`.
    """
    region = load_region(path)
    return _opened(path, region).read_values(region.level, region.area, region.size)


def _opened(path: Path, region: Region) -> Slide:
    slide = opened_slide(region.slide_path(path), region.backend, region.file_bytes, region.digest)
    height, width = slide.size
    if not 0 <= region.level < len(slide.levels) or region.area.bottom > height or region.area.right > width:
        expected = f"within {width} x {height} pixels and {len(slide.levels)} levels"
        found = f"level {region.level}, {list(region.area)}"
        raise InputError(Problem("region is not in its slide", str(path), expected, found, _REMAKE))
    return slide


def opened_slide(path: Path, backend: str, size: int, digest: str) -> Slide:
    """Return a slide that stays open for further regions; any thread may read from it.

    Args:
        path: the file.
        backend: see :class:`Slide`.
        size: bytes that it had.
        digest: that it had, see :func:`digest_of`.

    Raises:
        InputError: it cannot be opened, or is not what it was.
    """
    try:
        found = path.stat()
    except OSError as error:
        text = error.strerror or str(error)
        raise InputError(Problem("slide is missing", str(path), "a file", text, _REMAKE)) from error
    if found.st_size != size:
        expected = f"{size} bytes"
        raise InputError(Problem(_CHANGED, str(path), expected, f"{found.st_size} bytes", _REMAKE))
    # A forked process shares no open file with its parent: both would move one position.
    return _kept_open(path, backend, digest, found.st_mtime_ns, os.getpid())


_CHANGED = "slide changed since its regions were made"


@lru_cache(maxsize=_MOST_OPEN)
def _kept_open(path: Path, backend: str, digest: str, _time: int, _process: int) -> Slide:
    found = digest_of(path)
    if found != digest:
        raise InputError(Problem(_CHANGED, str(path), f"digest {digest}", found, _REMAKE))
    return Slide(path, backend)


def digest_of(path: Path) -> str:
    """Return 16 hex digits that tell a slide from another: of its size and 64 blocks of 64 KiB, evenly spread.

    To hash all of a slide would take longer than to read the regions of a round.

    Raises:
        InputError: the file cannot be read.
    """
    with plain_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        hashed = hashlib.sha256(str(size).encode())
        for start in sorted({max(0, size - _BLOCK) * at // (_BLOCKS - 1) for at in range(_BLOCKS)}):
            file.seek(start)
            hashed.update(file.read(_BLOCK))
    return hashed.hexdigest()[:16]
