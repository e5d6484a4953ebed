from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts.core.errors import InputError
from scripts.images.slide_files import tiled_tiff
from scripts.images.slide_files.tiled_tiff import tiled_tiff_reader
from tests.support.slides import tifffile, tissue, write_tiff

IMAGE = tissue(300, 410)


def opened(path: Path) -> tuple[Any, Any]:
    reader = tiled_tiff_reader(channel_dim=-1, mode="RGBA")
    return reader, reader.read(str(path))


def patch(path: Path, top: int, left: int, height: int, width: int, level: int = 0, mode: str = "RGBA") -> np.ndarray:
    reader, wsi = opened(path)
    pixels, _ = reader.get_data(wsi, location=(top, left), size=(height, width), level=level, mode=mode)
    wsi.close()
    return np.asarray(pixels)


LAYOUTS = {
    "tiles": {},
    "tiles and no compression": {"compression": None, "tile": (64, 48)},
    "strips": {"tile": None, "rowsperstrip": 7},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("box", [(0, 0, 300, 410), (130, 100, 1, 1), (17, 33, 200, 300), (290, 400, 10, 10)])
def test_patches_are_the_pixels(layout: str, box: tuple[int, int, int, int], tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", IMAGE, **LAYOUTS[layout])
    top, left, height, width = box
    found = patch(path, *box)
    np.testing.assert_array_equal(found[..., :3], IMAGE[top : top + height, left : left + width])
    assert (found[..., 3] == 255).all()


def test_other_channels(tmp_path: Path) -> None:
    grey = write_tiff(tmp_path / "grey.tif", IMAGE[..., 0])
    found = patch(grey, 0, 0, 300, 410)
    assert all((found[..., channel] == IMAGE[..., 0]).all() for channel in range(3))
    rgba = np.dstack([IMAGE, np.full(IMAGE.shape[:2], 9, np.uint8)])
    path = write_tiff(tmp_path / "rgba.tif", rgba, photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(patch(path, 0, 0, 300, 410), rgba)
    np.testing.assert_array_equal(patch(path, 0, 0, 300, 410, mode="RGB"), IMAGE)


def test_levels_as_pages_and_as_sub_images(tmp_path: Path) -> None:
    small = IMAGE[::2, ::2]
    pages = write_tiff(tmp_path / "pages.tif", IMAGE, levels=3)
    with tifffile.TiffWriter(tmp_path / "sub.tif") as writer:
        writer.write(IMAGE, subifds=1, tile=(64, 64), photometric="rgb")
        writer.write(small, subfiletype=1, tile=(64, 64), photometric="rgb")
    reader, wsi = opened(pages)
    sizes = [reader.get_size(wsi, level) for level in range(reader.get_level_count(wsi))]
    assert sizes == [(300, 410), (150, 205), (75, 103)]
    assert reader.get_downsample_ratio(wsi, 2) == 4.0
    reader, wsi = opened(tmp_path / "sub.tif")
    assert reader.get_level_count(wsi) == 2
    np.testing.assert_array_equal(patch(tmp_path / "sub.tif", 100, 60, 30, 40, 1)[..., :3], small[50:80, 30:70])


def test_only_the_tiles_under_a_patch_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    segment = tiled_tiff._segment
    monkeypatch.setattr(tiled_tiff, "_segment", lambda wsi, page, at: seen.append(at) or segment(wsi, page, at))
    patch(write_tiff(tmp_path / "a.tif", IMAGE), 100, 100, 20, 60)  # 4 columns of tiles of 128 pixels
    assert seen == [0, 1]


def test_what_a_file_leaves_out_is_transparent(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        tiles = iter([np.full((64, 64), 8, np.uint8), None])
        writer.write(tiles, shape=(64, 128), dtype=np.uint8, tile=(64, 64), compression="zlib")
    found = patch(tmp_path / "a.tif", 0, 0, 64, 128)
    assert (found[:, :64] == (8, 8, 8, 255)).all() and (found[:, 64:] == 0).all()


@pytest.mark.parametrize(
    ("image", "options"),
    [(IMAGE.astype(np.uint16), {}), (np.moveaxis(IMAGE, -1, 0), {"planarconfig": "separate", "photometric": "rgb"})],
)
def test_refuses_other_pixels(image: np.ndarray, options: dict[str, Any], tmp_path: Path) -> None:
    settings = {"tile": (64, 64), **options}
    tifffile.imwrite(tmp_path / "a.tif", image, **settings)
    with pytest.raises(InputError, match="8-bit grey, RGB or RGBA"):
        opened(tmp_path / "a.tif")


def test_refuses_what_cannot_be_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiled_tiff, "LARGEST_SEGMENT", 100_000)
    opened(write_tiff(tmp_path / "tiles.tif", IMAGE))
    with pytest.raises(InputError, match=r"in one piece.*vips"):
        opened(write_tiff(tmp_path / "one.tif", IMAGE, tile=None, rowsperstrip=300))
