from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.core.errors import InputError
from scripts.evaluation.metrics import (
    PxAP,
    auc_over_rounds,
    confusion,
    confusion_over_thresholds,
    dice,
    dice_and_miou_over_thresholds,
    mean_std,
    pixel_average_precision,
    thresholds_passed,
)

TABLE_3 = {
    "glas": {
        "WSL": "66.44 ± 0.20",
        "Random": "78.57 ± 0.93",
        "Entropy": "79.13 ± 0.26",
        "MC_Dropout": "77.92 ± 0.49",
        "Label_prop": "81.48 ± 1.03",
        "Full_sup": "86.53 ± 0.31",
    },
    "cub": {
        "WSL": "39.22 ± 0.19",
        "Random": "68.15 ± 0.61",
        "Entropy": "68.25 ± 0.29",
        "MC_Dropout": "67.69 ± 0.27",
        "Label_prop": "71.73 ± 0.67",
        "Full_sup": "75.29 ± 1.50",
    },
}


def test_dice_and_iou_equal_golden(golden):
    data = golden("metrics")
    truths = np.array(data["masks_true"]).astype(np.uint8)[:, None]  # (5, 1, 30)
    probs = np.array(data["masks_pred"])[:, None]
    for row in data["rows"]:
        preds = probs >= row["threshold"]
        pairs = list(zip(preds, truths, strict=True))
        np.testing.assert_allclose([dice(*pair) for pair in pairs], row["per_image_dice"], atol=1e-6)
        counts = [confusion(*pair) for pair in pairs]
        np.testing.assert_allclose([found.iou_fg for found in counts], row["per_image_iou_fg"], atol=1e-6)
        np.testing.assert_allclose([found.iou_bg for found in counts], row["per_image_iou_bg"], atol=1e-6)
        assert sum(dice(*pair) for pair in pairs) == pytest.approx(row["sum_dice"], abs=1e-6)
        assert sum(found.miou for found in counts) == pytest.approx(row["sum_miou"], abs=1e-6)


@pytest.mark.parametrize(
    ("pred", "truth", "expected"),
    [
        ([0, 0, 0], [0, 0, 0], (0.0, 1.0, 1.0)),  # both empty: Dice 0 by the published rule, IoU 1 by smoothing
        ([1, 0, 0], [0, 0, 0], (0.0, 1 / 2, 3 / 4)),
        ([0, 0, 0], [1, 1, 1], (0.0, 1 / 4, 1 / 4)),
        ([1, 1, 1], [1, 1, 1], (1.0, 1.0, 1.0)),
        ([1, 0, 1], [1, 255, 255], (1.0, 1.0, 1.0)),  # only the first pixel counts
        ([1, 1, 1], [255, 255, 255], (0.0, 1.0, 1.0)),
    ],
)
def test_rules_for_empty_masks_and_ignored_pixels(pred, truth, expected):
    pair = np.array([pred], dtype=np.uint8), np.array([truth], dtype=np.uint8)
    counts = confusion(*pair)
    assert (dice(*pair), counts.iou_fg, counts.iou_bg) == pytest.approx(expected)


