from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.core.errors import InputError
from scripts.images.slide_files.box import Box
from scripts.images.slide_files.reader import BACKENDS, Slide
from tests.support.slides import tifffile, tissue, write_tiff

IMAGE = tissue(600, 500)


@pytest.fixture(scope="module")
def pyramid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiff(tmp_path_factory.mktemp("slides") / "a.tif", IMAGE, levels=3)


@pytest.mark.parametrize("backend", BACKENDS)
class TestBothBackends:
    def test_levels_and_pixels(self, backend: str, pyramid: Path) -> None:
        with Slide(pyramid, backend) as slide:
            assert [level.size for level in slide.levels] == [(600, 500), (300, 250), (150, 125)]
            assert [level.downsample for level in slide.levels] == [1.0, 2.0, 4.0]
            np.testing.assert_array_equal(slide.read(0, Box(10, 20, 310, 320)), IMAGE[10:310, 20:320])
            small = np.asarray(Image.fromarray(IMAGE).reduce(2))
            np.testing.assert_array_equal(slide.read(1, Box(100, 50, 300, 250)), small[100:300, 50:250])

    def test_resizing_in_parts_is_resizing_the_whole(self, backend: str, pyramid: Path) -> None:
        with Slide(pyramid, backend) as slide:
            for plane in ((400, 333), (600, 500), (901, 750), (37, 31)):
                whole = np.asarray(Image.fromarray(IMAGE).resize(plane[::-1], Image.Resampling.BICUBIC)).astype(int)
                cuts = [np.linspace(0, n, 4).astype(int) for n in plane]
                found = np.zeros_like(whole)
                for top, bottom in zip(cuts[0], cuts[0][1:], strict=False):
                    for left, right in zip(cuts[1], cuts[1][1:], strict=False):
                        box = Box(top, left, bottom, right)
                        found[box.slices()] = slide.read_resized(0, box, plane)
                away = np.abs(found - whole)  # Pillow rounds twice, and holds the box in single precision
                assert away.max() <= 2 and (away > 0).mean() < 0.05

    def test_what_is_left_out_is_white(self, backend: str, tmp_path: Path) -> None:
        with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
            tiles = iter([np.full((64, 64, 3), 8, np.uint8), None])
            writer.write(
                tiles, shape=(64, 128, 3), dtype=np.uint8, tile=(64, 64), compression="zlib", photometric="rgb"
            )
        with Slide(tmp_path / "a.tif", backend) as slide:
            found = slide.read(0, Box(0, 0, 64, 128))
        assert (found[:, :64] == 8).all() and (found[:, 64:] == 255).all()

    def test_size_of_the_pixels(self, backend: str, tmp_path: Path, pyramid: Path) -> None:
        options = {"resolution": (1e4 / 0.5, 1e4 / 0.25), "resolutionunit": "CENTIMETER"}
        with Slide(write_tiff(tmp_path / "a.tif", IMAGE, **options), backend) as slide:
            assert slide.mpp == pytest.approx((0.25, 0.5))
        with Slide(write_tiff(tmp_path / "b.tif", IMAGE, resolution=(72, 72), resolutionunit="INCH"), backend) as slide:
            assert slide.mpp is None  # 353 micrometres: what a program writes that knows nothing
        with Slide(pyramid, backend) as slide:
            assert slide.mpp is None

    @pytest.mark.parametrize("content", [b"", b"no slide at all", None])
    def test_a_file_that_is_no_slide(self, backend: str, content: bytes | None, tmp_path: Path, pyramid: Path) -> None:
        path = tmp_path / "bad.tif"
        path.write_bytes(pyramid.read_bytes()[:40] if content is None else content)
        with pytest.raises(InputError, match=r"bad\.tif: .*cannot open the slide.*--backend.*inference\.json"):
            Slide(path, backend)

    def test_damage_inside(self, backend: str, tmp_path: Path, pyramid: Path) -> None:
        path = tmp_path / "bad.tif"
        content = bytearray(pyramid.read_bytes())
        with tifffile.TiffFile(pyramid) as file:
            offset, count = file.pages[0].dataoffsets[0], file.pages[0].databytecounts[0]
        content[offset : offset + count] = b"\x00" * count
        path.write_bytes(content)
        with Slide(path, backend) as slide, pytest.raises(InputError, match=r"cannot be decoded"):
            slide.read(0, Box(0, 0, 10, 10))


@pytest.mark.parametrize(
    ("downsample", "level"), [(0.5, 0), (1.0, 0), (1.9, 0), (1.99, 1), (2.0, 1), (3.9, 1), (4.0, 2), (100.0, 2)]
)
def test_best_level_is_never_coarser_than_wanted(downsample: float, level: int, pyramid: Path) -> None:
    with Slide(pyramid) as slide:
        assert slide.best_level(downsample) == level


def test_refusals(pyramid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="openslide or tifffile"):
        Slide(pyramid, "cucim")
    with pytest.raises(InputError, match="slide is missing"):
        Slide(tmp_path / "none.tif")
    monkeypatch.setattr(importlib, "import_module", lambda name: (_ for _ in ()).throw(ImportError(name)))
    with pytest.raises(InputError, match=r"requirements-slide\.txt"):
        Slide(pyramid)
