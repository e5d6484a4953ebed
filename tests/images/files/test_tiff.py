"""TIFF of pages that are channels, and of numbers that Pillow takes for others; written by tifffile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts.core.errors import InputError
from scripts.images.masks import read_mask
from scripts.images.reading import highest_value, image_size, read_image
from tests.support.image_files import GREY, RGB, problem_of

tifffile = pytest.importorskip("tifffile")
PLANES = np.concatenate([np.moveaxis(RGB, -1, 0), GREY[None] // 4])
IMAGEJ = {"imagej": True, "metadata": {"axes": "CYX"}}
OME = {"metadata": {"axes": "CYX"}, "photometric": "minisblack"}


def written(path: Path, values: np.ndarray, **told: Any) -> Path:
    tifffile.imwrite(path, values, **told)
    return path


class TestChannels:
    @pytest.mark.parametrize(("name", "told"), [("a.tif", IMAGEJ), ("a.ome.tif", OME)])
    @pytest.mark.parametrize("count", [2, 3, 4])
    def test_are_red_green_blue_and_grey_over_all(self, tmp_path: Path, name: str, told: dict, count: int) -> None:
        path = written(tmp_path / name, PLANES[:count], **told)
        expected = np.zeros((5, 7, 3), int)
        for channel, plane in enumerate(PLANES[: min(count, 3)]):
            expected[..., channel] = plane
        expected += PLANES[3][..., None] if count == 4 else 0
        assert np.array_equal(read_image(path), np.minimum(expected, 255))
        assert np.array_equal(read_image(path, content=path.read_bytes()), np.minimum(expected, 255))
        assert image_size(path) == (5, 7)

    def test_their_bits_are_those_of_the_data_set(self, tmp_path: Path) -> None:
        path = written(tmp_path / "a.tif", PLANES[:3].astype(np.uint16) * 16 + 15, **IMAGEJ)
        assert highest_value(path) == int(RGB.max()) * 16 + 15
        assert np.array_equal(read_image(path, 12), RGB)

    def test_a_mask_is_one_page(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"multi-page file.*3 channels\).*of a mask one page"):
            read_mask(written(tmp_path / "a.ome.tif", PLANES[:3], **OME))


class TestPagesThatAreNot:
    def found(self, path: Path) -> str:
        problem = problem_of(path)
        assert problem.what == "animated or multi-page file"
        return problem.found

    def test_slices_and_frames(self, tmp_path: Path) -> None:
        z = written(tmp_path / "z.tif", PLANES[:3], imagej=True, metadata={"axes": "ZYX"})
        assert self.found(z) == "several pages (3 images, 3 slices)"
        t = written(
            tmp_path / "t.ome.tif", np.stack([PLANES[:2]] * 2), photometric="minisblack", metadata={"axes": "TCYX"}
        )
        assert self.found(t) == "several pages (2 channels, 2 frames)"

    def test_nothing_says_what_they_are(self, tmp_path: Path) -> None:
        assert self.found(written(tmp_path / "a.tif", PLANES[:3], photometric="minisblack")) == "several pages"

    def test_more_than_four(self, tmp_path: Path) -> None:
        path = written(tmp_path / "a.tif", np.concatenate([PLANES, PLANES[:1]]), **IMAGEJ)
        assert self.found(path) == "several pages (5 images, 5 channels)"

    def test_more_pages_than_channels(self, tmp_path: Path) -> None:
        with tifffile.TiffWriter(tmp_path / "a.tif") as file:
            for number in range(3):
                text = "ImageJ=1.53t\nimages=2\nchannels=2\n" if number == 0 else None
                file.write(GREY, photometric="minisblack", description=text, metadata=None)
        assert self.found(tmp_path / "a.tif") == "several pages (2 images, 2 channels)"

    def test_pages_behind_the_pixels_of_one(self, tmp_path: Path) -> None:
        """Of more than 4 GB ImageJ writes so: the first page alone would be read."""
        text = "ImageJ=1.53t\nimages=3\nchannels=3\n"
        path = written(tmp_path / "a.tif", GREY, photometric="minisblack", description=text, metadata=None)
        assert self.found(path) == "several pages (3 images, 3 channels)"


class TestNumbers:
    @pytest.mark.parametrize(
        ("values", "found"),
        [(GREY.astype(np.float64), "1 x 64 bits, float"), (GREY.astype(np.complex64), "1 x 64 bits, complex"),
         (RGB.astype(np.float32), "3 x 32 bits, float"), (np.concatenate([RGB, RGB], axis=2), "6 x 8 bits, unsigned")],
    )  # fmt: skip
    @pytest.mark.parametrize("big", [False, True])
    def test_that_pillow_does_not_read_are_named(self, tmp_path: Path, values: Any, found: str, big: bool) -> None:
        told = {"planarconfig": "contig", "photometric": "minisblack"} if values.ndim == 3 else {}
        problem = problem_of(written(tmp_path / "a.tif", values, bigtiff=big, **told))
        assert (problem.what, problem.found) == ("TIFF of numbers that cannot be read", found)

    @pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32, np.uint32, np.float32])
    def test_are_stretched_by_their_own_type(self, tmp_path: Path, kind: type) -> None:
        low, high = (-128, 127) if kind is np.int8 else (0, 2**32 - 1) if kind is np.uint32 else (-9, 9)
        path = written(tmp_path / "a.tif", np.array([[low, high]], kind))
        assert read_image(path)[0, :, 0].tolist() == [0, 255]

    def test_of_a_mask_are_numbers_of_objects(self, tmp_path: Path) -> None:
        values = np.zeros((6, 6), np.uint32)
        values[1:3, 1:3] = 2**31 + 5
        assert np.array_equal(read_mask(written(tmp_path / "a.tif", values)), values > 0)
        with pytest.raises(InputError, match="negative values"):
            read_mask(written(tmp_path / "b.tif", -(values > 0).astype(np.int8)))
