"""What one image of an evaluation is measured by: numbers of its own, and the counts it adds to those of a set."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from scripts.evaluation.calibration import bin_sums
from scripts.evaluation.distances import hausdorff_95
from scripts.evaluation.metrics import Confusion, cam_counts, confusion
from scripts.evaluation.objects import ObjectSums, object_sums
from scripts.images.regions import UNCLEANED, Cleaning, connected_components
from scripts.images.values import IGNORE
from scripts.networks.outputs import Prediction, drawn_class

CAM_THRESHOLDS = np.linspace(0.0, 1.0, 1001)
"""Cuts of a map scaled to [0, 1], as in :class:`scripts.evaluation.metrics.PxAP`."""


@dataclass(frozen=True)
class MaskMeasures:
    """What the mask of an image is measured by, against its true mask at original size.

    Attributes:
        pixels: counts of the predicted mask.
        hd95: pixels, see :func:`scripts.evaluation.distances.hausdorff_95`.
        objects: see :mod:`scripts.evaluation.objects`.
        bins: (3, bins) of the foreground's probability, see :mod:`scripts.evaluation.calibration`; None for a mask
            without one.
        cam: counts (T,) of the true class' map at :data:`CAM_THRESHOLDS`.
    """

    pixels: Confusion
    hd95: float
    objects: ObjectSums
    bins: np.ndarray | None
    cam: Confusion

    @property
    def iou(self) -> float:
        """Foreground IoU without smoothing, in [0, 1]; 0 for an empty true mask, as Dice."""
        hit, union = float(self.pixels.tp), float(self.pixels.tp + self.pixels.fp + self.pixels.fn)
        return hit / union if union > 0 else 0.0


@dataclass(frozen=True)
class ImageMeasures:
    """One image.

    Attributes:
        item: of the data list: ``id``, ``label``, ``patient_id``, ``split``.
        size: (H, W), original.
        class_probs: (C,) float64, softmax of the class scores.
        mask: None for an image without a true mask.
    """

    item: dict[str, Any]
    size: tuple[int, int]
    class_probs: np.ndarray
    mask: MaskMeasures | None

    @property
    def predicted(self) -> int:
        """Class of the highest score."""
        return int(self.class_probs.argmax())


def measure_image(
    item: dict[str, Any],
    prediction: Prediction,
    truth: np.ndarray | None,
    instances: np.ndarray | None,
    threshold: float,
    mask_from: str = "decoder",
    cleaning: Cleaning = UNCLEANED,
    background: Collection[int] = (),
) -> ImageMeasures:
    """Measure a prediction.

    Args:
        item: of the data list.
        prediction: of the image.
        truth: (H, W) uint8 in {0, 1, 255}; None where the image has no mask.
        instances: (H, W) integer, the true objects; None takes the connected components of ``truth``.
        threshold: cut of the foreground's probability.
        mask_from: ``"cam"`` takes the classifier's mask of the true class instead (method ``wsl``, as published).
        cleaning: of the predicted mask.
        background: labels of the classes without foreground, see :func:`scripts.networks.outputs.drawn_class`.
    """
    probs = torch.from_numpy(prediction.scores).double().softmax(0).numpy()
    found = None
    if truth is not None:
        from_cam = mask_from == "cam"
        label = drawn_class(prediction, item["label"], background)
        mask = prediction.cam_mask(label) if from_cam else prediction.mask(threshold)
        bins = None if from_cam else _pixel_bins(prediction.probs, truth)
        found = measure_mask(cleaning(mask), truth, instances, bins, prediction.cam(item["label"]))
    return ImageMeasures(item, prediction.size, probs, found)


def measure_mask(
    mask: np.ndarray, truth: np.ndarray, instances: np.ndarray | None, bins: np.ndarray | None, cam: np.ndarray
) -> MaskMeasures:
    """Measure a mask (H, W) in {0, 1}; ignored pixels are background on both sides, see :func:`measure_image`."""
    known = truth != IGNORE
    pred, true = (mask != 0) & known, truth == 1
    true_objects = connected_components(true) if instances is None else np.where(true, instances, 0)
    return MaskMeasures(
        pixels=confusion(mask, truth),
        hd95=hausdorff_95(pred, true),
        objects=object_sums(connected_components(pred), true_objects),
        bins=bins,
        cam=cam_counts(cam, truth, CAM_THRESHOLDS),
    )


def _pixel_bins(probs: np.ndarray, truth: np.ndarray) -> np.ndarray:
    known = truth != IGNORE
    return bin_sums(probs[known], truth[known] == 1)
