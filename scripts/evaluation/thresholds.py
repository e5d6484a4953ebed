"""The threshold that cuts probabilities into masks, estimated on validation masks, and the pseudo-masks it makes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from scripts.core.errors import InputError, Problem
from scripts.evaluation.metrics import confusion_over_thresholds


def grid() -> np.ndarray:
    """Return the 95 candidate thresholds 0.05, 0.06, ..., 0.99, (95,) float64.

    ``arange`` rather than ``linspace``, because its rounding errors are those of the published grid.
    """
    return np.arange(0.05, 1.0, 0.01)


@dataclass(frozen=True)
class Threshold:
    """An estimated threshold and what it reaches on the images it was estimated from.

    Attributes:
        value: the chosen threshold.
        dice: mean Dice over the images at ``value``, in [0, 1].
        miou: mean mIoU over the images at ``value``, in (0, 1]; this decided.
        clean_share: of images without true foreground that were kept apart, those of which nothing is predicted at
            ``value``, in [0, 1]; None without such images.
        false_area: mean share of their pixels that is predicted at ``value``, in [0, 1]; None likewise.
    """

    value: float
    dice: float
    miou: float
    clean_share: float | None = None
    false_area: float | None = None


class ThresholdStats:
    """Running sums of Dice and mIoU at every candidate threshold, one image at a time.

    No map is kept, so images of any number and size cost (T,) floats.

    Args:
        thresholds: (T,) float64 ascending; the published :func:`grid` when left out.
        foreground_only: keep images without true foreground apart: they say nothing about the threshold.

    Attributes:
        n_images: how many images decide.
    """

    def __init__(self, thresholds: np.ndarray | None = None, foreground_only: bool = False) -> None:
        self.foreground_only = foreground_only
        self.thresholds = grid() if thresholds is None else np.asarray(thresholds, dtype=np.float64)
        if self.thresholds.ndim != 1 or len(self.thresholds) == 0 or (np.diff(self.thresholds) <= 0).any():
            raise InputError(Problem("not a grid of thresholds", "ThresholdStats", "ascending values", f"{thresholds}"))
        self.reset()

    def reset(self) -> None:
        """Forget every image."""
        self._dice = np.zeros(len(self.thresholds))
        self._miou = np.zeros(len(self.thresholds))
        self._clean = np.zeros(len(self.thresholds))
        self._area = np.zeros(len(self.thresholds))
        self.n_images, self._n_empty = 0, 0

    def update(self, probs: np.ndarray, truth: np.ndarray) -> None:
        """Add one image: ``probs`` (H, W) float32 in [0, 1], ``truth`` (H, W) uint8 in {0, 1, 255}.

        Raises:
            InputError: see :func:`scripts.evaluation.metrics.confusion_over_thresholds`.
        """
        counts = confusion_over_thresholds(probs, truth, self.thresholds)
        if not self.foreground_only or counts.has_foreground:
            self._dice += counts.dice
            self._miou += counts.miou
            self.n_images += 1
        elif counts.is_empty:
            self._clean += counts.fp == 0
            self._area += counts.false_area
            self._n_empty += 1

    def compute(self) -> Threshold:
        """Return the candidate of highest mean mIoU, the lowest of equals.

        Raises:
            InputError: no image was added.
        """
        if self.n_images == 0:
            raise InputError(
                Problem(
                    "no image with a mask to estimate the threshold on",
                    "threshold",
                    cure="Give the validation images masks, or fix the threshold.",
                )
            )
        dice, miou = self._dice / self.n_images, self._miou / self.n_images
        best = int(miou.argmax())  # argmax returns the first maximum
        found = Threshold(float(self.thresholds[best]), float(dice[best]), float(miou[best]))
        if self._n_empty == 0:
            return found
        clean, area = self._clean[best] / self._n_empty, self._area[best] / self._n_empty
        return replace(found, clean_share=float(clean), false_area=float(area))
