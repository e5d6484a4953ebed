from __future__ import annotations

import gzip
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from scripts.core.errors import InputError
from scripts.core.files import file_sha256
from scripts.images import reading
from scripts.images.reading import image_size, image_stem, is_image_file, read_image

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)  # H 5, W 7: a swap of axes shows
GREY = RGB[..., 0]


def nifti(path: Path, array: np.ndarray) -> Path:
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), path)
    return path


def rgb_record(array: np.ndarray) -> np.ndarray:
    record = np.zeros(array.shape[:2], dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    for channel, name in enumerate("RGB"):
        record[name] = array[..., channel]
    return record


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


def test_sixteen_bit_nifti_follows_the_same_rule(tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii", np.array([[0, 255], [256, 65535]], np.uint16))
    assert read_image(path)[..., 0].tolist() == [[0, 1], [0, 255]]


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


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    "array", [GREY.T, GREY.T[..., None], RGB.swapaxes(0, 1), RGB.swapaxes(0, 1)[:, :, None], rgb_record(RGB).T]
)
def test_nifti_axis_zero_is_x(tmp_path: Path, suffix: str, array: np.ndarray) -> None:
    path = nifti(tmp_path / f"a{suffix}", array)
    expected = RGB if array.dtype.names or 3 in array.shape else np.stack([GREY] * 3, axis=-1)
    assert np.array_equal(read_image(path), expected)
    assert image_size(path) == (5, 7)


def fault(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_image(path)
    assert len(caught.value.problems) == 1
    assert str(path) in str(caught.value)
    return caught.value.problems[0].what


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


def test_nifti_must_be_flat_and_finite(tmp_path: Path) -> None:
    assert fault(nifti(tmp_path / "volume.nii", np.zeros((4, 5, 6), np.uint8))) == "not a 2-D image"
    assert fault(nifti(tmp_path / "nan.nii", np.array([[0.0, np.nan]]))) == "values are not all finite"


def test_decompression_bombs_are_refused_by_pillows_own_limit(tmp_path: Path, monkeypatch) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    nifti(tmp_path / "a.nii", GREY)
    monkeypatch.setattr(reading.Image, "MAX_IMAGE_PIXELS", 17)  # 35 pixels are more than twice that
    assert fault(tmp_path / "a.png") == "too many pixels to be decoded safely"
    assert fault(tmp_path / "a.nii") == "too many pixels to be decoded safely"


def test_further_pages_are_not_read_to_be_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow compares each page with all before it: 50 000 of them, which fit into 6 MB, take a quarter of a minute."""
    Image.fromarray(RGB).save(tmp_path / "a.tif", save_all=True, append_images=[Image.fromarray(RGB)] * 2)
    monkeypatch.delattr("PIL.TiffImagePlugin.TiffImageFile.n_frames")
    with pytest.raises(InputError, match="animated or multi-page file"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_pixels_far_behind_the_header_of_a_nifti_are_not_unpacked(tmp_path: Path, suffix: str) -> None:
    """A packed file of 900 kB would take a gigabyte."""
    whole = bytearray(nibabel.Nifti1Image(GREY.T.copy(), np.eye(4)).to_bytes())
    whole[108:112] = struct.pack("<f", 5e8)
    (tmp_path / f"a{suffix}").write_bytes(gzip.compress(whole) if suffix == ".nii.gz" else whole)
    with pytest.raises(InputError, match="pixels begin far behind the header"):
        read_image(tmp_path / f"a{suffix}")


def test_names_of_images() -> None:
    accepted = ["a.png", "x/B.JPG", "a.nii.gz", "a.b.tiff", "a.bmp", "a.webp", "a.JFIF", "a.gif"]
    assert all(is_image_file(name) for name in accepted)
    assert not any(is_image_file(name) for name in ["._a.png", ".a.png", "x/._a.bmp", "a.csv", "png", "a.heic", "a.gz"])
    assert [image_stem(name) for name in accepted] == ["a", "B", "a", "a.b", "a", "a", "a", "a"]


def test_hash_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, example B.1
    assert file_sha256(tmp_path / "a") == expected
    with pytest.raises(InputError, match="cannot be read"):
        file_sha256(tmp_path / "absent")


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
