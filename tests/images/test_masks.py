from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from monai.bundle import ConfigParser
from PIL import Image, ImageFilter

from scripts.core.errors import InputError
from scripts.images.mask_files.doubts import mask_notes, soft_pixels
from scripts.images.masks import MaskRule, read_instances, read_mask, read_mask_and_notes

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
    assert read_mask(saved(tmp_path, with_colour)).tolist() == [[0, 1]]  # nobody drew on what is transparent
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


@pytest.mark.parametrize(
    "foreground",
    [
        "white",
        "over:",
        "over:nan",
        "below:3",
        "under:",
        [],
        ["a"],
        [[1, 2]],
        [[1, 2, 256]],
        [[1, 2, 3], 4],
        [[1.5, 2, 3]],
    ],
)
def test_unknown_rules_are_refused(foreground) -> None:
    with pytest.raises(InputError, match="unknown mask rule"):
        MaskRule(foreground)


@pytest.mark.parametrize(("foreground", "ignore"), [("nonzero", [1, 2, 3]), ([[1, 2, 3]], 4), ([3], "a")])
def test_what_is_ignored_is_of_the_kind_of_what_is_drawn(foreground, ignore) -> None:
    with pytest.raises(InputError, match="mask_rule#ignore"):
        MaskRule(foreground, ignore)


COLOURS = np.array([[[255, 255, 255], [255, 0, 0], [0, 0, 255]]], np.uint8)


class TestColours:
    def test_named_ones_are_foreground_on_any_ground(self, tmp_path: Path) -> None:
        path = saved(tmp_path, COLOURS)
        assert read_mask(path).tolist() == [[1, 1, 1]]  # white is a value as well
        assert read_mask(path, MaskRule([[255, 0, 0]])).tolist() == [[0, 1, 0]]
        assert read_mask(path, MaskRule([[255, 0, 0], [0, 0, 255]])).tolist() == [[0, 1, 1]]
        assert read_mask(path, MaskRule([[255, 0, 0]], ignore=[0, 0, 255])).tolist() == [[0, 1, 255]]

    def test_those_of_a_palette_and_greys_count_too(self, tmp_path: Path) -> None:
        picture = Image.fromarray(COLOURS).quantize(3)
        picture.save(tmp_path / "p.png")
        assert Image.open(tmp_path / "p.png").mode == "P"
        assert read_mask(tmp_path / "p.png", MaskRule([[255, 0, 0]])).tolist() == [[0, 1, 0]]
        grey = saved(tmp_path, np.array([[0, 7]], np.uint8), "g.png")
        assert read_mask(grey, MaskRule([[7, 7, 7]])).tolist() == [[0, 1]]

    def test_a_list_of_values_says_which_colours_there_are(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"\[255, 0, 0\].*mask_rule#foreground \"\[\[255, 0, 0\]\]\""):
            read_mask(saved(tmp_path, COLOURS), MaskRule([255]))

    def test_rule_can_be_hashed(self) -> None:
        assert hash(MaskRule([[1, 2, 3]], [4, 5, 6])) == hash(MaskRule(((1, 2, 3),), (4, 5, 6)))


def test_dark_objects_have_a_rule(tmp_path: Path) -> None:
    assert read_mask(saved(tmp_path, IDS), MaskRule("under:2")).tolist() == [[1, 1, 0], [0, 0, 0]]
    disc = (np.hypot(*np.mgrid[-20:20, -20:20]) >= 12).astype(np.uint8) * 255
    assert np.array_equal(read_mask(saved(tmp_path, disc, "a.jpg"), MaskRule("under:127.5")), disc == 0)


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


ROWS, COLUMNS = np.mgrid[-20:20, -20:20]


DISC = (np.hypot(ROWS, COLUMNS) < 12).astype(np.uint8)


NUMBERED = np.kron(np.arange(16).reshape(4, 4), np.ones((10, 10))).astype(np.uint8)


def written(path: Path, array: np.ndarray) -> Path:
    Image.fromarray(array).save(path)
    return path


