"""Measuring a model on validation and test images, at original resolution."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from scripts.core.run_names import Metric
from scripts.data.run_data import RunData
from scripts.evaluation.metrics import PxAP, confusion_over_thresholds, dice
from scripts.evaluation.thresholds import ThresholdStats
from scripts.networks.model_file import DEFAULT_THRESHOLD
from scripts.networks.outputs import Prediction, drawn_class
from scripts.networks.weights import Weights
from scripts.training.learner import Learner

_MASK_METRICS = (Metric.DICE, Metric.MIOU, Metric.DICE_AT_HALF, Metric.WSL_DICE)


@dataclass(frozen=True)
class Measured:
    """What was measured of a model, each value in [0, 1].

    Attributes:
        metrics: ``threshold``, ``val_dice`` and ``val_miou`` at it (where validation images have masks), and for the
            test images ``dice``, ``miou``, ``dice_at_0.5``, ``accuracy``, ``pxap`` of the CAM, ``wsl_dice`` of the CAM
            mask. Where the data have background classes, all but ``accuracy`` is over images whose true mask has
            foreground, and there are ``dice_all`` over all with a mask, ``clean_share`` and ``false_area`` over the
            others, and these two of validation with ``val_`` before them.
        test_dice: id -> Dice of each test image that ``dice`` is the mean of.
    """

    metrics: dict[str, float]
    test_dice: dict[str, float] = field(default_factory=dict)


def evaluate(learner: Learner, weights: Weights, test: bool = True, wsl: bool = False) -> Measured:
    """Measure a model.

    Args:
        learner: predicts.
        weights: the model.
        test: measure on the test images too; else only the threshold is estimated.
        wsl: the mask is the classifier's (CAM mask of the true class, as published), not the decoder's.
    """
    data = learner.data
    label_of = {item["id"]: item["label"] for item in data.datalist.items}
    stats = ThresholdStats(foreground_only=bool(data.background))
    found: dict[str, float] = {Metric.THRESHOLD: DEFAULT_THRESHOLD}
    if not wsl:
        for p in learner.predict(_with_mask(data, "val"), weights):
            stats.update(p.gated(data.background.gated).probs, _truth(data, p))
        if stats.n_images:
            best = stats.compute()
            found = {Metric.THRESHOLD: best.value, Metric.VAL_DICE: best.dice, Metric.VAL_MIOU: best.miou}
            empty = {Metric.VAL_CLEAN_SHARE: best.clean_share, Metric.VAL_FALSE_AREA: best.false_area}
            found |= {name: value for name, value in empty.items() if value is not None}
    if not test:
        return Measured(found)
    tested = _test_metrics(learner, weights, label_of, found[Metric.THRESHOLD], wsl)
    return Measured(found | tested.metrics, tested.test_dice)


def _test_metrics(
    learner: Learner, weights: Weights, label_of: Mapping[str, int], threshold: float, wsl: bool
) -> Measured:
    data, background = learner.data, learner.data.background
    right: list[float] = []
    rows: dict[str, tuple[float, ...]] = {}
    of_all: list[float] = []
    areas: list[float] = []
    pxap = PxAP()
    cuts = np.unique([DEFAULT_THRESHOLD, threshold])
    for one in learner.predict([item["id"] for item in data.items("test")], weights):
        p, label = one.gated(background.gated), label_of[one.id]
        right.append(float(p.scores.argmax() == label))
        truth = data.store.true_mask(p.id)
        if truth is None:
            continue
        cam = p.cam_mask(drawn_class(p, label, background.labels))
        counts = confusion_over_thresholds(cam.astype(np.float32) if wsl else p.probs, truth, cuts)
        dices, mious = counts.dice, counts.miou
        at, half = int(np.searchsorted(cuts, threshold)), int(np.searchsorted(cuts, DEFAULT_THRESHOLD))
        of_all.append(float(dices[at]))
        if not background or counts.has_foreground:
            pxap.update(p.cam(label), truth)
            rows[p.id] = (float(dices[at]), mious[at], dices[half], dice(cam, truth))
        elif counts.is_empty:
            areas.append(float(counts.false_area[at]))
    found: dict[str, float] = {Metric.ACCURACY: float(np.mean(right))} if right else {}
    if background and of_all:
        found[Metric.DICE_ALL] = float(np.mean(of_all))
    if areas:
        found[Metric.CLEAN_SHARE] = float(np.mean([area == 0 for area in areas]))
        found[Metric.FALSE_AREA] = float(np.mean(areas))
    if rows:
        means = np.mean(list(rows.values()), axis=0)
        found |= dict(zip(_MASK_METRICS, map(float, means), strict=True))
        area = pxap.compute()
        found |= {} if math.isnan(area) else {Metric.PXAP: area}
    return Measured(found, {key: values[0] for key, values in rows.items()})


def pseudo_quality(data: RunData, masks: Mapping[str, np.ndarray]) -> float | None:
    """Return the mean Dice of pseudo-masks against the true masks on disk; None where there is nothing to compare."""
    found = []
    for key, mask in masks.items():
        truth = data.store.true_mask(key)
        if truth is not None:
            found.append(dice(mask, truth))
    return float(np.mean(found)) if found else None


def _with_mask(data: RunData, split: str) -> list[str]:
    return [item["id"] for item in data.items(split) if item["mask"] or item.get("empty")]


def _truth(data: RunData, prediction: Prediction) -> np.ndarray:
    truth = data.store.true_mask(prediction.id)
    if truth is None:
        raise KeyError(prediction.id)
    return truth
