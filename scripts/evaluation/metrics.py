"""Segmentation and localisation metrics, and how a whole learning curve is summarised.

Rules that hold for every metric here:

* Pixels whose truth is 255 are left out of every count.
* Dice of the foreground is ``2 |A and B| / (|A| + |B| + 1e-8)`` per image, then averaged over images. An image without
  foreground in its truth therefore scores 0, an empty prediction of it included: the published rule, kept so that
  figures compare.
* IoU is ``(intersection + 1) / (union + 1)`` per image for the foreground and for the background, and mIoU is their
  mean. Two empty masks score 1; near-empty masks score higher than without the smoothing.
* A map of probabilities is cut by ``probs >= threshold``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scripts.core.errors import InputError, Problem
from scripts.images.values import IGNORE

_DICE_EPSILON = 1e-8
_IOU_SMOOTH = 1.0


@dataclass(frozen=True)
class Confusion:
    """Pixel counts of one image, or arrays of them: one entry per threshold.

    Attributes:
        tp: predicted and true foreground, int64.
        fp: predicted foreground, true background.
        fn: predicted background, true foreground.
        tn: predicted and true background.
    """

    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray
    tn: np.ndarray

    @property
    def dice(self) -> np.ndarray:
        """Dice of the foreground in [0, 1], float64."""
        return 2.0 * self.tp / (2.0 * self.tp + self.fp + self.fn + _DICE_EPSILON)

    @property
    def iou_fg(self) -> np.ndarray:
        """Smoothed IoU of the foreground in (0, 1], float64."""
        return (self.tp + _IOU_SMOOTH) / (self.tp + self.fp + self.fn + _IOU_SMOOTH)

    @property
    def iou_bg(self) -> np.ndarray:
        """Smoothed IoU of the background in (0, 1], float64."""
        return (self.tn + _IOU_SMOOTH) / (self.tn + self.fp + self.fn + _IOU_SMOOTH)

    @property
    def miou(self) -> np.ndarray:
        """Mean of the two smoothed IoUs in (0, 1], float64."""
        return 0.5 * (self.iou_fg + self.iou_bg)

    @property
    def has_foreground(self) -> bool:
        """Whether the truth has foreground."""
        return bool(np.ravel(self.tp + self.fn)[0] > 0)

    @property
    def is_empty(self) -> bool:
        """Whether the truth is known to have none: a mask that is ignored everywhere is neither."""
        return not self.has_foreground and bool(np.ravel(self.fp + self.tn)[0] > 0)

    @property
    def false_area(self) -> np.ndarray:
        """Share of the known true background that is predicted as foreground, in [0, 1], float64; 0 without any."""
        return self.fp / np.maximum(self.fp + self.tn, 1)


def confusion(pred: np.ndarray, truth: np.ndarray) -> Confusion:
    """Count the pixels of one image.

    Args:
        pred: (H, W) bool, or integer where non-zero is foreground.
        truth: (H, W) uint8 in {0, 1, 255}; 255 is ignored.

    Raises:
        InputError: shapes differ, or the truth holds another value.
    """
    _check_pair(pred, truth)
    counts = np.bincount((truth.ravel() * np.uint8(2) + (pred.ravel() != 0))[truth.ravel() != IGNORE], minlength=4)
    tn, fp, fn, tp = counts[:4]
    return Confusion(tp=tp, fp=fp, fn=fn, tn=tn)


def dice(pred: np.ndarray, truth: np.ndarray) -> float:
    """Dice of the foreground of one image, in [0, 1]; arguments as for :func:`confusion`."""
    return float(confusion(pred, truth).dice)


def confusion_over_thresholds(probs: np.ndarray, truth: np.ndarray, thresholds: np.ndarray) -> Confusion:
    """Count the pixels of one image at all thresholds in one pass.

    ``probs >= t`` holds for exactly those thresholds that lie at or below the probability, so one histogram over the
    thresholds and its reversed running sum replace T comparisons of all pixels. The comparison is that of float64, as
    numpy compares a float32 map with a float64 threshold array.

    Args:
        probs: (H, W) float32 or float64 in [0, 1], no NaN.
        truth: (H, W) uint8 in {0, 1, 255}; 255 is ignored.
        thresholds: (T,) float64, ascending.

    Returns:
        counts as arrays (T,).

    Raises:
        InputError: shapes differ, the truth holds another value, or a probability is NaN.
    """
    _check_pair(probs, truth)
    flat, known = probs.ravel(), truth.ravel()
    valid = known != IGNORE
    if not valid.all():
        flat, known = flat[valid], known[valid]
    if np.isnan(flat).any():
        raise InputError(Problem("NaN among the probabilities", "metrics", "values in [0, 1]", "NaN"))
    passed = thresholds_passed(flat, thresholds)
    bins = len(thresholds) + 1
    counts = np.bincount(passed + np.int32(bins) * known, minlength=2 * bins).reshape(2, bins)
    at_least = counts[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]  # (2, T) pixels with p >= t, per true class
    negatives, positives = counts.sum(axis=1)
    fp, tp = at_least
    return Confusion(tp=tp, fp=fp, fn=positives - tp, tn=negatives - fp)


def thresholds_passed(values: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Return how many thresholds each value reaches, ``value >= threshold`` in float64.

    Of evenly spaced thresholds the place is computed and mended by at most one, at a tenth of the cost of a search.

    Args:
        values: (P,) float32 or float64, no NaN.
        thresholds: (T,) float64, ascending.

    Returns:
        (P,) int32 or int64 in [0, T].
    """
    if values.dtype == np.float32:
        # of float32 values, those at or above t are those at or above the least float32 that is not below t
        near = thresholds.astype(np.float32)
        thresholds = np.where(near < thresholds, np.nextafter(near, np.float32(np.inf)), near)
    last = len(thresholds) - 1
    even, step = np.linspace(thresholds[0], thresholds[last], last + 1, retstep=True)
    if last == 0 or np.abs(thresholds - even).max() > 0.25 * step:
        return np.searchsorted(thresholds, values, side="right")
    edges = np.append(thresholds, values.dtype.type(np.inf)).astype(values.dtype)
    guess = (values - edges[0]) / values.dtype.type(step)
    place = np.clip(guess, 0, last).astype(np.int32)
    place -= values < edges[place]  # -1 below the first
    place += values >= edges[place + 1]
    return place + 1


