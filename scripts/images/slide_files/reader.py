"""Whole slides, read in parts through MONAI's readers: levels, size of the pixels, regions over a white ground.

What is transparent or left out in a file is white, the colour of an empty slide; MONAI's readers alone make it black.
"""

from __future__ import annotations

import math
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from scripts.core.errors import InputError, Problem
from scripts.core.optional import needed
from scripts.images.files.faults import IMAGE_COMMAND
from scripts.images.files.names import image_suffix
from scripts.images.slide_files.box import Box
from scripts.images.slide_files.tiled_tiff import tiled_tiff_reader

BACKENDS = ("openslide", "tifffile")
SUFFIXES = (".svs", ".tif", ".tiff", ".ndpi", ".scn", ".mrxs", ".vms", ".vmu", ".bif", ".svslide")
_PLAUSIBLE_MPP = (0.02, 20.0)  # default resolutions of other programs, such as 72 dpi, are no measurements
_LEVEL_TOLERANCE = 1.01  # levels are not exact powers of two
_BICUBIC_REACH = 2.0  # source pixels on each side, per pixel that is made
_READING_ERRORS = (OSError, ValueError, KeyError, IndexError, TypeError, RuntimeError, struct.error, zlib.error)


@dataclass(frozen=True)
class Level:
    """One resolution of a slide.

    Attributes:
        size: (height, width) in pixels.
        downsample: how many times smaller it is than level 0, the mean of both directions.
    """

    size: tuple[int, int]
    downsample: float


