"""Metrics of whole objects, as the GlaS challenge measured glands (Sirinukunwattana et al. 2017).

Every object is compared with the object of the other side that it overlaps most (of equal overlaps, the one of the
lowest number). What an image adds is kept as sums, so that a set of images is measured as the challenge did: over all
objects of all images. Empty rule: without objects on both sides a metric is 1, on one side only it is 0.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields

import numpy as np
from scipy.stats.contingency import crosstab

from scripts.core.errors import InputError, Problem


@dataclass(frozen=True)
class ObjectSums:
    """What one image adds, or arrays of it.

    Attributes:
        tp: true objects that were detected.
        n_true: true objects.
        n_pred: predicted objects.
        true_area: pixels of all true objects.
        pred_area: pixels of all predicted objects.
        true_dice: sum over true objects of their area times the Dice with their counterpart, 0 without one.
        pred_dice: the same over predicted objects.
    """

    tp: np.ndarray
    n_true: np.ndarray
    n_pred: np.ndarray
    true_area: np.ndarray
    pred_area: np.ndarray
    true_dice: np.ndarray
    pred_dice: np.ndarray

    @property
    def f1(self) -> np.ndarray:
        """F1 of detection in [0, 1]: 2 tp / (2 tp + fp + fn), where fp = n_pred - tp and fn = n_true - tp."""
        objects = np.asarray(self.n_true + self.n_pred, dtype=np.float64)
        return np.divide(2.0 * self.tp, objects, out=np.ones_like(objects), where=objects > 0)

    @property
    def dice(self) -> np.ndarray:
        """Object-level Dice in [0, 1]: mean of both sides' Dice, weighted within each side by area."""
        true, pred = (_share(*pair) for pair in ((self.true_dice, self.true_area), (self.pred_dice, self.pred_area)))
        empty = (np.asarray(self.true_area) == 0) & (np.asarray(self.pred_area) == 0)
        return np.where(empty, 1.0, 0.5 * (true + pred))


def object_sums(pred: np.ndarray, truth: np.ndarray) -> ObjectSums:
    """Compare the objects of one image.

    A true object counts as detected if a predicted object covers at least half of it and overlaps no other true object
    more. So a predicted object detects one true object at most, and each true object counts once.

    Args:
        pred: (H, W) integer, 0 background, each other value an object.
        truth: likewise; pixels that count nowhere must be 0 in both.

    Raises:
        InputError: shapes differ.
    """
    if pred.shape != truth.shape:
        raise InputError(Problem("objects differ in shape", "object_sums", f"{truth.shape}", f"{pred.shape}"))
    table = overlaps(truth, pred)
    shared = table[1:, 1:]  # (true objects, predicted objects)
    true_area, pred_area = table[1:].sum(axis=1), table[:, 1:].sum(axis=0)
    if shared.size == 0:
        tp, true_dice, pred_dice = 0, 0.0, 0.0
    else:
        dices = 2.0 * shared / (true_area[:, None] + pred_area)
        of_true, of_pred = shared.argmax(axis=1), shared.argmax(axis=0)
        true_dice = float((true_area * dices[np.arange(len(true_area)), of_true]).sum())
        pred_dice = float((pred_area * dices[of_pred, np.arange(len(pred_area))]).sum())
        covered = 2 * shared[of_pred, np.arange(len(pred_area))] >= true_area[of_pred]
        tp = len(np.unique(of_pred[covered]))
    numbers = (tp, len(true_area), len(pred_area), true_area.sum(), pred_area.sum(), true_dice, pred_dice)
    return ObjectSums(*(np.asarray(number, dtype=np.float64) for number in numbers))


def overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the pixels that each pair of objects shares, int64 (1 + objects of a, 1 + objects of b).

    Row and column 0 are the background, the others the objects by ascending value.
    """
    table = crosstab(np.append(a, 0), np.append(b, 0)).count  # with a 0 more, so that the background is there
    table[0, 0] -= 1
    return table


def stacked(sums: list[ObjectSums]) -> ObjectSums:
    """Return the sums of N images as arrays (N,)."""
    columns = zip(*map(astuple, sums), strict=True) if sums else [()] * len(fields(ObjectSums))
    return ObjectSums(*(np.array(column, dtype=np.float64) for column in columns))


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    whole = np.asarray(whole, dtype=np.float64)
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)
