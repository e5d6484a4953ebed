"""One test per fault that is found before the first training step, and one with all of them in one list.

What only a run can tell (no mask to ask for, all masks drawn, more neighbours than images) is in test_run_checks.py.
"""

from __future__ import annotations

import csv
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image, ImageFilter

from scripts.core.errors import InputError
from scripts.data.datalist import read_datalist
from scripts.images.reading import read_image
from tests.support.tiny_runs import make_images

SIZES = {"train": 6, "val": 2, "test": 2}
Rows = list[dict[str, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_images(tmp_path / "data", SIZES, side=32)


def row(rows: Rows, image: str) -> dict[str, str]:
    return next(row for row in rows if row["image"] == f"{image}.png")


def rewrite(folder: Path, change: Callable[[Rows], Rows | None]) -> None:
    """Change the rows of the table, in place or by returning others."""
    with open(folder / "data.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    rows = change(rows) or rows
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with open(folder / "data.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


def renamed(folder: Path, old: str, new: str, column: str = "image") -> None:
    """Let the table name another file in place of ``old``."""

    def change(rows: Rows) -> None:
        for row in rows:
            if row[column] == old:
                row[column] = new

    rewrite(folder, change)


def bomb(path: Path) -> None:
    """A PNG of some bytes that says to hold 100 000 x 100 000 pixels."""
    parts = b""
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    for name, content in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(9999))), (b"IEND", b"")):
        parts += struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)


def nifti(path: Path, value: float) -> None:
    array = np.zeros((32, 32), np.float32)
    array[3, 4] = value
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), path)


def with_nifti(folder: Path, column: str, value: float) -> None:
    old = {"image": "train_05.png", "mask": "train_05_mask.png"}[column]
    nifti(folder / "n.nii", value)
    renamed(folder, old, "n.nii", column)


def truncated(folder: Path) -> None:
    path = folder / "train_00.png"
    path.write_bytes(path.read_bytes()[:-100])


def misnamed(folder: Path) -> None:
    (folder / "train_00.png").rename(folder / "train_00.jpg")
    renamed(folder, "train_00.png", "train_00.jpg")


def pages(folder: Path) -> None:
    pictures = [Image.new("L", (32, 32), shade) for shade in (1, 2)]
    pictures[0].save(folder / "train_00.png", save_all=True, append_images=pictures[1:])


def notes_of_macos(folder: Path) -> None:
    (folder / "._train_00.png").write_bytes(b"\0\5\x16\7Mac OS X")
    renamed(folder, "train_00.png", "._train_00.png")


def soft(folder: Path) -> None:
    path = folder / "train_00_mask.png"
    white = Image.fromarray(np.asarray(Image.open(path)) * np.uint8(255))
    white.filter(ImageFilter.GaussianBlur(2)).save(path)


def lossy(folder: Path) -> None:
    Image.open(folder / "train_00_mask.png").save(folder / "m.jpg")
    renamed(folder, "train_00_mask.png", "m.jpg", "mask")


def larger(folder: Path) -> None:
    Image.new("L", (64, 32)).save(folder / "train_01_mask.png")


def outside(folder: Path) -> None:
    (folder / "train_02.png").rename(folder.parent / "train_02.png")
    renamed(folder, "train_02.png", "../train_02.png")


def linked(folder: Path) -> None:
    outside = folder.parent / "elsewhere.png"
    (folder / "train_03_mask.png").rename(outside)
    (folder / "train_03_mask.png").symlink_to(outside)


def repeated_id(rows: Rows) -> None:
    for number, entry in enumerate(rows):
        entry["id"] = str(number)
    row(rows, "train_04")["id"] = "0"