class Slide:
    """An open slide; to be used in a ``with`` statement. Several threads may read from it.

    Args:
        path: the file.
        backend: ``"openslide"``, or ``"tifffile"`` for tiled TIFF that OpenSlide does not know.

    Attributes:
        path: the file.
        levels: from the largest to the smallest.
        mpp: micrometres per pixel of level 0, (y, x); None where the file does not say.

    Raises:
        InputError: the package of the backend is missing; the file is not a slide that it can read.
    """

    def __init__(self, path: Path, backend: str = "openslide") -> None:
        if backend not in BACKENDS:
            raise InputError(Problem("unknown", "backend", " or ".join(BACKENDS), repr(backend)))
        package = needed(backend)
        self._errors = (*_READING_ERRORS, getattr(package, "OpenSlideError", OSError))
        if not path.is_file():
            raise InputError(Problem("slide is missing", str(path), "a file"))
        options: dict[str, Any] = {"channel_dim": -1, "mode": "RGBA"}
        self.path, self.backend = path, backend
        self._reader: Any = _openslide_reader(**options) if backend == "openslide" else tiled_tiff_reader(**options)
        try:
            self._wsi = self._reader.read(str(path))
            sizes = [self._reader.get_size(self._wsi, at) for at in range(self._reader.get_level_count(self._wsi))]
        except InputError:
            raise
        except self._errors as error:
            other = "tifffile" if backend == "openslide" else "openslide"
            cure = f"Replace the file, or try --backend {other}."
            if image_suffix(path):  # a TIFF may be either
                cure += f" If it is an image of usual size, predict it with {IMAGE_COMMAND} {path}."
            raise InputError(
                Problem(f"{backend} cannot open the slide", str(path), found=_text(error), cure=cure)
            ) from error
        full = sizes[0]
        self.levels = tuple(Level(size, (full[0] / size[0] + full[1] / size[1]) / 2) for size in sizes)
        self.mpp = self._stored_mpp()

    def __enter__(self) -> Slide:
        return self

    def __exit__(self, *_: object) -> None:
        self._wsi.close()

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of level 0."""
        return self.levels[0].size

    def best_level(self, downsample: float) -> int:
        """Return the smallest level that is still as fine as ``downsample`` slide pixels per pixel."""
        fine = [at for at, level in enumerate(self.levels) if level.downsample <= downsample * _LEVEL_TOLERANCE]
        return max(fine, key=lambda at: self.levels[at].downsample, default=0)

    def read(self, level: int, box: Box) -> npt.NDArray[np.uint8]:
        """Return the pixels of a box, uint8 (height, width, 3) RGB.

        Args:
            level: which.
            box: whole pixels of that level, inside it.

        Raises:
            InputError: the file is damaged there.
        """
        return _over_white(self._rgba(level, box))

    def _rgba(self, level: int, box: Box) -> npt.NDArray[np.uint8]:
        height, width = (int(n) for n in box.size)
        by = [full / part for full, part in zip(self.size, self.levels[level].size, strict=True)]
        location = (round(box.top * by[0]), round(box.left * by[1]))  # MONAI wants it in pixels of level 0
        try:
            pixels, _ = self._reader.get_data(self._wsi, location=location, size=(height, width), level=level)
        except self._errors as error:
            where = f"{self.path}, level {level}, y {location[0]}, x {location[1]}"
            raise InputError(Problem("slide cannot be decoded", where, found=_text(error))) from error
        return np.asarray(pixels)

    def read_resized(self, level: int, box: Box, plane: tuple[int, int]) -> npt.NDArray[np.uint8]:
        """Return a box of the slide at another resolution, uint8 (height, width, 3) RGB.

        Resized as training images are (Pillow's bicubic filter), with the pixels around the box, so that neighbouring
        boxes give together what the whole gives.

        Args:
            level: to read from.
            box: whole pixels of the plane.
            plane: size of the whole slide at that resolution.
        """
        full = self.levels[level].size
        by = (full[0] / plane[0], full[1] / plane[1])
        size = (int(box.size[0]), int(box.size[1]))
        source = box.scaled(by)
        return self.read(level, source) if full == plane else self._resized(level, source, by, size)

    def read_area(self, level: int, area: Box, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
        """Return a box of the slide at any size, uint8 (height, width, 3) RGB, resized as :meth:`read_resized` does.

        Args:
            level: to read from.
            area: pixels of level 0, inside it.
            size: (height, width) of what is returned.
        """
        source = self._on_level(level, area)
        by = (source.size[0] / size[0], source.size[1] / size[1])
        if by == (1.0, 1.0) and all(float(edge).is_integer() for edge in source):
            return self.read(level, source)
        return self._resized(level, source, by, size)

    def read_values(self, level: int, area: Box, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
        """Return a box of a mask at any size, uint8 (height, width), by nearest neighbour: no new values come up.

        Of colours the largest channel is returned; what is transparent or left out is 0.

        Args:
            level: to read from.
            area: pixels of level 0, inside it.
            size: (height, width) of what is returned.
        """
        source = self._on_level(level, area)
        full = self.levels[level].size
        at = [
            np.minimum(np.floor(low + (np.arange(count) + 0.5) * (high - low) / count).astype(int), most - 1)
            for low, high, count, most in zip(source[:2], source[2:], size, full, strict=True)
        ]
        box = Box(at[0][0], at[1][0], at[0][-1] + 1, at[1][-1] + 1)
        pixels = self._rgba(level, box)
        values = np.where(pixels[..., 3] > 0, pixels[..., :3].max(axis=2), np.uint8(0))
        return np.ascontiguousarray(values[(at[0] - at[0][0])[:, None], at[1] - at[1][0]])

    def _on_level(self, level: int, area: Box) -> Box:
        """Return an area of level 0 in pixels of a level, which need not be whole."""
        size = self.levels[level].size
        return area.scaled((size[0] / self.size[0], size[1] / self.size[1]))

    def _resized(
        self, level: int, source: Box, by: tuple[float, float], size: tuple[int, int]
    ) -> npt.NDArray[np.uint8]:
        full = self.levels[level].size
        reach = [math.ceil(_BICUBIC_REACH * max(factor, 1.0)) + 1 for factor in by]
        region = Box(
            max(math.floor(source.top) - reach[0], 0),
            max(math.floor(source.left) - reach[1], 0),
            min(math.ceil(source.bottom) + reach[0], full[0]),
            min(math.ceil(source.right) + reach[1], full[1]),
        )
        inner = source.moved(region.top, region.left)
        picture = Image.fromarray(self.read(level, region))
        inner = Box(inner.top, inner.left, min(inner.bottom, picture.height), min(inner.right, picture.width))
        part = (inner.left, inner.top, inner.right, inner.bottom)
        return np.asarray(picture.resize(size[::-1], Image.Resampling.BICUBIC, box=part))

    def _stored_mpp(self) -> tuple[float, float] | None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a missing unit
            try:
                found = self._reader.get_mpp(self._wsi, 0)
            except self._errors:
                return None
        low, high = _PLAUSIBLE_MPP
        return (float(found[0]), float(found[1])) if all(low <= value <= high for value in found) else None


def _openslide_reader(**options: Any) -> Any:
    from monai.data import WSIReader  # here: lists of images are read without torch

    return WSIReader("openslide", **options)


def _over_white(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Compose RGBA (H, W, 4) with a white ground: (H, W, 3)."""
    alpha = pixels[..., 3]
    if alpha.min() == 255:
        return np.ascontiguousarray(pixels[..., :3])
    seen = alpha[..., None].astype(np.uint16)
    return ((pixels[..., :3] * seen + 255 * (255 - seen) + 127) // 255).astype(np.uint8)


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]
