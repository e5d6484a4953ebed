from __future__ import annotations

from pathlib import Path

import pytest

from scripts.core.errors import InputError
from scripts.data.makers.pairing import Pairing, pair_masks

HERE = Path("/d")


def paired(images: list[str], masks: list[str], pattern: str | None = None, inside: bool = False) -> Pairing:
    folders = (HERE, HERE) if inside else (HERE / "i", HERE / "m")
    return pair_masks([folders[0] / name for name in images], folders[0], [folders[1] / name for name in masks],
                      folders[1], pattern)  # fmt: skip


def names(found: Pairing) -> dict[str, list[str]]:
    return {image.name: [mask.name for mask in masks] for image, masks in found.masks.items()}


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("{}", "{}"), ("{}", "mask_{}"), ("{}", "{}_Mask"), ("{}", "{}-mask"), ("{}", "{}_labels"),
        ("{}", "{}_manual1"), ("{}_0000", "{}"), ("{}_img", "{}_mask"), ("img_{}", "mask_{}"), ("IMG-{}", "{}"),
        ("{}_training", "{}_manual1"),
        ("{}", "{}.seg"), ("{}.x", "{}.x_gt"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["benign_{:02d}", "{:04d}", "case {}", "ISIC_{:07d}"])
def test_usual_names(image: str, mask: str, name: str) -> None:
    stems = [name.format(number) for number in (1, 2, 10, 11)]
    found = paired([f"{image.format(stem)}.png" for stem in stems], [f"{mask.format(stem)}.png" for stem in stems])
    assert names(found) == {f"{image.format(stem)}.png": [f"{mask.format(stem)}.png"] for stem in stems}
    assert (found.unpaired, found.problems, found.scheme) == ([], [], "")


def test_cases_aside_where_that_is_clear() -> None:
    assert names(paired(["A.png", "b.png"], ["a_mask.png", "B.png"])) == {"A.png": ["a_mask.png"], "b.png": ["B.png"]}
    found = paired(["A.png", "a.png"], ["A_mask.png"])
    assert names(found) == {"A.png": ["A_mask.png"]}


class TestSeveral:
    def test_numbered_files_are_parts(self) -> None:
        found = paired(["a (1).png", "a (2).png"], ["a (1)_mask.png", "a (1)_mask_1.png", "a (2)_mask.png"])
        assert names(found) == {"a (1).png": ["a (1)_mask.png", "a (1)_mask_1.png"], "a (2).png": ["a (2)_mask.png"]}
        assert found.problems == []

    def test_a_file_per_object(self) -> None:
        assert names(paired(["a.png"], ["a_1.png", "a_2.png"])) == {"a.png": ["a_1.png", "a_2.png"]}

    def test_a_folder_per_image(self) -> None:
        assert names(paired(["a.png", "b.png"], ["a/x.png", "a/y.png", "b/x.png"])) == {
            "a.png": ["x.png", "y.png"], "b.png": ["x.png"],
        }  # fmt: skip

    def test_the_only_picture_beside_a_folder_of_masks(self) -> None:
        found = paired(["7f/images/7f.png", "8a/images/8a.png"], ["7f/masks/q.png", "7f/masks/r.png"], inside=True)
        assert names(found) == {"7f.png": ["q.png", "r.png"]} and found.unpaired == []

    @pytest.mark.parametrize(
        "masks", [["a_mask.png", "a_seg.png"], ["a.png", "a.tif"], ["a_manual1.png", "a_manual2.png"]]
    )
    def test_files_that_are_no_parts(self, masks: list[str]) -> None:
        (problem,) = paired(["a.png"], masks).problems
        assert problem.what == "image has two masks" and "--mask_pattern" in problem.cure

    def test_a_number_of_the_image_is_none_of_a_part(self) -> None:
        found = paired(["a.png", "a_1.png"], ["a.png", "a_1.png", "a_1_mask_2.png"])
        assert names(found)["a.png"] == ["a.png"]


class TestCommonParts:
    def test_any_scheme_that_fits_one_to_one(self) -> None:
        found = paired(["frame7.png", "frame8.png", "frame10.png"], ["lesion_7x.png", "lesion_8x.png"])
        assert names(found) == {"frame7.png": ["lesion_7x.png"], "frame8.png": ["lesion_8x.png"]}
        assert found.scheme == "images frame* and masks lesion_*x"

    @pytest.mark.parametrize(
        ("images", "masks"),
        [
            (["p1_1.png", "p1_2.png"], ["p2_1.png", "p2_2.png"]),  # of another patient
            (["a.png", "b.png"], ["xc.png", "xd.png"]),
            (["a.png", "b.png"], ["xa.png"]),  # of one file nothing can be said
            (["a.png", "b.png"], ["xa.png", "xb.png", "xc.png"]),
        ],
    )
    def test_nothing_is_guessed(self, images: list[str], masks: list[str]) -> None:
        found = paired(images, masks)
        assert names(found) == {} and len(found.unpaired) == len(masks) and not found.scheme


class TestPattern:
    @pytest.mark.parametrize(
        ("pattern", "mask"),
        [
            ("{image}_roi", "a_b_roi.png"), ("roi-{image}*", "roi-a_b-x.png"), ("*{image}.tif", "q_a_b.tif"),
            ("{image}/*.png", "a_b/7.png"), ("{image}_x.*", "a_b_x.tif"),
        ],
    )  # fmt: skip
    def test_names_that_fit(self, pattern: str, mask: str) -> None:
        found = paired(["a.png", "a_b.png"], [mask, "other.png"], pattern)
        assert names(found) == {"a_b.png": [mask.rpartition("/")[2]]}
        assert [path.name for path in found.unpaired] == ["other.png"]

    def test_several_that_fit_are_parts(self) -> None:
        assert names(paired(["a.png"], ["a_r1.png", "a_r2.png"], "{image}_r*")) == {"a.png": ["a_r1.png", "a_r2.png"]}

    @pytest.mark.parametrize("pattern", ["roi_*", "{image}{image}", ""])
    def test_a_pattern_without_an_image_is_refused(self, pattern: str) -> None:
        with pytest.raises(InputError, match="no such pattern"):
            paired(["a.png"], ["a.png"], pattern)


def test_masks_that_fit_several_images() -> None:
    found = paired(["x/a.png", "y/a.png", "c_0000.png", "c_0001.png"], ["a.png", "c.png"])
    assert [problem.what for problem in found.problems] == ["mask fits several images"] * 2