def in_two_splits(rows: Rows) -> Rows:
    return [*rows, {**row(rows, "train_00"), "split": "test"}]


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing image": (lambda f: (f / "train_00.png").unlink(), "train_00.png: file is missing"),
    "missing mask": (lambda f: (f / "train_00_mask.png").unlink(), "train_00_mask.png: file is missing"),
    "empty": (lambda f: (f / "train_00.png").write_bytes(b""), "train_00.png: file is empty"),
    "truncated": (truncated, "train_00.png: cannot be decoded"),
    "misnamed": (misnamed, "train_00.jpg: the content is not what the suffix says"),
    "no image at all": (lambda f: (f / "train_00.png").write_text("text"), "the content is no image"),
    "several pages": (pages, "train_00.png: animated or multi-page file"),
    "decompression bomb": (lambda f: bomb(f / "train_00.png"), "too many pixels to be decoded safely"),
    "._ file": (notes_of_macos, "image is a hidden file"),
    "mask of another size": (larger, "mask has another size than its image; expected 32 x 32"),
    "soft edges": (soft, "train_00_mask.png: mask has soft edges"),
    "lossy mask": (lossy, "a JPEG mask has no exact values"),
    "label not in classes": (
        lambda f: rewrite(f, lambda rows: row(rows, "val_00").update(label="")), "unknown label; expected a, b",
    ),
    "class without a training image": (
        lambda f: rewrite(f, lambda rows: row(rows, "val_00").update(label="c")), "class without a training image",
    ),
    "split that is none": (
        lambda f: rewrite(f, lambda rows: row(rows, "val_00").update(split="fold1")), "unknown split; expected train",
    ),
    "duplicate ids": (lambda f: rewrite(f, repeated_id), "id is used twice"),
    "image in two splits": (lambda f: rewrite(f, in_two_splits), "image is in two splits"),
    "NaN in NIfTI": (lambda f: with_nifti(f, "image", np.nan), "n.nii: values are not all finite"),
    "infinity in NIfTI": (lambda f: with_nifti(f, "image", np.inf), "n.nii: values are not all finite"),
    "NaN in a NIfTI mask": (lambda f: with_nifti(f, "mask", np.nan), "n.nii: values are not all finite"),
    "fractions in a mask": (lambda f: with_nifti(f, "mask", 0.5), "n.nii: mask holds fractions"),
    "negative values in a mask": (lambda f: with_nifti(f, "mask", -1), "n.nii: mask holds negative values"),
    "path outside the data folder": (outside, "image lies outside the data set"),
    "symbolic link out of it": (linked, "mask lies outside the data set"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_fault(name: str, folder: Path) -> None:
    read_datalist(folder, progress=False)
    spoil, expected = FAULTS[name]
    spoil(folder)
    with pytest.raises(InputError) as caught:
        read_datalist(folder, progress=False)
    (problem,) = caught.value.problems
    assert expected in str(problem)


def test_all_faults_come_in_one_list(folder: Path) -> None:
    together = ("missing image", "mask of another size", "path outside the data folder", "symbolic link out of it",
                "NaN in NIfTI", "label not in classes", "split that is none", "duplicate ids")  # fmt: skip
    (folder / "val_01.png").write_bytes(b"")
    for name in together:
        FAULTS[name][0](folder)
    with pytest.raises(InputError) as caught:
        read_datalist(folder, progress=False)
    assert str(caught.value).startswith("9 problems:")
    assert all(FAULTS[name][1] in str(caught.value) for name in together)
    assert "val_01.png: file is empty" in str(caught.value)


def squares(folder: Path, values: Callable[[np.ndarray], np.ndarray]) -> None:
    path = folder / "train_00_mask.png"
    Image.fromarray(values(np.asarray(Image.open(path)))).save(path)


WARNINGS: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty mask": (lambda f: squares(f, lambda mask: mask * 0), "1 masks without foreground: train_00"),
    "full mask": (lambda f: squares(f, lambda mask: mask * 0 + 1), "1 masks without background: train_00"),
    "class with one training image": (
        lambda f: rewrite(f, lambda rows: [r for r in rows if r["image"] not in ("train_03.png", "train_05.png")]),
        "1 classes have a single training image: b",
    ),
    "one class only": (
        lambda f: rewrite(f, lambda rows: [r for r in rows if r["label"] == "a"]), "all images are of one class, a",
    ),
    "same content in two splits": (
        lambda f: (f / "test_00.png").write_bytes((f / "train_00.png").read_bytes()),
        "same file content is in two splits: train_00 (train) and test_00 (test)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WARNINGS)
def test_told_and_read(name: str, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    read_datalist(folder, progress=False)
    assert caplog.text == ""
    spoil, expected = WARNINGS[name]
    spoil(folder)
    read_datalist(folder, progress=False)
    assert expected in caplog.text


def test_mask_values_that_a_list_does_not_name_are_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    from scripts.images.masks import MaskRule

    squares(folder, lambda mask: mask * 7)
    read_datalist(folder, mask_rule=MaskRule([1]), progress=False)
    assert "1 masks with values that mask_rule does not name and that count as background (7): train_00" in caplog.text


GREY = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32) * 60


def odd_modes() -> dict[str, tuple[Image.Image, dict[str, object], np.ndarray]]:
    """Picture, options of saving, and what the written rule makes of it."""
    rgb = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    high = np.repeat((GREY >> 8).astype(np.uint8)[..., None], 3, axis=2)
    alpha = np.dstack([rgb, np.full((32, 32), 51, np.uint8)])
    over_white = np.rint(255 - (255 - rgb.astype(float)) * 51 / 255)
    palette = Image.fromarray(rgb).quantize(16)
    exif = Image.Exif()
    exif[0x0112] = 6
    cmyk = Image.new("CMYK", (32, 32), (0, 255, 255, 0))
    return {
        "16-bit": (Image.fromarray(GREY), {}, high),
        "CMYK": (cmyk, {"format": "TIFF"}, np.broadcast_to(np.array([255, 0, 0]), (32, 32, 3))),
        "palette": (palette, {}, np.asarray(palette.convert("RGB"))),
        "alpha": (Image.fromarray(alpha), {}, over_white),
        "EXIF": (Image.fromarray(rgb), {"exif": exif}, np.rot90(rgb, -1)),
    }


@pytest.mark.parametrize("name", odd_modes())
def test_odd_modes_are_converted_by_the_written_rule(name: str, folder: Path) -> None:
    picture, options, expected = odd_modes()[name]
    file = "train_00.tif" if options.get("format") == "TIFF" else "train_00.png"
    target = io.BytesIO()
    picture.save(target, **{"format": "PNG", **options})
    (folder / file).write_bytes(target.getvalue())
    renamed(folder, "train_00.png", file)
    seen: dict[str, np.ndarray] = {}
    read_datalist(folder, progress=False, on_read=lambda item, image, _: seen.update({item["id"]: image}))
    assert np.abs(seen["train_00"].astype(float) - expected).max() <= 1
    assert np.array_equal(seen["train_00"], read_image(folder / file))
