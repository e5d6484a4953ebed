from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.core.errors import InputError
from scripts.images.mask_files.doubts import beside_void, border_share, is_picture
from scripts.images.masks import MaskRule, read_mask

DISC = (np.hypot(*np.mgrid[-20:20, -20:20]) < 12).astype(np.uint8)
PHOTO = np.random.default_rng(0).normal(128, 20, (40, 40, 3)).clip(0, 255).astype(np.uint8)
NUMBERED = np.kron(np.arange(256).reshape(16, 16), np.ones((5, 5))).astype(np.uint8)


def written(path: Path, array: np.ndarray) -> Path:
    Image.fromarray(array).save(path)
    return path


class TestPictures:
    @pytest.mark.parametrize("painted", [None, (255, 0, 0), (0, 255, 0)])
    def test_are_refused_as_what_they_are(self, painted: tuple | None, tmp_path: Path) -> None:
        photo = PHOTO.copy()
        if painted:
            photo[DISC == 1] = painted
        with pytest.raises(InputError, match="looks like a picture"):
            read_mask(written(tmp_path / "a.png", photo))
        with pytest.raises(InputError, match="looks like a picture"):
            read_mask(written(tmp_path / "g.png", np.asarray(Image.fromarray(photo).convert("L"))))

    @pytest.mark.parametrize("values", [DISC, DISC * 255, NUMBERED, np.zeros((2, 2), np.uint8)])
    def test_masks_are_none(self, values: np.ndarray) -> None:
        assert not is_picture(values)

    def test_a_smoothed_mask_is_none(self) -> None:
        soft = np.asarray(Image.fromarray(DISC * 255).resize((160, 160), Image.Resampling.BICUBIC))
        assert len(np.unique(soft)) > 48
        assert not is_picture(soft)


class TestVoid:
    def with_void(self, numbers: list[int]) -> np.ndarray:
        values = np.zeros((40, 40), np.uint8)
        for i, number in enumerate(numbers):
            values[:, 4 * i : 4 * i + 3] = number
        values[:, 35:37] = 255
        return values

    @pytest.mark.parametrize(("numbers", "told"), [([1], "1"), ([1, 2, 20], "1..20"), ([3, 7], "3..7")])
    def test_is_refused_with_what_it_may_mean(self, numbers: list[int], told: str, tmp_path: Path) -> None:
        values = self.with_void(numbers)
        assert beside_void(values) == told
        path = written(tmp_path / "a.png", values)
        with pytest.raises(InputError, match=r"255 stands apart.*--mask_rule#ignore 255.*over:0\.5"):
            read_mask(path)
        assert (read_mask(path, MaskRule(ignore=255)) == 255).sum() == (values == 255).sum()  # either cure works
        assert np.array_equal(read_mask(path, MaskRule("over:0.5")), values != 0)

    @pytest.mark.parametrize("values", [DISC * 255, DISC, NUMBERED, DISC * 255 + (1 - DISC) * 127])
    def test_two_values_and_many_numbers_have_none(self, values: np.ndarray) -> None:
        assert beside_void(values) == ""


def test_share_of_the_border() -> None:
    mask = np.zeros((4, 5), np.uint8)
    assert border_share(mask) == 0.0
    mask[0] = 1
    assert border_share(mask) == pytest.approx(5 / 14)
    mask[1:3, 1:4] = 1  # inside
    assert border_share(mask) == pytest.approx(5 / 14)
    mask[0] = 255
    assert border_share(mask) == 0.0
    assert border_share(np.ones((3, 3), np.uint8)) == 1.0
