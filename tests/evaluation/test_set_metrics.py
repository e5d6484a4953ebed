from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from monai.metrics import compute_roc_auc

from scripts.evaluation.calibration import bin_sums, expected_calibration_error
from scripts.evaluation.image_measures import ImageMeasures, measure_image
from scripts.evaluation.metrics import PxAP, dice
from scripts.evaluation.set_metrics import ImageSet, auroc, weighted_mean
from tests.support.measured import made_images, made_prediction, made_truth


def once(n: int) -> np.ndarray:
    return np.ones((1, n))


def values(images: list, classes: int = 2) -> dict[str, float]:
    return {name: float(f(once(len(images)))[0]) for name, f in ImageSet(images, classes).metrics().items()}


@pytest.mark.parametrize("classes", [2, 3])
def test_weights_are_repetitions(classes: int) -> None:
    images = made_images(9, classes, without_mask=(4,))
    counts = np.random.default_rng(0).integers(0, 4, (5, 9)).astype(float)
    weighted = {name: metric(counts) for name, metric in ImageSet(images, classes).metrics().items()}
    for row, count in enumerate(counts.astype(int)):
        repeated = [image for image, times in zip(images, count, strict=True) for _ in range(times)]
        for name, value in values(repeated, classes).items():
            assert weighted[name][row] == pytest.approx(value, abs=1e-12, nan_ok=True), name


def test_masks_by_other_means() -> None:
    images = made_images(6)
    found = values(images)
    pairs = [(made_prediction("", i), made_truth(i)) for i in range(6)]
    assert found["dice"] == pytest.approx(np.mean([dice(p.probs >= 0.5, truth) for p, truth in pairs]))
    area, curves = PxAP(), []
    for i, (p, truth) in enumerate(pairs):
        cam = p.cam(i % 2).astype(np.float64)
        area.update(cam, truth)
        scaled = (cam - cam.min()) / (cam.max() - cam.min())
        curves.append([dice(scaled >= t, truth) for t in np.linspace(0, 1, 1001)[::50]])
    assert found["pxap"] == pytest.approx(area.compute(), abs=1e-12)
    assert found["cam_best_dice"] >= np.mean(curves, axis=0).max() - 1e-12
    best = ImageSet(images, 2).best_cam_threshold()
    scaled_dice = []
    for i, (p, truth) in enumerate(pairs):
        cam = p.cam(i % 2).astype(np.float64)
        scaled_dice.append(dice((cam - cam.min()) / (cam.max() - cam.min()) >= best, truth))
    assert found["cam_best_dice"] == pytest.approx(np.mean(scaled_dice), abs=1e-12)
    sums = bin_sums(np.concatenate([p.probs.ravel() for p, _ in pairs]), np.concatenate([t.ravel() for _, t in pairs]))
    assert found["pixel_ece"] == pytest.approx(float(expected_calibration_error(sums)))


def test_classes_by_other_means() -> None:
    images = made_images(12, classes=3)
    measured, found = ImageSet(images, 3), values(images, 3)
    probs = np.stack([image.class_probs for image in images])
    truth = np.arange(12) % 3
    right = probs.argmax(axis=1) == truth
    assert found["accuracy"] == right.mean()
    assert found["class_ece"] == pytest.approx(float(expected_calibration_error(bin_sums(probs.max(axis=1), right))))
    one_hot = torch.nn.functional.one_hot(torch.from_numpy(truth))
    assert found["auroc"] == pytest.approx(compute_roc_auc(torch.from_numpy(probs), one_hot, "macro"), abs=1e-9)
    matrix = measured.confusion_matrix()
    assert matrix.sum() == 12 and np.trace(matrix) == right.sum()
    assert [matrix[1, c] for c in range(3)] == [((truth == 1) & (probs.argmax(axis=1) == c)).sum() for c in range(3)]


class TestAuroc:
    @pytest.mark.parametrize("seed", range(5))
    def test_equals_monai_with_ties(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        scores, positive = rng.integers(0, 6, 40) / 5, rng.random(40) < 0.4
        expected = compute_roc_auc(torch.from_numpy(scores), torch.from_numpy(positive.astype(int)))
        assert auroc(scores, positive, once(40))[0] == pytest.approx(expected, abs=1e-12)

    def test_by_hand(self) -> None:
        scores, positive = np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, True, False, True])
        # pairs: .4>.1, .4=.4, .9>.1, .9>.4
        assert auroc(scores, positive, once(4))[0] == 3.5 / 4

    def test_one_side_alone(self) -> None:
        weights = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
        found = auroc(np.array([0.2, 0.8]), np.array([False, True]), weights)
        assert np.isnan(found[:2]).all() and found[2] == 1.0


