"""Metrics of a set of images under weights: one row of weights is the set itself, many rows are its bootstrap draws.

Every metric maps weights (B, N), how often each image counts, to (B,) values; NaN where it does not exist. So the value
and its interval come from the same lines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields

import numpy as np

from scripts.core.run_names import Measure
from scripts.evaluation.calibration import bin_sums, expected_calibration_error
from scripts.evaluation.image_measures import CAM_THRESHOLDS, ImageMeasures, MaskMeasures
from scripts.evaluation.metrics import pixel_average_precision
from scripts.evaluation.objects import ObjectSums, stacked

Metric = Callable[[np.ndarray], np.ndarray]
_POOLED = (Measure.OBJECT_DICE, Measure.OBJECT_F1, Measure.PIXEL_ECE, Measure.DICE_ALL)
"""Metrics of masks that images without true foreground count in, also where these are kept apart."""
_OF_EMPTY = (Measure.CLEAN_SHARE, Measure.FALSE_AREA)


class ImageSet:
    """The measures of N images as arrays, and the metrics made of them.

    Args:
        images: at least one.
        classes: number of image classes.
        empty_apart: keep images without true foreground out of the means over images, since some classes have none:
            they have metrics of their own.
    """

    def __init__(self, images: Sequence[ImageMeasures], classes: int, empty_apart: bool = False) -> None:
        self.empty_apart = empty_apart
        self.labels = np.array([image.item["label"] for image in images])
        self.class_probs = np.stack([image.class_probs for image in images])  # (N, C)
        right = self.class_probs.argmax(axis=1) == self.labels
        self.right = right.astype(np.float64)
        self.class_bins = np.stack(
            [bin_sums(p.max(keepdims=True), r[None]) for p, r in zip(self.class_probs, right, strict=True)]
        )  # (N, 3, bins)
        self.classes = classes
        self.masked = np.array([image.mask is not None for image in images])
        self.masks: list[MaskMeasures] = [image.mask for image in images if image.mask is not None]
        self._drawn = np.array([mask.pixels.has_foreground or not empty_apart for mask in self.masks], bool)
        self._empty = np.array([mask.pixels.is_empty and empty_apart for mask in self.masks], bool)

    def metrics(self) -> dict[str, Metric]:
        """Return the metrics by name, in the order they are reported; those of masks only where there are masks."""
        found: dict[str, Metric] = {}
        if self.masks:
            found |= self._mask_metrics()
        return found | {
            Measure.ACCURACY: lambda w: weighted_mean(w, self.right),
            Measure.AUROC: self._auroc,
            Measure.CLASS_ECE: self._class_ece,
        }

    def count(self, metric: str) -> int:
        """Return how many images a metric of masks is made of."""
        if metric in _OF_EMPTY:
            return int(self._empty.sum())
        return len(self.masks) if metric in _POOLED else int(self._drawn.sum())

    def confusion_matrix(self) -> np.ndarray:
        """Return int64 (classes, classes): rows are the true classes, columns the predicted."""
        pairs = self.labels * self.classes + self.class_probs.argmax(axis=1)
        return np.bincount(pairs, minlength=self.classes**2).reshape(self.classes, self.classes)

    def pixel_bins(self) -> np.ndarray | None:
        """Return the calibration bins of all pixels, (3, bins); None for masks without probabilities."""
        bins = [mask.bins for mask in self.masks if mask.bins is not None]
        return np.sum(bins, axis=0) if bins else None

    def best_cam_threshold(self) -> float | None:
        """Return the threshold of the highest mean Dice of the scaled maps, the lowest of equals; None without any."""
        if not self._drawn.any():
            return None
        return float(CAM_THRESHOLDS[self._cam_dice()[self._drawn].mean(axis=0).argmax()])

    def _mask_metrics(self) -> dict[str, Metric]:
        dice, iou, hd95 = (
            np.array(column)
            for column in zip(*[(float(m.pixels.dice), m.iou, m.hd95) for m in self.masks], strict=True)
        )
        objects = stacked([mask.objects for mask in self.masks])
        tp, fp = (np.stack([getattr(m.cam, name) for m in self.masks]) for name in ("tp", "fp"))
        positives = tp[:, 0] + np.array([m.cam.fn[0] for m in self.masks])
        cam_dice = self._cam_dice()

        def of_masks(name: str, metric: Metric) -> Metric:
            chosen = self._empty if name in _OF_EMPTY else self._drawn
            if name in _POOLED or chosen.all():
                return lambda w: _where_any(metric, w[:, self.masked])
            return lambda w: _where_any(metric, w[:, self.masked] * chosen)

        found: dict[str, Metric] = {
            Measure.DICE: lambda w: weighted_mean(w, dice),
            Measure.IOU: lambda w: weighted_mean(w, iou),
            Measure.HD95: lambda w: weighted_mean(w, hd95),
            Measure.OBJECT_DICE: lambda w: _pooled(objects, w).dice,
            Measure.OBJECT_F1: lambda w: _pooled(objects, w).f1,
            Measure.OBJECT_DICE_PER_IMAGE: lambda w: weighted_mean(w, objects.dice),
            Measure.OBJECT_F1_PER_IMAGE: lambda w: weighted_mean(w, objects.f1),
            Measure.PXAP: lambda w: pixel_average_precision(w @ tp, w @ fp, w @ positives),
            Measure.CAM_BEST_DICE: lambda w: (w @ cam_dice).max(axis=1) / w.sum(axis=1),
        }
        if all(mask.bins is not None for mask in self.masks):
            bins = np.stack([mask.bins for mask in self.masks if mask.bins is not None])
            found[Measure.PIXEL_ECE] = lambda w: expected_calibration_error(np.tensordot(w, bins, axes=1))
        if self.empty_apart:
            found |= self._apart_metrics(dice)
        return {name: of_masks(name, metric) for name, metric in found.items()}

    def _apart_metrics(self, dice: np.ndarray) -> dict[str, Metric]:
        """Return the published Dice of all masks (N,), and what is told of those without true foreground."""
        clean = np.array([float(mask.pixels.fp == 0) for mask in self.masks])
        area = np.array([float(mask.pixels.false_area) for mask in self.masks])
        return {
            Measure.DICE_ALL: lambda w: weighted_mean(w, dice),
            Measure.CLEAN_SHARE: lambda w: weighted_mean(w, clean),
            Measure.FALSE_AREA: lambda w: weighted_mean(w, area),
        }

    def _cam_dice(self) -> np.ndarray:
        return np.stack([mask.cam.dice for mask in self.masks])  # (masks, T)

    def _auroc(self, weights: np.ndarray) -> np.ndarray:
        """Return the area of the positive class for two classes, else the mean over classes against the rest."""
        chosen = [1] if self.classes == 2 else range(self.classes)
        return np.mean([auroc(self.class_probs[:, c], self.labels == c, weights) for c in chosen], axis=0)

    def _class_ece(self, weights: np.ndarray) -> np.ndarray:
        return expected_calibration_error(np.tensordot(weights, self.class_bins, axes=1))


def weighted_mean(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the mean (B,) of values (N,) under each row of weights (B, N); NaN for a row of zeros."""
    total = weights.sum(axis=1)
    return np.divide(weights @ values, total, out=np.full(total.shape, np.nan), where=total > 0)