def test_bad_pairs_are_refused():
    mask = np.zeros((2, 3), dtype=np.uint8)
    with pytest.raises(InputError, match="shape"):
        confusion(mask.T, mask)
    with pytest.raises(InputError, match="true mask"):
        confusion(mask, mask + np.uint8(2))
    with pytest.raises(InputError, match="true mask"):
        confusion(mask, mask.astype(np.int64))
    with pytest.raises(InputError, match="NaN"):
        confusion_over_thresholds(np.full((2, 3), np.nan, dtype=np.float32), mask, np.array([0.5]))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), shape=st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_all_thresholds_at_once_equal_one_comparison_each(seed, shape):
    rng = np.random.default_rng(seed)
    thresholds = np.arange(0.05, 1.0, 0.01)
    probs = rng.random(shape, dtype=np.float32)
    # values at, just below and just above a threshold decide whether the histogram is exact
    edges = thresholds[rng.integers(0, len(thresholds), shape)].astype(np.float32)
    nudged = np.nextafter(edges, rng.choice([0.0, 1.0], shape).astype(np.float32))
    choice = rng.integers(0, 5, shape)
    probs = np.select([choice == 0, choice == 1, choice == 2], [edges, nudged, rng.integers(0, 2, shape)], probs)
    probs = probs.astype(np.float32)
    truth = rng.choice(np.array([0, 1, 255], dtype=np.uint8), shape)

    dices, mious = dice_and_miou_over_thresholds(probs, truth, thresholds)

    for index, threshold in enumerate(thresholds):
        pred = probs >= threshold
        assert dices[index] == dice(pred, truth)
        assert mious[index] == confusion(pred, truth).miou


def _pxap_reference(cams, truths):
    """Every threshold compared with every pixel."""
    scaled, known = [], []
    for cam, truth in zip(cams, truths, strict=True):
        span = cam.max() - cam.min()
        flat = ((cam - cam.min()) / span if span else np.zeros_like(cam)).ravel()
        scaled.append(flat[truth.ravel() != 255])
        known.append(truth.ravel()[truth.ravel() != 255])
    values, positive = np.concatenate(scaled), np.concatenate(known) == 1
    area, last_recall = 0.0, 0.0
    for threshold in np.linspace(0, 1, 1001)[::-1]:
        chosen = values >= threshold
        recall = (chosen & positive).sum() / positive.sum()
        precision = (chosen & positive).sum() / max(chosen.sum(), 1)
        area += (recall - last_recall) * precision
        last_recall = recall
    return area


def test_pxap_equals_a_loop_over_thresholds():
    rng = np.random.default_rng(0)
    cams = [rng.normal(size=(7, 9)) * scale for scale in (1.0, 30.0, 1e-3)]
    truths = [rng.choice(np.array([0, 1, 255], dtype=np.uint8), (7, 9), p=(0.5, 0.4, 0.1)) for _ in cams]
    cams[1] += 40.0 * (truths[1] == 1)
    metric = PxAP()
    for cam, truth in zip(cams, truths, strict=True):
        metric.update(cam.astype(np.float64), truth)
    assert metric.compute() == pytest.approx(_pxap_reference(cams, truths), abs=1e-12)
    assert 0.4 < metric.compute() < 1


def test_pxap_of_perfect_constant_and_absent():
    truth = np.array([[0, 1], [1, 0]], dtype=np.uint8)
    metric = PxAP()
    metric.update(truth * 5.0 - 2.0, truth)
    assert metric.compute() == pytest.approx(1.0)
    metric.reset()
    metric.update(np.full((2, 2), 3.0), truth)  # everything is foreground at threshold 0: precision is the share
    assert metric.compute() == pytest.approx(0.5)
    metric.reset()
    metric.update(np.arange(4.0).reshape(2, 2), np.zeros((2, 2), dtype=np.uint8))
    assert np.isnan(metric.compute())
    with pytest.raises(InputError, match="finite"):
        metric.update(np.full((2, 2), np.inf), truth)


def test_auc_equals_golden(golden, shared):
    data = golden("auc")
    for toy in data["toy"]:
        assert auc_over_rounds(toy["curve"]) == pytest.approx(toy["auc"], abs=1e-6)
    curves = json.loads((shared / "reference" / "paper_curves.json").read_text())
    for dataset, methods in data["paper"].items():
        for method, expected in methods.items():
            aucs = [auc_over_rounds(curve) for curve in curves[dataset][method]]
            np.testing.assert_allclose(aucs, expected["auc_per_seed"], atol=1e-6)
            assert mean_std(aucs) == pytest.approx((expected["mean"], expected["std_population"]), abs=1e-6)


