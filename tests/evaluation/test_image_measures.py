from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from monai.metrics import compute_dice, compute_iou

from scripts.evaluation.calibration import bin_sums
from scripts.evaluation.image_measures import measure_image
from scripts.evaluation.metrics import PxAP, dice, pixel_average_precision
from tests.support.measured import SIZE, made_prediction, made_truth

ITEM = {"id": "a", "label": 1, "patient_id": None, "split": "test"}


def one_hot(mask: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(mask.astype(np.float32))[None, None]


def test_dice_and_iou_are_monais() -> None:
    for seed in range(5):
        p, truth = made_prediction("a", seed), made_truth(seed)
        found = measure_image(ITEM, p, truth, None, 0.37).mask
        assert found is not None
        pred = p.probs >= 0.37
        assert float(found.pixels.dice) == pytest.approx(float(compute_dice(one_hot(pred), one_hot(truth))), abs=1e-6)
        assert found.iou == pytest.approx(float(compute_iou(one_hot(pred), one_hot(truth))), abs=1e-6)


def test_class_probabilities_are_the_softmax() -> None:
    p = replace(made_prediction("a", 0), scores=np.array([0.0, np.log(3)], dtype=np.float32))
    found = measure_image(ITEM, p, None, None, 0.5)
    assert found.class_probs == pytest.approx([0.25, 0.75])
    assert (found.predicted, found.mask) == (1, None)


def test_cam_is_that_of_the_true_class() -> None:
    p, truth = made_prediction("a", 3), made_truth(3)
    found = measure_image(ITEM, p, truth, None, 0.5).mask
    assert found is not None
    area = PxAP()
    area.update(p.cam(1), truth)
    positives = found.cam.tp[0] + found.cam.fn[0]
    assert float(pixel_average_precision(found.cam.tp, found.cam.fp, positives)) == area.compute()


def test_mask_of_the_classifier() -> None:
    p, truth = made_prediction("a", 3), made_truth(3)
    found = measure_image(ITEM, p, truth, None, 0.5, mask_from="cam").mask
    assert found is not None and found.bins is None
    assert float(found.pixels.dice) == dice(p.cam_mask(1), truth)


def test_ignored_pixels_count_nowhere() -> None:
    p, truth = made_prediction("a", 2), made_truth(2)
    hidden = np.zeros(SIZE, dtype=bool)
    hidden[:12] = True
    found = measure_image(ITEM, p, np.where(hidden, 255, truth).astype(np.uint8), None, 0.5).mask
    other = replace(p, probs=np.where(hidden, 1 - p.probs, p.probs))
    again = measure_image(ITEM, other, np.where(hidden, 255, truth).astype(np.uint8), None, 0.5).mask
    assert found is not None and again is not None
    assert found.pixels == again.pixels and found.hd95 == again.hd95 and found.objects == again.objects
    np.testing.assert_array_equal(found.bins, bin_sums(p.probs[~hidden], truth[~hidden]))
    assert int(found.pixels.tp + found.pixels.fp + found.pixels.fn + found.pixels.tn) == 12 * SIZE[1]


def test_numbered_objects_that_touch_stay_apart() -> None:
    truth = np.zeros(SIZE, dtype=np.uint8)
    truth[5:10, 5:15] = 1
    numbered = truth.astype(np.int64)
    numbered[5:10, 10:15] = 2
    p = replace(made_prediction("a", 0), probs=truth.astype(np.float32))
    joined, apart = (measure_image(ITEM, p, truth, objects, 0.5).mask for objects in (None, numbered))
    assert joined is not None and apart is not None
    assert (joined.objects.n_true, joined.objects.f1) == (1, 1.0)
    assert (apart.objects.n_true, apart.objects.tp) == (2, 1)


class TestEmptyMasks:
    """What docs/evaluation.md says of them."""

    @pytest.mark.parametrize(
        ("pred", "true", "dice", "iou", "hd95", "objects"),
        [
            (0, 0, 0.0, 0.0, 0.0, 1.0),
            (0, 1, 0.0, 0.0, float(np.hypot(*SIZE)), 0.0),
            (1, 0, 0.0, 0.0, float(np.hypot(*SIZE)), 0.0),
            (1, 1, 1.0, 1.0, 0.0, 1.0),
        ],
    )
    def test_rules(self, pred: int, true: int, dice: float, iou: float, hd95: float, objects: float) -> None:
        p = replace(made_prediction("a", 0), probs=np.full(SIZE, float(pred), dtype=np.float32))
        found = measure_image(ITEM, p, np.full(SIZE, true, dtype=np.uint8), None, 0.5).mask
        assert found is not None
        assert float(found.pixels.dice) == pytest.approx(dice)
        assert (found.iou, found.hd95) == (iou, hd95)
        assert (found.objects.dice, found.objects.f1) == (objects, objects)
