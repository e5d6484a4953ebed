"""A two-dimensional array on the disk, written and read in parts, for planes that are too large for the memory.

It lies in blocks in an unnamed temporary file, which the system removes with the process, however that ends. Plain
reads and writes rather than a memory map: mapped pages count as memory of the process.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scripts.core.errors import Problem, StateError
from scripts.images.slide_files.box import Box

_BLOCK = 256
Part = tuple[slice, slice]


class DiskPlane:
    """An array (height, width); what was never written has the value ``fill`` and takes no space.

    Args:
        shape: (height, width).
        dtype: of the values.
        fill: what is read where nothing was written.
        folder: where the temporary file lies; it is made when missing.

    Attributes:
        before_reading: called with each box that is asked for. A forked process, which shares the plane, waits there
            until the box is complete.

    Raises:
        StateError: the disk is full, or the folder cannot be written; also from the methods.
    """

    def __init__(self, shape: tuple[int, int], dtype: npt.DTypeLike, fill: int, folder: Path) -> None:
        self.shape, self.dtype, self.fill = shape, np.dtype(dtype), fill
        self._columns = math.ceil(shape[1] / _BLOCK)
        self.before_reading: Callable[[Box], None] = lambda _: None
        blocks = (math.ceil(shape[0] / _BLOCK), self._columns)
        shared = mmap.mmap(-1, max(math.prod(blocks), 1))  # zeros, which forked processes share
        self._written = np.frombuffer(shared, bool, math.prod(blocks)).reshape(blocks)
        self._bytes = _BLOCK * _BLOCK * self.dtype.itemsize
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder, prefix=".plane-")  # noqa: SIM115 - see close
        except OSError as error:
            raise _full(folder, error) from error
        self._folder = folder

    def close(self) -> None:
        """Give the space back."""
        self._file.close()

    def write(self, box: Box, values: npt.NDArray) -> None:
        """Write ``values`` (height, width) to a box inside the plane. A box of ``fill`` in blank space is free."""
        if (values == self.fill).all() and not self._written[self._blocks(box)].any():
            return
        for row, column, here, there in self._parts(box):
            block = self._read_block(row, column)
            block[there] = values[here]
            self._write_block(row, column, block.tobytes())

    def read(self, box: Box) -> npt.NDArray:
        """Return a copy of a box inside the plane."""
        self.before_reading(box)
        height, width = (int(n) for n in box.size)
        found = np.full((height, width), self.fill, self.dtype)
        for row, column, here, there in self._parts(box):
            if self._written[row, column]:
                found[here] = self._read_block(row, column)[there]
        return found

    def is_blank(self, box: Box) -> bool:
        """Tell whether nothing was written near a box, so that it holds ``fill`` only; false tells nothing."""
        self.before_reading(box)
        return not self._written[self._blocks(box)].any()

    def _blocks(self, box: Box) -> tuple[slice, slice]:
        return (
            slice(int(box.top) // _BLOCK, math.ceil(box.bottom / _BLOCK)),
            slice(int(box.left) // _BLOCK, math.ceil(box.right / _BLOCK)),
        )

    def _parts(self, box: Box) -> Iterator[tuple[int, int, Part, Part]]:
        """Yield row and column of each block under the box, its place in the box and the box's place in it."""
        rows, columns = self._blocks(box)
        for row in range(rows.start, rows.stop):
            for column in range(columns.start, columns.stop):
                y, x = row * _BLOCK, column * _BLOCK
                shared = Box(max(box.top, y), max(box.left, x), min(box.bottom, y + _BLOCK), min(box.right, x + _BLOCK))
                yield row, column, shared.moved(box.top, box.left).slices(), shared.moved(y, x).slices()

    def _read_block(self, row: int, column: int) -> npt.NDArray:
        if not self._written[row, column]:
            return np.full((_BLOCK, _BLOCK), self.fill, self.dtype)
        try:
            data = os.pread(self._file.fileno(), self._bytes, (row * self._columns + column) * self._bytes)
        except OSError as error:
            raise _full(self._folder, error) from error
        return np.frombuffer(bytearray(data), self.dtype).reshape(_BLOCK, _BLOCK)

    def _write_block(self, row: int, column: int, data: bytes) -> None:
        offset = (row * self._columns + column) * self._bytes
        try:
            while data:  # a disk that is getting full takes a part first
                count = os.pwrite(self._file.fileno(), data, offset)
                data, offset = data[count:], offset + count
        except OSError as error:
            raise _full(self._folder, error) from error
        self._written[row, column] = True


def _full(folder: Path, error: OSError) -> StateError:
    cure = "Free space there, or name another folder for temporary files with --scratch_dir."
    return StateError(Problem(f"temporary file fails ({error.strerror or error})", str(folder), cure=cure))