def test_images_without_masks_have_class_metrics_only() -> None:
    images = made_images(3, without_mask=(0, 1, 2))
    assert set(values(images)) == {"accuracy", "auroc", "class_ece"}
    assert ImageSet(images, 2).pixel_bins() is None


def test_a_draw_without_any_mask_has_no_metric_of_masks() -> None:
    metrics = ImageSet(made_images(3, without_mask=(0, 1)), 2).metrics()
    weights = np.array([[1.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
    for name in ("dice", "hd95", "object_f1", "pxap", "cam_best_dice", "pixel_ece"):
        found = metrics[name](weights)
        assert math.isnan(found[0]) and not math.isnan(found[1]), name


def test_weighted_mean() -> None:
    found = weighted_mean(np.array([[1.0, 3.0], [0.0, 0.0]]), np.array([4.0, 8.0]))
    assert found[0] == 7.0 and math.isnan(found[1])


class TestEmptyApart:
    """Four images; the masks of the last two are empty, and one of these is predicted so."""

    def images(self) -> list[ImageMeasures]:
        found = []
        for i in range(4):
            item = {"id": f"i{i}", "label": int(i > 1), "patient_id": None, "split": "test"}
            truth = made_truth(i) if i < 2 else np.zeros((24, 30), np.uint8)
            prediction = made_prediction(f"i{i}", i)
            if i == 3:
                prediction = replace(prediction, scores=np.array([0, 1], np.float32)).gated((1,))
            found.append(measure_image(item, prediction, truth, None, 0.5))
        return found

    def values(self, images: list[ImageMeasures]) -> dict[str, float]:
        return {name: float(f(once(len(images)))[0]) for name, f in ImageSet(images, 2, True).metrics().items()}

    def test_means_are_over_images_with_foreground(self) -> None:
        images = self.images()
        found, drawn = self.values(images), values(images[:2])
        for name in ("dice", "iou", "hd95", "object_dice_per_image", "object_f1_per_image", "pxap", "cam_best_dice"):
            assert found[name] == pytest.approx(drawn[name], abs=1e-12), name
        usual = values(images)
        assert found["dice_all"] == pytest.approx(usual["dice"], abs=1e-12) == pytest.approx(drawn["dice"] / 2)
        for name in ("object_dice", "object_f1", "pixel_ece", "accuracy"):
            assert found[name] == usual[name], name
        area = float((made_prediction("", 2).probs >= 0.5).mean())
        assert (found["clean_share"], found["false_area"]) == (0.5, pytest.approx(area / 2))
        assert usual.keys() == found.keys() - {"dice_all", "clean_share", "false_area"}

    def test_counts_tell_what_a_metric_is_made_of(self) -> None:
        measured = ImageSet(self.images(), 2, True)
        assert [measured.count(name) for name in ("dice", "dice_all", "object_f1", "clean_share")] == [2, 4, 4, 2]
        assert ImageSet(self.images(), 2).count("dice") == 4
        assert measured.best_cam_threshold() == ImageSet(self.images()[:2], 2).best_cam_threshold()

    def test_a_group_of_empty_masks_has_no_dice(self) -> None:
        found = self.values(self.images()[2:])
        assert math.isnan(found["dice"]) and math.isnan(found["hd95"]) and math.isnan(found["pxap"])
        assert (found["dice_all"], found["clean_share"]) == (0.0, 0.5)
        assert ImageSet(self.images()[2:], 2, True).best_cam_threshold() is None

    def test_a_draw_without_empty_masks_has_no_clean_share(self) -> None:
        metrics = ImageSet(self.images(), 2, True).metrics()
        draws = np.array([[2, 2, 0, 0], [0, 0, 1, 3]], float)
        assert metrics["clean_share"](draws)[1] == 0.75 and math.isnan(metrics["clean_share"](draws)[0])
        assert math.isnan(metrics["dice"](draws)[1])
