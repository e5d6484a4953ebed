from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.core.errors import InputError
from scripts.images.files.names import image_stem, is_image_file
from scripts.images.files.pictures import opened_picture
from scripts.images.masks import read_mask
from scripts.images.reading import image_size, read_image
from scripts.images.slide_files.box import Box
from scripts.images.slide_files.region import load_region
from tests.support.regions import write_region
from tests.support.slides import tissue, write_tiff

IMAGE = tissue(300, 410)


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiff(tmp_path_factory.mktemp("slides") / "a.tif", IMAGE, levels=2, photometric="rgb")


@pytest.mark.parametrize("backend", ["openslide", "tifffile"])
@pytest.mark.parametrize(("top", "left"), [(0, 0), (17, 33), (200, 310)])
def test_pixels_of_level_0_are_those_of_the_slide(
    slide: Path, tmp_path: Path, backend: str, top: int, left: int
) -> None:
    path = write_region(
        tmp_path / "r.region", slide, Box(top, left, top + 100, left + 100), (100, 100), backend=backend
    )
    np.testing.assert_array_equal(read_image(path), IMAGE[top : top + 100, left : left + 100])
    assert image_size(path) == (100, 100)


def test_a_reduced_region_is_resized_as_images_are(slide: Path, tmp_path: Path) -> None:
    path = write_region(tmp_path / "r.region", slide, Box(40, 60, 240, 360), (100, 150))
    whole = Image.fromarray(IMAGE).resize((150, 100), Image.Resampling.BICUBIC, box=(60, 40, 360, 240))
    np.testing.assert_array_equal(read_image(path), np.asarray(whole))


def test_a_smaller_level(slide: Path, tmp_path: Path) -> None:
    path = write_region(tmp_path / "r.region", slide, Box(40, 60, 240, 360), (100, 150), level=1)
    small = np.asarray(Image.fromarray(IMAGE).reduce(2))
    np.testing.assert_array_equal(read_image(path), small[20:120, 30:180])


def test_it_goes_by_the_name_of_an_image() -> None:
    assert is_image_file("a.region") and image_stem("x/a.b.region") == "a.b" and not is_image_file("._a.region")


def test_a_slide_beside_it_may_move_with_it(slide: Path, tmp_path: Path) -> None:
    for place in ("one", "two"):
        copy = tmp_path / place / "slides" / "a.tif"
        copy.parent.mkdir(parents=True)
        copy.write_bytes(slide.read_bytes())
        path = write_region(tmp_path / place / "pool" / "r.region", copy, Box(0, 0, 50, 50), (50, 50))
        path.write_text(path.read_text().replace(str(copy), "../slides/a.tif"))
        np.testing.assert_array_equal(read_image(path), IMAGE[:50, :50])


class TestMasks:
    def test_of_a_slide_of_masks_by_nearest_neighbour(self, tmp_path: Path) -> None:
        values = ((np.arange(300)[:, None] // 7 + np.arange(400) // 5) % 2 * 255).astype(np.uint8)
        path = write_region(
            tmp_path / "m.region", write_tiff(tmp_path / "m.tif", values, photometric="minisblack"),
            Box(30, 40, 230, 240), (100, 100),
        )  # fmt: skip
        rows, columns = np.arange(31, 231, 2), np.arange(41, 241, 2)
        np.testing.assert_array_equal(read_mask(path), values[rows[:, None], columns] // 255)

    def test_what_the_file_leaves_out_is_background(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from scripts.images.slide_files import tiled_tiff

        path = write_tiff(tmp_path / "m.tif", np.full((200, 200), 255, np.uint8), photometric="minisblack")
        segment = tiled_tiff._segment
        monkeypatch.setattr(tiled_tiff, "_segment", lambda wsi, page, at: None if at == 0 else segment(wsi, page, at))
        region = write_region(tmp_path / "m.region", path, Box(0, 0, 200, 200), (200, 200), backend="tifffile")
        assert not read_mask(region)[:128, :128].any() and read_mask(region)[128:].all()

    def test_one_that_somebody_sends_is_no_mask(self, slide: Path, tmp_path: Path) -> None:
        path = write_region(tmp_path / "m.region", slide, Box(0, 0, 50, 50), (50, 50))
        with pytest.raises(InputError, match="not a format that can be read"):
            read_mask(path, content=path.read_bytes())
        with pytest.raises(InputError, match="not a format that can be read"), opened_picture(path):
            pass


class TestRefused:
    @pytest.mark.parametrize(
        "text",
        ["", "{}", "[1]", '{"slide": 1}', "\xff"],
    )
    def test_what_is_no_region(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "a.region").write_bytes(text.encode("latin-1"))
        with pytest.raises(InputError, match=r"not a region of a slide; expected JSON.*Make the pool anew"):
            read_image(tmp_path / "a.region")

    @pytest.mark.parametrize(
        "changes",
        [{"area": Box(0, 0, 0, 9)}, {"area": Box(-1, 0, 9, 9)}, {"area": Box(0, 0, float("inf"), 9)}, {"size": (0, 9)},
         {"size": (10**6, 10**6)}, {"backend": "pickle"}],
    )  # fmt: skip
    def test_values_out_of_range(self, slide: Path, tmp_path: Path, changes: dict) -> None:
        path = write_region(tmp_path / "a.region", slide, **{"area": Box(0, 0, 9, 9), "size": (9, 9), **changes})
        with pytest.raises(InputError, match="not a region of a slide"):
            load_region(path)

    def test_a_region_beyond_its_slide(self, slide: Path, tmp_path: Path) -> None:
        path = write_region(tmp_path / "a.region", slide, Box(0, 0, 301, 9), (301, 9))
        with pytest.raises(InputError, match="region is not in its slide; expected within 410 x 300 pixels"):
            read_image(path)
        path = write_region(tmp_path / "a.region", slide, Box(0, 0, 30, 9), (30, 9), level=7)
        with pytest.raises(InputError, match="region is not in its slide"):
            read_image(path)

    def test_a_slide_that_is_gone_or_another(self, slide: Path, tmp_path: Path) -> None:
        copy = tmp_path / "a.tif"
        copy.write_bytes(slide.read_bytes())
        path = write_region(tmp_path / "a.region", copy, Box(0, 0, 9, 9), (9, 9))
        read_image(path)
        content = bytearray(copy.read_bytes())
        content[-1] ^= 1  # as large as before
        copy.write_bytes(content)
        os.utime(copy, ns=(1, 1))
        with pytest.raises(InputError, match=r"slide changed since its regions were made.*digest"):
            read_image(path)
        copy.write_bytes(content[:-1])
        with pytest.raises(InputError, match=r"slide changed.*bytes.*Bring the slide back"):
            read_image(path)
        copy.unlink()
        with pytest.raises(InputError, match="slide is missing"):
            read_image(path)


def test_threads_read_the_same(slide: Path, tmp_path: Path) -> None:
    areas = [Box(y, x, y + 60, x + 60) for y in range(0, 240, 40) for x in range(0, 340, 40)]
    paths = [write_region(tmp_path / f"{n}.region", slide, area, (60, 60)) for n, area in enumerate(areas)]
    wrong: list[Box] = []

    def read() -> None:
        for path, area in zip(paths, areas, strict=True):
            if not (read_image(path) == IMAGE[area.slices()]).all():
                wrong.append(area)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
