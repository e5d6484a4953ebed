from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.core.errors import InputError
from scripts.images.reading import read_image
from tests.support.image_files import GREY, RGB, fault, nifti


def test_unusable_files_are_refused_with_their_reason(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "whole.png")
    content = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "cut.png").write_bytes(content[:-30])
    (tmp_path / "png.jpg").write_bytes(content)
    (tmp_path / "text.png").write_bytes(b"not a png")
    (tmp_path / "a.heic").write_bytes(b"GIF89a")
    (tmp_path / "text.nii").write_bytes(b"not a nifti" * 50)
    Image.fromarray(RGB).save(tmp_path / "pages.tif", save_all=True, append_images=[Image.fromarray(RGB)])
    Image.fromarray(RGB).save(tmp_path / "moving.png", save_all=True, append_images=[Image.fromarray(RGB[::-1])])
    assert fault(tmp_path / "absent.png") == "file is missing"
    assert fault(tmp_path / "empty.png") == "file is empty"
    assert fault(tmp_path / "cut.png") == "cannot be decoded"
    assert fault(tmp_path / "png.jpg") == "the content is not what the suffix says"
    assert fault(tmp_path / "text.png") == "the content is no image that can be read"
    assert fault(tmp_path / "a.heic") == "not a format that can be read"
    assert fault(tmp_path / "text.nii") == "cannot be decoded"
    assert fault(tmp_path / "pages.tif") == "animated or multi-page file"
    assert fault(tmp_path / "moving.png") == "animated or multi-page file"


@pytest.mark.parametrize("suffix", [".bmp", ".jpg", ".tif", ".nii", ".nii.gz"])
def test_truncated_files_of_every_format_are_refused(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    path = tmp_path / f"a{suffix}"
    if "nii" in suffix:
        nifti(path, noise)
    else:
        Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert fault(path) == "cannot be decoded"


def test_decompression_bombs_are_refused_by_pillows_own_limit(tmp_path: Path, monkeypatch) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    nifti(tmp_path / "a.nii", GREY)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 17)  # 35 pixels are more than twice that
    assert fault(tmp_path / "a.png") == "too many pixels to be decoded safely"
    assert fault(tmp_path / "a.nii") == "too many pixels to be decoded safely"


class TestSlidesAmongImages:
    """What is a whole slide is sent to its own command."""

    def cure(self, path: Path) -> str:
        with pytest.raises(InputError) as caught:
            read_image(path)
        return caught.value.problems[0].cure

    def test_a_pyramid(self, tmp_path: Path) -> None:
        tifffile = pytest.importorskip("tifffile")
        with tifffile.TiffWriter(tmp_path / "p.tif") as file:
            for size in (256, 128):
                file.write(np.zeros((size, size, 3), np.uint8), tile=(64, 64), photometric="rgb")
        assert f"--config_file bundle/configs/slide.json --slides {tmp_path / 'p.tif'}" in self.cure(tmp_path / "p.tif")

    def test_pages_that_are_no_pyramid(self, tmp_path: Path) -> None:
        Image.fromarray(RGB).save(tmp_path / "a.tif", save_all=True, append_images=[Image.fromarray(RGB)])
        assert self.cure(tmp_path / "a.tif") == "Save one page alone."

    def test_one_level_of_too_many_pixels(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("a.tif", "a.png"):
            Image.fromarray(RGB).save(tmp_path / name)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1)
        assert "slide.json" in self.cure(tmp_path / "a.tif")
        assert "slide.json" not in self.cure(tmp_path / "a.png")