def blurred(mask: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(mask * 255).filter(ImageFilter.GaussianBlur(2)))


class TestSoftEdges:
    def test_are_refused_where_every_value_would_count(self, tmp_path: Path) -> None:
        path = written(tmp_path / "a.png", blurred(DISC))
        with pytest.raises(InputError, match=r"soft edges.*over:127\.5"):
            read_mask(path)
        assert np.abs(read_mask(path, MaskRule("over:127.5")).sum() / DISC.sum() - 1) < 0.1

    def test_of_a_resized_mask_in_16_bit_and_in_colour(self, tmp_path: Path) -> None:
        small = Image.fromarray(DISC * 255).resize((31, 31), Image.Resampling.BILINEAR)
        for name, array in (
            ("8.png", np.asarray(small)),
            ("16.png", np.asarray(small).astype(np.uint16) * 257),
            ("rgb.png", np.stack([np.asarray(small)] * 3, axis=2)),
        ):
            with pytest.raises(InputError, match="soft edges"):
                read_mask(written(tmp_path / name, array))

    @pytest.mark.parametrize("values", [DISC, DISC * 255, NUMBERED, NUMBERED * 17, np.full_like(DISC, 255), DISC * 0])
    def test_sharp_masks_have_none(self, values: np.ndarray, tmp_path: Path) -> None:
        assert soft_pixels(values) == 0
        assert np.array_equal(read_mask(written(tmp_path / "a.png", values)), values != 0)

    def test_numbers_of_many_objects_are_not_soft(self) -> None:
        many = np.kron(np.arange(256).reshape(16, 16), np.ones((5, 5))).astype(np.uint8)
        assert many.max() == 255
        assert soft_pixels(many) == 0

    def test_a_speck_of_other_values_is_let_through(self) -> None:
        values = DISC * 255
        values[0, :5] = 7
        assert soft_pixels(values) == 0


@pytest.mark.parametrize(
    ("values", "what"), [([[0.0, 0.5], [1.0, 1.0]], "fractions"), ([[0, -1], [1, 1]], "negative values")]
)
def test_fractions_and_negative_values_are_refused(values: list, what: str, tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    array = np.array(values, np.float32 if what == "fractions" else np.int16)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), path)
    with pytest.raises(InputError, match=what):
        read_mask(path)
    assert read_mask(path, MaskRule("over:0.7")).sum() == 2


def test_whole_numbers_stored_as_floats_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    nibabel.save(nibabel.Nifti1Image(DISC.astype(np.float64), np.eye(4)), path)
    assert read_mask(path).sum() == DISC.sum()


class TestNotes:
    def notes(self, tmp_path: Path, values: np.ndarray, rule: MaskRule) -> list[str]:
        return read_mask_and_notes(written(tmp_path / "a.png", values), rule)[1]

    def test_nothing_to_say(self, tmp_path: Path) -> None:
        assert self.notes(tmp_path, DISC, MaskRule()) == []
        assert self.notes(tmp_path, DISC, MaskRule([1])) == []

    def test_empty_and_full(self, tmp_path: Path) -> None:
        assert self.notes(tmp_path, DISC * 0, MaskRule()) == ["without foreground"]
        assert self.notes(tmp_path, DISC * 0 + 1, MaskRule()) == ["without background"]
        assert self.notes(tmp_path, DISC * 0 + 9, MaskRule(ignore=9)) == ["without foreground"]

    def test_values_that_the_rule_does_not_name(self, tmp_path: Path) -> None:
        values = DISC.copy()
        values[0, :8] = range(3, 11)
        found = self.notes(tmp_path, values, MaskRule([1], ignore=3))
        assert found == ["with values that mask_rule does not name and that count as background (4, 5, 6, 7, 8, ...)"]

    def test_equal_masks_give_equal_notes(self) -> None:
        mask = DISC * 0
        assert mask_notes(mask, mask, None) == mask_notes(mask[:5], mask[:5], None)
