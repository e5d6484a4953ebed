"""12-bit images in files of 16 bits, against their values shifted by hand."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from scripts.core.errors import InputError
from scripts.images.files.bit_depth import depth_of
from scripts.images.reading import highest_value, read_image

GREY = np.random.default_rng(0).integers(0, 4096, (12, 17)).astype(np.uint16)
COLOUR = np.random.default_rng(1).integers(0, 4096, (12, 17, 3)).astype(np.uint16)
KINDS = {1: 0, 2: 4, 3: 2, 4: 6}


def png(values: np.ndarray, chunks: bytes = b"") -> bytes:
    """A PNG of 16 bits per channel, which Pillow does not write."""
    height, width = values.shape[:2]
    channels = values.shape[2] if values.ndim == 3 else 1

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 16, KINDS[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    parts = [chunk(b"IHDR", header), chunks, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(values: np.ndarray, order: str, compressed: bool = False) -> bytes:
    """A TIFF of 16 bits per channel with one strip, which Pillow does not write in colour."""
    height, width, channels = values.shape
    pixels = values.astype(f"{order}u2").tobytes()
    pixels = zlib.compress(pixels) if compressed else pixels
    tags = [
        (256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, 8), (259, 3, 1, 8 if compressed else 1), (262, 3, 1, 2),
        (273, 4, 1, 14), (277, 3, 1, channels), (278, 3, 1, height), (279, 4, 1, len(pixels)),
    ]  # fmt: skip
    start = 14 + len(pixels) + len(pixels) % 2
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, start)
    head += struct.pack(f"{order}HHH", 16, 16, 16)
    entries = b""
    for tag, kind, count, value in tags:
        packed = struct.pack(f"{order}I", value) if kind == 4 or count > 2 else struct.pack(f"{order}HH", value, 0)
        entries += struct.pack(f"{order}HHI", tag, kind, count) + packed
    body = head + pixels + b"\0" * (len(pixels) % 2)
    return body + struct.pack(f"{order}H", len(tags)) + entries + struct.pack(f"{order}I", 0)


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def all_forms(tmp_path: Path) -> dict[str, tuple[Path, np.ndarray]]:
    grey = np.repeat(GREY[..., None], 3, axis=2)
    Image.fromarray(GREY).save(tmp_path / "grey.tif")
    nibabel.save(nibabel.Nifti1Image(GREY.T, np.eye(4)), tmp_path / "grey.nii.gz")
    return {
        "grey png": (written(tmp_path / "grey.png", png(GREY)), grey),
        "grey tiff": (tmp_path / "grey.tif", grey),
        "nifti": (tmp_path / "grey.nii.gz", grey),
        "colour png": (written(tmp_path / "c.png", png(COLOUR)), COLOUR),
        "colour tiff": (written(tmp_path / "c.tif", tiff(COLOUR, "<")), COLOUR),
        "colour tiff, high byte first": (written(tmp_path / "b.tif", tiff(COLOUR, ">")), COLOUR),
        "colour tiff, packed": (written(tmp_path / "p.tif", tiff(COLOUR, "<", True)), COLOUR),
    }


def test_the_eight_highest_of_the_bits_that_count(tmp_path: Path) -> None:
    for name, (path, values) in all_forms(tmp_path).items():
        assert np.array_equal(read_image(path, 12), values >> 4), name
        assert np.array_equal(read_image(path, 14), values >> 6), name
        assert np.array_equal(read_image(path), values >> 8), name  # 65535 is white
        assert highest_value(path) == values.max(), name


def test_transparency_of_16_bits_stays(tmp_path: Path) -> None:
    alpha = np.full((12, 17, 1), 65535, np.uint16)
    alpha[:4] = 0
    path = written(tmp_path / "a.png", png(np.concatenate([COLOUR, alpha], axis=2)))
    expected = (COLOUR >> 4).astype(np.uint8)
    expected[:4] = 255  # over white
    assert np.array_equal(read_image(path, 12), expected)
    assert highest_value(path) == COLOUR.max()


def test_a_turned_image_is_turned_in_both_bytes(tmp_path: Path) -> None:
    content = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (1, 1)).save(content, "PNG", exif=exif)
    at = content.getvalue().index(b"eXIf") - 4
    size = struct.unpack(">I", content.getvalue()[at : at + 4])[0] + 12
    path = written(tmp_path / "t.png", png(COLOUR, content.getvalue()[at : at + size]))
    assert np.array_equal(read_image(path, 12), np.rot90(COLOUR >> 4, -1))


@pytest.mark.parametrize("bits", [8, 10])
def test_a_value_that_needs_more_bits_is_refused(bits: int, tmp_path: Path) -> None:
    for path, _ in all_forms(tmp_path).values():
        with pytest.raises(InputError, match=rf"brighter than white.*up to {2**bits - 1}.*data#bits 16"):
            read_image(path, bits)


def test_other_images_do_not_care(tmp_path: Path) -> None:
    pixels = (COLOUR >> 4).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png", 12), pixels)
    assert highest_value(tmp_path / "a.png") is None
    Image.fromarray(pixels).save(tmp_path / "a.jpg")
    assert highest_value(tmp_path / "a.jpg") is None


@pytest.mark.parametrize(
    ("highest", "bits"), [(0, 8), (255, 8), (256, 10), (1023, 10), (4095, 12), (4096, 14), (16384, 16), (65535, 16)]
)
def test_depths_of_cameras(highest: int, bits: int) -> None:
    assert depth_of(highest) == bits
