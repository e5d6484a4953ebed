from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from scripts.core.errors import StateError
from scripts.images.slide_files.box import Box
from scripts.slides.disk_plane import DiskPlane


def random_box(rng: np.random.Generator, shape: tuple[int, int]) -> Box:
    (top, bottom), (left, right) = (sorted(rng.integers(0, n + 1, 2).tolist()) for n in shape)
    return Box(top, left, max(bottom, top + 1) if top < shape[0] else bottom, right)


@pytest.mark.parametrize("dtype", [np.int16, np.uint8])
def test_is_an_array(dtype: type, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shape = (700, 530)
    expected, plane = np.full(shape, 7, dtype), DiskPlane(shape, dtype, 7, tmp_path)
    for _ in range(40):
        box = random_box(rng, shape)
        values = rng.integers(0, 100, tuple(int(n) for n in box.size)).astype(dtype)
        expected[box.slices()] = values
        plane.write(box, values)
        box = random_box(rng, shape)
        np.testing.assert_array_equal(plane.read(box), expected[box.slices()])
    np.testing.assert_array_equal(plane.read(Box(0, 0, *shape)), expected)
    plane.close()


def test_blank_space_takes_none(tmp_path: Path) -> None:
    plane = DiskPlane((5000, 5000), np.int16, -1, tmp_path)
    plane.write(Box(0, 0, 5000, 5000), np.full((5000, 5000), -1, np.int16))
    assert plane.is_blank(Box(0, 0, 5000, 5000))
    plane.write(Box(4000, 4000, 4001, 4001), np.array([[3]], np.int16))
    assert os.fstat(plane._file.fileno()).st_blocks * 512 < 1024**2
    assert not plane.is_blank(Box(3900, 3900, 4100, 4100)) and plane.is_blank(Box(0, 0, 1000, 1000))
    plane.write(Box(4000, 4000, 4001, 4001), np.array([[-1]], np.int16))  # written space can become blank again
    assert plane.read(Box(4000, 4000, 4001, 4001)).item() == -1


def test_leaves_nothing_behind(tmp_path: Path) -> None:
    plane = DiskPlane((10, 10), np.uint8, 0, tmp_path / "new")
    plane.write(Box(0, 0, 10, 10), np.ones((10, 10), np.uint8))
    assert list((tmp_path / "new").iterdir()) == []  # not even while it is open
    plane.close()


def test_a_part_that_the_disk_did_not_take_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plane, write = DiskPlane((300, 300), np.uint8, 0, tmp_path), os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: write(file, data[:1000], at))
    values = np.random.default_rng(0).integers(0, 255, (300, 300)).astype(np.uint8)
    plane.write(Box(0, 0, 300, 300), values)
    np.testing.assert_array_equal(plane.read(Box(0, 0, 300, 300)), values)


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    plane = DiskPlane((10, 10), np.uint8, 0, tmp_path)
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(StateError, match=r"No space left.*--scratch_dir"):
        plane.write(Box(0, 0, 10, 10), np.ones((10, 10), np.uint8))


def test_a_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="file"):
        DiskPlane((10, 10), np.uint8, 0, tmp_path / "file")
