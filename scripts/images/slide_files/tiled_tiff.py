"""MONAI's tifffile reader for slides, changed so that a patch costs its own tiles and not its whole level.

MONAI's ``TiffFileWSIReader`` decodes a level in full for every patch (MONAI issue 6513), so that memory and time grow
with the slide. Here only the tiles (or strips) under the patch are decoded. Levels are those that tifffile finds, be
they pages of their own or sub-images (SubIFDs) as in OME-TIFF.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from scripts.core.errors import InputError, Problem

LARGEST_SEGMENT = 64 * 1024**2
"""Bytes of a decoded tile or strip beyond which a file is refused: it has to be held as a whole."""


def tiled_tiff_reader(**options: Any) -> Any:
    """Return MONAI's reader for tifffile, changed as this module says, for 8-bit grey, RGB or RGBA slides.

    Pixels come as RGBA in ``mode="RGBA"``, where alpha is 0 for tiles that the file leaves out.

    Args:
        options: of MONAI's reader.
    """
    from monai.data.wsi_reader import TiffFileWSIReader  # here: lists of images are read without torch

    return type("TiledTiffReader", (_Tiled, TiffFileWSIReader), {})(**options)


class _Tiled:
    """What differs from MONAI's reader; to stand before it."""

    channel_dim: int

    def read(self, data: Any, **kwargs: Any) -> Any:
        """Open a file.

        Raises:
            InputError: a level that cannot be read in parts, or pixels of another kind.
        """
        wsi = super().read(data, **kwargs)  # type: ignore[misc]
        try:
            for page in self._pages(wsi):
                _refuse_unfit(page, str(data))
        except InputError:
            wsi.close()
            raise
        return wsi

    def get_level_count(self, wsi: Any) -> int:
        """Return the number of levels."""
        return len(self._pages(wsi))

    def get_size(self, wsi: Any, level: int) -> tuple[int, int]:
        """Return (height, width) of a level."""
        page = self._pages(wsi)[level]
        return page.imagelength, page.imagewidth

    def get_downsample_ratio(self, wsi: Any, level: int) -> float:
        """Return how many times less high a level is than the first."""
        return float(self.get_size(wsi, 0)[0]) / float(self.get_size(wsi, level)[0])

    @staticmethod
    def _pages(wsi: Any) -> list[Any]:
        return [level.keyframe for level in wsi.series[0].levels]

    def _get_patch(
        self, wsi: Any, location: tuple[int, int], size: tuple[int, int], level: int, dtype: Any, mode: str
    ) -> npt.NDArray:
        page, full = self._pages(wsi)[level], self.get_size(wsi, 0)
        shape = self.get_size(wsi, level)
        top, left = (round(location[axis] * shape[axis] / full[axis]) for axis in (0, 1))
        patch = _decoded(wsi, page, top, left, size)
        channels = 4 if mode == "RGBA" else 3
        return np.moveaxis(patch[..., :channels].astype(dtype, copy=False), -1, self.channel_dim)


def _decoded(wsi: Any, page: Any, top: int, left: int, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return the pixels (height, width, 4) of a page; what lies outside or is left out is 0, with alpha 0."""
    patch = np.zeros((*size, 4), np.uint8)
    high, wide = _segment_size(page)
    columns = math.ceil(page.imagewidth / wide)
    bottom, right = min(top + size[0], page.imagelength), min(left + size[1], page.imagewidth)
    for row in range(max(top, 0) // high, math.ceil(bottom / high)):
        for column in range(max(left, 0) // wide, math.ceil(right / wide)):
            pixels = _segment(wsi, page, row * columns + column)
            if pixels is None:
                continue
            y, x = row * high, column * wide  # of the segment in the page
            ys = slice(max(top, y), min(bottom, y + len(pixels)))
            xs = slice(max(left, x), min(right, x + pixels.shape[1]))
            here = patch[ys.start - top : ys.stop - top, xs.start - left : xs.stop - left]
            found = pixels[ys.start - y : ys.stop - y, xs.start - x : xs.stop - x]
            here[..., :3] = found[..., :3]  # one grey channel spreads over three
            here[..., 3] = found[..., 3] if found.shape[2] == 4 else 255
    return patch


def _segment(wsi: Any, page: Any, index: int) -> npt.NDArray[np.uint8] | None:
    """Return a decoded tile or strip, (h, w, samples); None for one that the file leaves out."""
    count = page.databytecounts[index]
    if count == 0:
        return None
    with wsi.filehandle.lock:
        wsi.filehandle.seek(page.dataoffsets[index])
        data = wsi.filehandle.read(count)
    pixels, _, _ = page.decode(data, index, jpegtables=page.jpegtables)
    return None if pixels is None else pixels[0]  # (1, h, w, samples) -> (h, w, samples)


def _segment_size(page: Any) -> tuple[int, int]:
    return (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)


def _refuse_unfit(page: Any, where: str) -> None:
    samples = page.samplesperpixel
    palette = page.photometric is not None and page.photometric.name == "PALETTE"
    if page.dtype != np.uint8 or samples not in (1, 3, 4) or (samples > 1 and page.planarconfig != 1) or palette:
        found = f"{page.dtype}, {samples} samples per pixel, {page.photometric!s}"
        raise InputError(Problem("pixels of the slide cannot be used", where, "8-bit grey, RGB or RGBA", found))
    high, wide = _segment_size(page)
    if min(high, page.imagelength) * wide * samples > LARGEST_SEGMENT:
        cure = "Write it anew as a tiled pyramid, for example with vips tiffsave --tile --pyramid."
        raise InputError(Problem("slide is stored in one piece", where, "tiles", f"{high} x {wide} pixels", cure))