def auroc(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve (B,): how often a positive scores above a negative, ties as half.

    Args:
        scores: (N,) float.
        positive: (N,) bool.
        weights: (B, N).

    Returns:
        in [0, 1]; NaN where one side has no weight.
    """
    order = np.argsort(scores, kind="stable")
    first = np.flatnonzero(np.diff(scores[order], prepend=np.nan) != 0)  # where each distinct score begins
    sides = (weights * positive, weights * ~positive)
    up, down = (np.add.reduceat(side[:, order], first, axis=1) for side in sides)  # (B, distinct scores)
    below = np.cumsum(down, axis=1) - down
    pairs = up.sum(axis=1) * down.sum(axis=1)
    won = (up * (below + 0.5 * down)).sum(axis=1)
    return np.divide(won, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)


def _pooled(objects: ObjectSums, weights: np.ndarray) -> ObjectSums:
    return ObjectSums(**{field.name: weights @ getattr(objects, field.name) for field in fields(ObjectSums)})


def _where_any(metric: Metric, weights: np.ndarray) -> np.ndarray:
    """Apply a metric to the rows that have any weight; the others get NaN."""
    some = weights.sum(axis=1) > 0
    found = np.full(len(weights), np.nan)
    if some.any():
        found[some] = metric(weights[some])
    return found