@pytest.mark.parametrize("dataset", ["glas", "cub"])
def test_table_3_to_the_printed_digit(shared, dataset):
    curves = json.loads((shared / "reference" / "paper_curves.json").read_text())[dataset]
    printed = {}
    for method in TABLE_3[dataset]:
        mean, std = mean_std([auc_over_rounds(curve) for curve in curves[method]])
        printed[method] = f"{mean:.2f} ± {std:.2f}"
    assert printed == TABLE_3[dataset]


def test_auc_and_mean_std_by_hand():
    assert auc_over_rounds([10, 20, 40]) == pytest.approx((5 + 20 + 20) / 2)
    assert auc_over_rounds([7.5]) == 7.5
    assert mean_std([1.0, 3.0]) == (2.0, 1.0)
    for function in (auc_over_rounds, mean_std):
        with pytest.raises(InputError):
            function([])


def test_pixel_average_precision_of_many_sets_at_once() -> None:
    rng = np.random.default_rng(0)
    cams, truths = rng.random((3, 8, 8)), (rng.random((3, 8, 8)) < 0.4).astype(np.uint8)
    truths[2] = 0
    areas = []
    tp, fp, positives = np.zeros((3, 101)), np.zeros((3, 101)), np.zeros(3)
    for at, (cam, truth) in enumerate(zip(cams, truths, strict=True)):
        one = PxAP(101)
        one.update(cam, truth)
        areas.append(one.compute())
        scaled = (cam - cam.min()) / (cam.max() - cam.min())
        for t, threshold in enumerate(np.linspace(0, 1, 101)):
            tp[at, t] = ((scaled >= threshold) & (truth == 1)).sum()
            fp[at, t] = ((scaled >= threshold) & (truth == 0)).sum()
        positives[at] = truth.sum()
    np.testing.assert_allclose(pixel_average_precision(tp, fp, positives), areas, atol=1e-12)
    assert np.isnan(areas[2])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "thresholds",
    [
        np.arange(0.05, 1.0, 0.01),
        np.linspace(0.0, 1.0, 1001),
        np.array([0.5]),
        np.array([0.5, 0.7]),
        np.concatenate([np.linspace(0.1, 0.4, 40), np.linspace(0.41, 0.9, 41)]),  # not even: searched
        np.array([0.1, 0.1000001, 0.9]),
    ],
    ids=["published", "pxap", "one", "two", "two scales", "uneven"],
)
def test_thresholds_passed_are_those_of_a_search(dtype: type, thresholds: np.ndarray):
    near = np.concatenate([thresholds, thresholds.astype(np.float32).astype(np.float64)])
    edges = np.concatenate([near, np.nextafter(near, 2), np.nextafter(near, -1), [0.0, 1.0]]).astype(dtype)
    around = np.concatenate([edges, np.nextafter(edges, dtype(2)), np.nextafter(edges, dtype(-1))])
    values = np.concatenate([around, np.random.default_rng(0).random(5000).astype(dtype)])
    expected = (values.astype(np.float64)[:, None] >= thresholds).sum(axis=1)
    assert np.array_equal(thresholds_passed(values, thresholds), expected)


def test_images_without_true_foreground_by_hand():
    truth = np.zeros((2, 4), np.uint8)
    truth[0, 0] = 255
    pred = np.array([[1, 1, 1, 0], [0, 0, 0, 0]])
    found = confusion(pred, truth)
    assert (found.has_foreground, found.is_empty, found.false_area) == (False, True, pytest.approx(2 / 7))
    everywhere = confusion(pred, np.full((2, 4), 255, np.uint8))
    assert (everywhere.has_foreground, everywhere.is_empty, everywhere.false_area) == (False, False, 0.0)
    truth[1, 1] = 1
    drawn = confusion_over_thresholds(pred.astype(np.float32), truth, np.array([0.0, 0.5]))
    assert (drawn.has_foreground, drawn.is_empty) == (True, False)
    assert drawn.false_area.tolist() == pytest.approx([1.0, 2 / 6])
