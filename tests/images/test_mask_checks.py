"""Masks that a rule would misread are refused; those that only surprise are told of."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image, ImageFilter

from scripts.core.errors import InputError
from scripts.images.masks import MaskRule, mask_notes, read_mask, read_mask_and_notes, soft_pixels

ROWS, COLUMNS = np.mgrid[-20:20, -20:20]
DISC = (np.hypot(ROWS, COLUMNS) < 12).astype(np.uint8)
NUMBERED = np.kron(np.arange(16).reshape(4, 4), np.ones((10, 10))).astype(np.uint8)


def saved(path: Path, array: np.ndarray) -> Path:
    Image.fromarray(array).save(path)
    return path


def blurred(mask: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(mask * 255).filter(ImageFilter.GaussianBlur(2)))


class TestSoftEdges:
    def test_are_refused_where_every_value_would_count(self, tmp_path: Path) -> None:
        path = saved(tmp_path / "a.png", blurred(DISC))
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
                read_mask(saved(tmp_path / name, array))

    @pytest.mark.parametrize("values", [DISC, DISC * 255, NUMBERED, NUMBERED * 17, np.full_like(DISC, 255), DISC * 0])
    def test_sharp_masks_have_none(self, values: np.ndarray, tmp_path: Path) -> None:
        assert soft_pixels(values) == 0
        assert np.array_equal(read_mask(saved(tmp_path / "a.png", values)), values != 0)

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
        return read_mask_and_notes(saved(tmp_path / "a.png", values), rule)[1]

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
