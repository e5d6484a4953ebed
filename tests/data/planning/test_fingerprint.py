"""What is seen of a data set, against how its images were drawn."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.core.errors import InputError
from scripts.data.datalist import read_datalist
from scripts.data.planning import fingerprint
from scripts.data.planning.fingerprint import fingerprint_of
from scripts.data.planning.plan import Fingerprint, plan_of
from scripts.images.masks import NONZERO, MaskRule
from tests.support.tiny_runs import make_images


def look(folder: Path, rule: MaskRule = NONZERO) -> Fingerprint:
    return fingerprint_of(read_datalist(folder, check=False, progress=False), rule)


def test_counts_sizes_and_objects(tmp_path: Path) -> None:
    found = look(make_images(tmp_path, {"train": 6, "val": 2, "test": 2}))
    assert found.images == {"a": 3, "b": 3}
    assert found.size == found.smallest == found.largest == (64, 64)
    areas = [(np.asarray(Image.open(path)) > 0).sum() for path in tmp_path.glob("train_*_mask.png")]
    assert found.object_px == pytest.approx(np.sqrt(4 / np.pi * min(areas)))  # one in six is more than a tenth
    assert (found.empty_classes, found.rule, found.has_patients) == ((), None, False)


def test_images_of_several_sizes(tmp_path: Path) -> None:
    folder = make_images(tmp_path, {"train": 5, "val": 2, "test": 2})
    for name, size in (("train_00", (50, 40)), ("train_01", (200, 90))):
        for path in (folder / f"{name}.png", folder / f"{name}_mask.png"):
            Image.open(path).resize(size, Image.Resampling.NEAREST).save(path)
    found = look(folder)
    assert (found.smallest, found.size, found.largest) == ((40, 50), (64, 64), (90, 200))


def test_classes_of_empty_masks_and_specks(tmp_path: Path) -> None:
    folder = make_images(tmp_path, {"train": 4, "val": 2, "test": 2}, normal={"train": 2, "val": 1, "test": 1})
    before = look(folder)
    assert before.empty_classes == ("n",)
    for path in folder.glob("train_*_mask.png"):
        mask = np.array(Image.open(path))
        if mask.any():
            mask[0, 0] = 1  # one pixel is no object
            Image.fromarray(mask).save(path)
    assert look(folder).object_px == before.object_px


def test_small_objects_count_by_their_share_of_a_mask(tmp_path: Path) -> None:
    folder = make_images(tmp_path, {"train": 4, "val": 2, "test": 2})
    for path in folder.glob("train_*_mask.png"):
        mask = np.zeros((64, 64), np.uint8)
        mask[2:12, 2:12] = mask[20:60, 20:60] = 1  # 100 and 1600 pixels
        Image.fromarray(mask).save(path)
    assert look(folder).object_px == pytest.approx(np.sqrt(4 / np.pi * 1600))
    mask[20:60, 20:60] = 0
    Image.fromarray(mask).save(path)  # the small one alone: a quarter of the masks
    assert look(folder).object_px == pytest.approx(np.sqrt(4 / np.pi * 100))


def test_a_rule_that_does_not_fit_is_seen(tmp_path: Path) -> None:
    folder = make_images(tmp_path, {"train": 4, "val": 2, "test": 2})
    assert look(folder, MaskRule("over:127.5")).rule == "--mask_rule#foreground nonzero"
    assert look(folder, MaskRule("over:127.5")).empty_classes == ()


def test_without_masks_and_with_patients(tmp_path: Path) -> None:
    folder = make_images(tmp_path, {"train": 4, "val": 2, "test": 2})
    with open(folder / "data.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    with open(folder / "data.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0], "patient_id"])
        writer.writeheader()
        writer.writerows({**row, "mask": "", "patient_id": f"p{i // 2}"} for i, row in enumerate(rows))
    found = look(folder)
    assert (found.object_px, found.has_patients, found.has_split) == (None, True, True)


def test_splits_that_are_drawn_are_known(tmp_path: Path) -> None:
    folder = make_images(tmp_path, {"train": 8, "val": 2, "test": 2})
    with open(folder / "data.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    with open(folder / "data.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "split": ""} for row in rows)
    assert not look(folder).has_split


def test_many_files_are_sampled_classes_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_images(tmp_path, {"train": 20, "val": 2, "test": 2}, normal={"train": 6, "val": 1, "test": 1})
    whole = look(folder)
    monkeypatch.setattr(fingerprint, "_HEADERS", 8)
    monkeypatch.setattr(fingerprint, "_LEAST_MASKS", 6)
    monkeypatch.setattr(fingerprint, "_MASK_PIXELS", 1)
    read: list[str] = []
    of_mask = fingerprint.read_whole_mask
    monkeypatch.setattr(fingerprint, "read_whole_mask", lambda cell, *more: read.append(cell) or of_mask(cell, *more))
    found = look(folder)
    assert (whole.headers, whole.masks, found.headers, found.masks) == (None, None, 8, 6)
    assert len(set(read)) == 6
    assert sum("train_n" in path for path in read) == 2
    assert (found.images, found.empty_classes, found.size) == (whole.images, ("n",), (64, 64))
    assert look(folder) == found
    assert "in a sample of 8 of 26 images and 6 of their masks" in plan_of(found)[1].reason


def test_no_file_is_hashed_and_all_that_cannot_be_read_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_images(tmp_path, {"train": 6, "val": 2, "test": 2})
    monkeypatch.setattr("scripts.data.datalist.file_sha256", None)
    (folder / "val_00.png").write_bytes(b"no picture, and not looked at")
    look(folder)
    for name in ("train_00.png", "train_03.png"):
        (folder / name).write_bytes(b"no picture")
    with pytest.raises(InputError) as raised:
        look(folder)
    assert {Path(problem.where).name for problem in raised.value.problems} == {"train_00.png", "train_03.png"}
