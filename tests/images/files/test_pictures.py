from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.core.errors import InputError
from scripts.images.reading import image_size, read_image
from tests.support.image_files import GREY, RGB


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".tiff", ".PNG", ".webp", ".jp2"])
def test_lossless_formats_keep_every_rgb_value(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(RGB).save(path, **({"lossless": True} if suffix == ".webp" else {}))
    assert np.array_equal(read_image(path), RGB)
    assert image_size(path) == (5, 7)


def test_gif_has_the_colours_of_its_palette_and_one_frame(tmp_path: Path) -> None:
    picture = Image.fromarray(RGB).quantize(8)
    picture.save(tmp_path / "a.gif")
    assert np.array_equal(read_image(tmp_path / "a.gif"), np.asarray(picture.convert("RGB")))
    frames = [Image.new("L", (7, 5), grey) for grey in (10, 200)]
    for name in ("b.gif", "b.webp"):
        frames[0].convert("RGB").save(tmp_path / name, save_all=True, append_images=[frames[1].convert("RGB")])
        with pytest.raises(InputError, match="animated or multi-page"):
            read_image(tmp_path / name)


def test_jpeg_is_close_and_rgb(tmp_path: Path) -> None:
    flat = np.full((16, 24, 3), (200, 60, 20), np.uint8)
    for name in ("a.jpg", "a.jfif", "a.webp"):
        Image.fromarray(flat).save(tmp_path / name, quality=95)
        assert np.abs(read_image(tmp_path / name).astype(int) - flat).max() <= 3


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png"), np.stack([GREY] * 3, axis=-1))


def test_palette_colours_are_looked_up(tmp_path: Path) -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.putpixel((1, 0), 1)
    picture.save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[[10, 20, 30], [200, 100, 50]]]


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("RGBA", (100, 0, 0, 0), (255, 255, 255)),
        ("RGBA", (100, 0, 0, 255), (100, 0, 0)),
        ("RGBA", (0, 0, 0, 51), (204, 204, 204)),
        ("LA", (40, 0), (255, 255, 255)),
        ("LA", (40, 255), (40, 40, 40)),
    ],
)
def test_transparency_is_laid_over_white(tmp_path: Path, mode: str, colour: tuple, expected: tuple) -> None:
    Image.new(mode, (3, 2), colour).save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png") == expected).all()


def test_transparent_palette_entry_is_white(tmp_path: Path) -> None:
    picture = Image.new("P", (1, 1))
    picture.putpalette([10, 20, 30])
    picture.save(tmp_path / "a.png", transparency=0)
    assert (read_image(tmp_path / "a.png") == 255).all()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bit_grey_keeps_its_high_byte(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 255, 256, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / f"a{suffix}")
    assert read_image(tmp_path / f"a{suffix}")[0, :, 0].tolist() == [0, 0, 1, 255]


def test_floats_are_stretched_from_minimum_to_maximum(tmp_path: Path) -> None:
    Image.fromarray(np.array([[-1.0, 0.0, 3.0]], np.float32)).save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif")[0, :, 0].tolist() == [0, 64, 255]
    Image.fromarray(np.full((2, 2), 7.5, np.float32)).save(tmp_path / "flat.tif")
    assert (read_image(tmp_path / "flat.tif") == 0).all()


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png")[0, :, 0].tolist() == [255, 0]


def test_cmyk_is_converted(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.tif")  # full magenta and yellow: red
    assert (read_image(tmp_path / "a.tif") == (255, 0, 0)).all()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize(("tag", "turned"), [(3, RGB[::-1, ::-1]), (6, np.rot90(RGB, -1)), (8, np.rot90(RGB, 1))])
def test_orientation_is_applied_and_known_to_the_size(tmp_path: Path, suffix: str, tag: int, turned) -> None:
    exif = Image.Exif()
    exif[0x0112] = tag
    Image.fromarray(RGB).save(tmp_path / f"a{suffix}", exif=exif)
    assert np.array_equal(read_image(tmp_path / f"a{suffix}"), turned)
    assert image_size(tmp_path / f"a{suffix}") == turned.shape[:2]


def test_further_pages_are_not_read_to_be_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow compares each page with all before it: 50 000 of them, which fit into 6 MB, take a quarter of a minute."""
    Image.fromarray(RGB).save(tmp_path / "a.tif", save_all=True, append_images=[Image.fromarray(RGB)] * 2)
    monkeypatch.delattr("PIL.TiffImagePlugin.TiffImageFile.n_frames")
    with pytest.raises(InputError, match="animated or multi-page file"):
        read_image(tmp_path / "a.tif")
