from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from monai.bundle import ConfigParser
from PIL import Image

from scripts.core.errors import InputError
from scripts.images.masks import MaskRule, read_instances, read_mask

IDS = np.array([[0, 1, 2], [7, 128, 255]], np.uint8)


def saved(tmp_path: Path, array: np.ndarray, name: str = "a.png", mode: str | None = None) -> Path:
    picture = Image.fromarray(array)
    if mode == "P":
        picture = picture.convert("P")
        picture.putdata(array.ravel().tolist())
        picture.putpalette([0] * 768)  # every colour black: only the indices tell pixels apart
    picture.save(tmp_path / name)
    return tmp_path / name


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (MaskRule(), [[0, 1, 1], [1, 1, 1]]),
        (MaskRule(ignore=255), [[0, 1, 1], [1, 1, 255]]),
        (MaskRule("over:127.5"), [[0, 0, 0], [0, 1, 1]]),
        (MaskRule("over:2"), [[0, 0, 0], [1, 1, 1]]),
        (MaskRule([2, 7]), [[0, 0, 1], [1, 0, 0]]),
        (MaskRule([2, 7], ignore=7), [[0, 0, 1], [255, 0, 0]]),
        (MaskRule([0], ignore=None), [[1, 0, 0], [0, 0, 0]]),
    ],
)
@pytest.mark.parametrize("kind", ["png", "palette", "nifti"])
def test_rules_on_raw_values(tmp_path: Path, rule: MaskRule, expected: list, kind: str) -> None:
    if kind == "nifti":
        path = tmp_path / "a.nii.gz"
        nibabel.save(nibabel.Nifti1Image(IDS.T, np.eye(4)), path)
    else:
        path = saved(tmp_path, IDS, mode="P" if kind == "palette" else None)
    mask = read_mask(path, rule)
    assert mask.dtype == np.uint8
    assert mask.tolist() == expected


def test_sixteen_bit_ids_are_not_scaled(tmp_path: Path) -> None:
    path = saved(tmp_path, np.array([[0, 1, 300]], np.uint16))
    assert read_mask(path, MaskRule([1, 300])).tolist() == [[0, 1, 1]]


def test_one_bit_mask_works_with_both_simple_rules(tmp_path: Path) -> None:
    path = saved(tmp_path, np.array([[True, False]]))
    assert read_mask(path).tolist() == read_mask(path, MaskRule("over:127.5")).tolist() == [[1, 0]]


def test_orientation_of_a_mask_is_left_alone(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(IDS).save(tmp_path / "a.png", exif=exif)
    assert read_mask(tmp_path / "a.png").shape == (2, 3)


def test_any_channel_of_a_colour_mask_counts(tmp_path: Path) -> None:
    colour = np.zeros((1, 4, 3), np.uint8)
    colour[0, [1, 2, 3], [0, 1, 2]] = 200
    path = saved(tmp_path, colour)
    assert read_mask(path).tolist() == [[0, 1, 1, 1]]
    with pytest.raises(InputError, match="coloured mask"):
        read_mask(path, MaskRule([200]))
    grey = saved(tmp_path, np.repeat(IDS[..., None], 3, axis=2), "grey.png")  # grey stored as RGB has single values
    assert read_mask(grey, MaskRule([7])).tolist() == [[0, 0, 0], [1, 0, 0]]


def test_alpha_counts_only_where_it_is_all_there_is(tmp_path: Path) -> None:
    only_alpha = np.zeros((1, 2, 4), np.uint8)
    only_alpha[0, 1, 3] = 255
    assert read_mask(saved(tmp_path, only_alpha)).tolist() == [[0, 1]]
    with_colour = np.zeros((1, 2, 4), np.uint8)
    with_colour[0, 0, :3] = 9
    with_colour[0, 1, 3] = 255
    assert read_mask(saved(tmp_path, with_colour)).tolist() == [[1, 0]]
    opaque = np.zeros((1, 2, 4), np.uint8)
    opaque[..., 3] = 255
    assert read_mask(saved(tmp_path, opaque)).tolist() == [[0, 0]]


def test_jpeg_noise_never_becomes_foreground(tmp_path: Path) -> None:
    disc = (np.hypot(*np.mgrid[-20:20, -20:20]) < 12).astype(np.uint8) * 255
    path = saved(tmp_path, disc, "a.jpg")
    assert len(np.unique(np.asarray(Image.open(path)))) > 2
    with pytest.raises(InputError, match="JPEG mask has no exact values"):
        read_mask(path)
    assert np.array_equal(read_mask(path, MaskRule("over:127.5")), disc // 255)


@pytest.mark.parametrize("foreground", ["white", "over:", "over:nan", [], ["a"]])
def test_unknown_rules_are_refused(foreground) -> None:
    with pytest.raises(InputError, match="unknown mask rule"):
        MaskRule(foreground)


def test_rule_comes_from_a_config_and_can_be_hashed() -> None:
    parser = ConfigParser({"rule": {"_target_": "scripts.images.masks.MaskRule", "foreground": [2, 7], "ignore": 9}})
    assert parser.get_parsed_content("rule") == MaskRule((2, 7), 9)
    assert hash(MaskRule([2, 7])) == hash(MaskRule((2, 7)))


class TestInstances:
    def test_numbers_are_kept(self, tmp_path: Path) -> None:
        for mode, name in ((None, "a.png"), (None, "a.bmp"), ("P", "p.png")):
            np.testing.assert_array_equal(read_instances(saved(tmp_path, IDS, name, mode)), IDS)

    def test_numbers_above_255(self, tmp_path: Path) -> None:
        ids = np.array([[0, 300], [65535, 300]], np.uint16)
        np.testing.assert_array_equal(read_instances(saved(tmp_path, ids)), ids)

    def test_ignored_pixels_are_no_object(self, tmp_path: Path) -> None:
        found = read_instances(saved(tmp_path, IDS), MaskRule(ignore=255))
        np.testing.assert_array_equal(found, [[0, 1, 2], [7, 128, 0]])

    @pytest.mark.parametrize("rule", [MaskRule("over:127.5"), MaskRule([1, 2])])
    def test_rules_for_which_values_are_no_numbers(self, rule: MaskRule, tmp_path: Path) -> None:
        assert read_instances(saved(tmp_path, IDS), rule) is None

    def test_masks_of_one_value_or_of_colours_number_nothing(self, tmp_path: Path) -> None:
        assert read_instances(saved(tmp_path, np.array([[0, 255], [255, 0]], np.uint8))) is None
        assert read_instances(saved(tmp_path, np.zeros((2, 3), np.uint8))) is None
        assert read_instances(saved(tmp_path, np.stack([IDS] * 3, axis=2), "c.png")) is None
