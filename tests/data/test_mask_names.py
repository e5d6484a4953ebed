from __future__ import annotations

from pathlib import Path

import pytest

from scripts.data.mask_names import Owners, Reading, bare_names, marked_readings, masks_among, other_forms, readings


@pytest.mark.parametrize(
    ("stem", "word", "number"),
    [
        ("a_b_mask", "mask", ""), ("mask_a_b", "mask", ""), ("a_b_Mask", "mask", ""), ("a_b-mask", "mask", ""),
        ("a_b.mask", "mask", ""), ("a_b mask", "mask", ""), ("a_b_labels", "labels", ""),
        ("a_b_manual1", "manual1", ""),
        ("a_b_GroundTruth", "groundtruth", ""), ("SEG-a_b", "seg", ""), ("a_b_mask_1", "mask", "1"),
        ("a_b_mask (2)", "mask", "2"), ("a_b_mask03", "mask", "03"), ("a_b_1_mask", "mask", "1"),
        ("mask_a_b_2", "mask", "2"), ("a_b_segmentation", "segmentation", ""),
    ],
)  # fmt: skip
def test_marked_names(stem: str, word: str, number: str) -> None:
    assert Reading("a_b", word, number) in list(marked_readings(stem))


@pytest.mark.parametrize("stem", ["a_b", "mask", "masked_a", "a_unmask", "labelled", "a_mask_c", "segment_a", "a_1"])
def test_names_without_a_mark(stem: str) -> None:
    assert list(marked_readings(stem)) == []


def test_the_plainest_reading_comes_first() -> None:
    assert list(readings("a_1")) == [Reading("a_1"), Reading("a", "", "1")]


def test_what_marks_an_image() -> None:
    assert bare_names("case_7_0000") == ["case_7"]
    assert bare_names("case_7_img") == bare_names("image-case_7") == ["case_7"]
    assert set(bare_names("img_0001")) == {"0001", "img"}
    assert bare_names("case_7") == []


def test_owners_by_place_then_by_letters(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("images/x/a.png", "images/y/a.png", "y/B.png", "c_0000.png", "c_0001.png")]
    owners = Owners(files, tmp_path)
    assert owners.find(("y",), "a") == {files[1]}
    assert owners.find(("z",), "a") == {files[0], files[1]}
    assert owners.find((), "b") == {files[2]}
    assert owners.find((), "c") == {files[3], files[4]}
    assert owners.find((), "d") == set()


def test_masks_among_images(tmp_path: Path) -> None:
    names = [
        "a.png",
        "a_mask_1.png",
        "mask_a.png",
        "B.tif",
        "b-Seg.png",
        "only_mask.png",
        "x/a_mask.png",
        "Masks/q.png",
    ]
    found = masks_among([tmp_path / name for name in names], tmp_path)
    assert {path.relative_to(tmp_path).as_posix() for path in found} == {
        "a_mask_1.png", "mask_a.png", "b-Seg.png", "Masks/q.png",
    }  # fmt: skip


def test_other_forms_are_counted_by_suffix() -> None:
    names = ["a.heic", "b.HEIC", "c.dds", "d.png", "e.nii.gz", "t.csv", "notes.txt", "README", ".hidden.dds"]
    assert other_forms(map(Path, names)) == "1 *.dds (c.dds), 2 *.heic (a.heic, b.HEIC)"
    assert other_forms([Path("a.png"), Path("data.csv")]) == ""
    assert other_forms([Path("s.svs")]).endswith("whole slides have a command of their own")
