"""The threshold that cuts probabilities into masks, estimated on validation masks, and the pseudo-masks it makes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scripts.core.errors import InputError, Problem
from scripts.evaluation.metrics import dice_and_miou_over_thresholds


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
    """

    value: float
    dice: float
    miou: float


class ThresholdStats:
    """Running sums of Dice and mIoU at every candidate threshold, one image at a time.

    No map is kept, so images of any number and size cost (T,) floats.

    Args:
        thresholds: (T,) float64 ascending; the published :func:`grid` when left out.
    """

    def __init__(self, thresholds: np.ndarray | None = None) -> None:
        self.thresholds = grid() if thresholds is None else np.asarray(thresholds, dtype=np.float64)
        if self.thresholds.ndim != 1 or len(self.thresholds) == 0 or (np.diff(self.thresholds) <= 0).any():
            raise InputError(Problem("not a grid of thresholds", "ThresholdStats", "ascending values", f"{thresholds}"))
        self.reset()

    def reset(self) -> None:
        """Forget every image."""
        self._dice = np.zeros(len(self.thresholds))
        self._miou = np.zeros(len(self.thresholds))
        self.n_images = 0

    def update(self, probs: np.ndarray, truth: np.ndarray) -> None:
        """Add one image: ``probs`` (H, W) float32 in [0, 1], ``truth`` (H, W) uint8 in {0, 1, 255}.

        Raises:
            InputError: see :func:`scripts.evaluation.metrics.confusion_over_thresholds`.
        """
        dice, miou = dice_and_miou_over_thresholds(probs, truth, self.thresholds)
        self._dice += dice
        self._miou += miou
        self.n_images += 1

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
        return Threshold(float(self.thresholds[best]), float(dice[best]), float(miou[best]))
