from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.images.mask_files.fitting import fitting_rule, spelling
from scripts.images.masks import MaskRule, read_mask

DISC = (np.hypot(*np.mgrid[-20:20, -20:20]) < 12).astype(np.uint8)
RED_ON_WHITE = np.where(DISC[..., None] == 1, [255, 0, 0], [255, 255, 255]).astype(np.uint8)


def files(tmp_path: Path, *arrays: np.ndarray) -> list[str]:
    for i, array in enumerate(arrays):
        Image.fromarray(array).save(tmp_path / f"{i}.png")
    return [str(tmp_path / f"{i}.png") for i in range(len(arrays))]


@pytest.mark.parametrize(
    ("values", "rule", "told"),
    [
        (DISC, MaskRule(), "values 0, 1"),
        (DISC * 255, MaskRule(), "values 0, 255"),
        (DISC + 1, MaskRule("over:1.5"), "values 1, 2"),
        (2 - DISC, MaskRule([1]), "values 1, 2"),
        (255 - DISC * 255, MaskRule([0]), "values 0, 255"),
        (RED_ON_WHITE, MaskRule([[255, 0, 0]]), "colours [255, 255, 255], [255, 0, 0]"),
        (DISC * 0, None, "values 0"),
    ],
)
def test_the_rule_that_gives_objects_on_a_ground(values, rule, told: str, tmp_path: Path) -> None:
    paths = files(tmp_path, values, values.copy(), values.copy())
    found = fitting_rule(paths)
    assert (found.rule, found.values) == (rule, told)
    if rule is not None:
        assert spelling(rule) in found.cure
        assert np.array_equal(read_mask(paths[0], rule), DISC)


def test_a_few_odd_masks_do_not_matter(tmp_path: Path) -> None:
    found = fitting_rule(files(tmp_path, DISC + 1, DISC + 1, DISC * 0 + 1))
    assert found.rule == MaskRule("over:1.5")


def test_rules_are_spelled_as_a_command_line_has_them() -> None:
    assert spelling(MaskRule("under:3")) == "--mask_rule#foreground under:3"
    assert spelling(MaskRule(ignore=255)) == "--mask_rule#foreground nonzero --mask_rule#ignore 255"
    assert spelling(MaskRule([1, 3])) == '--mask_rule#foreground "[1, 3]"'
    assert spelling(MaskRule([[255, 0, 0]])) == '--mask_rule#foreground "[[255, 0, 0]]"'