def dice_and_miou_over_thresholds(
    probs: np.ndarray, truth: np.ndarray, thresholds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return Dice (T,) and mIoU (T,), float64, of one image; arguments as :func:`confusion_over_thresholds`."""
    counts = confusion_over_thresholds(probs, truth, thresholds)
    return counts.dice, counts.miou


class PxAP:
    """Pixel average precision of localisation maps, pooled over all pixels of all images (Choe et al. 2020).

    Each map is scaled to [0, 1] by its own minimum and maximum (a constant map becomes 0 everywhere). Precision and
    recall are taken at ``thresholds`` even steps 0, 1/1000, ..., 1 of ``map >= t``; the area is the sum of recall
    step times precision, from the highest threshold down. Use: ``update`` per image, then ``compute``.

    Args:
        thresholds: how many thresholds, at least 2.
    """

    def __init__(self, thresholds: int = 1001) -> None:
        if thresholds < 2:
            raise InputError(Problem("too few thresholds", "PxAP", ">= 2", str(thresholds)))
        self.thresholds = np.linspace(0.0, 1.0, thresholds)
        self.reset()

    def reset(self) -> None:
        """Forget every image."""
        self._tp = np.zeros(len(self.thresholds), dtype=np.int64)
        self._fp = np.zeros(len(self.thresholds), dtype=np.int64)
        self._positives = 0

    def update(self, cam: np.ndarray, truth: np.ndarray) -> None:
        """Add one image.

        Args:
            cam: (H, W) float of any finite range.
            truth: (H, W) uint8 in {0, 1, 255}.

        Raises:
            InputError: shapes differ, or the map is not finite.
        """
        counts = cam_counts(cam, truth, self.thresholds)
        self._tp += counts.tp
        self._fp += counts.fp
        self._positives += int(counts.tp[0] + counts.fn[0])

    def compute(self) -> float:
        """Return the area in [0, 1]; NaN when no image had a foreground pixel, since recall is then undefined."""
        return float(pixel_average_precision(self._tp, self._fp, np.asarray(self._positives)))


def cam_counts(cam: np.ndarray, truth: np.ndarray, thresholds: np.ndarray) -> Confusion:
    """Count the pixels of a localisation map, scaled to [0, 1] by its own minimum and maximum, at all thresholds.

    Args:
        cam: (H, W) float of any finite range; a constant map becomes 0 everywhere.
        truth: (H, W) uint8 in {0, 1, 255}.
        thresholds: (T,) float64, ascending.

    Raises:
        InputError: shapes differ, or the map is not finite.
    """
    cam = np.asarray(cam, dtype=np.float64)
    if not np.isfinite(cam).all():
        raise InputError(Problem("map is not finite", "PxAP", "finite values", "NaN or infinity"))
    low, high = cam.min(), cam.max()
    scaled = (cam - low) / (high - low) if high > low else np.zeros_like(cam)
    return confusion_over_thresholds(scaled, truth, thresholds)


def pixel_average_precision(tp: np.ndarray, fp: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Return the area of :class:`PxAP` from counts, for one or many sets of images.

    Args:
        tp: (..., T) counts by ascending threshold, the first of which no pixel fails.
        fp: (..., T) likewise.
        positives: (...) true foreground pixels.

    Returns:
        (...) float64 in [0, 1]; NaN without a foreground pixel.
    """
    predicted = np.asarray(tp + fp, dtype=np.float64)
    # Where nothing is predicted, recall does not move either, so the precision chosen there has no effect.
    precision = np.divide(tp, predicted, out=np.zeros_like(predicted), where=predicted > 0)[..., ::-1]
    known = np.asarray(positives, dtype=np.float64)[..., None]
    recall = np.divide(tp, known, out=np.full_like(predicted, np.nan), where=known > 0)[..., ::-1]
    return np.sum(np.diff(recall, prepend=0.0, axis=-1) * precision, axis=-1)


def auc_over_rounds(curve: Sequence[float]) -> float:
    """Area under a learning curve by the trapezoid rule over unit-spaced rounds, divided by their number minus one.

    That is the mean over rounds with half weight on both ends, in the unit of ``curve``; a curve of one round gives
    its value (Belharbi et al. 2021, Table 3).

    Raises:
        InputError: an empty curve.
    """
    values = np.asarray(curve, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0:
        raise InputError(Problem("no curve to summarise", "auc_over_rounds", "at least one round", f"{values.shape}"))
    if len(values) == 1:
        return float(values[0])
    return float((values[:-1] + values[1:]).mean() / 2.0)


def mean_std(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and population standard deviation (ddof 0, as published) over seeds.

    Raises:
        InputError: no value.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        raise InputError(Problem("no value to summarise", "mean_std", "at least one value", "none"))
    return float(array.mean()), float(array.std(ddof=0))


def _check_pair(pred: np.ndarray, truth: np.ndarray) -> None:
    if pred.shape != truth.shape:
        raise InputError(Problem("prediction and truth differ in shape", "metrics", f"{truth.shape}", f"{pred.shape}"))
    if truth.dtype != np.uint8 or ((truth > 1) & (truth != IGNORE)).any():
        found = f"{truth.dtype} with values up to {truth.max(initial=0)}"
        raise InputError(Problem("not a true mask", "metrics", "uint8 in {0, 1, 255}", found))
