"""Tables of a full evaluation: a row per image, a row per metric of each group, the confusion matrix.

What does not exist (a distance without a mask, an interval of one image) is ``None`` here, empty in a CSV and ``null``
in JSON. Shares are fractions in [0, 1], distances pixels of the original image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scripts.core.errors import InputError, Problem
from scripts.core.result_files import Record
from scripts.core.run_names import Measure
from scripts.core.seeds import numpy_generator
from scripts.evaluation.bootstrap import percentile_interval, resample_counts
from scripts.evaluation.image_measures import ImageMeasures, MaskMeasures
from scripts.evaluation.set_metrics import ImageSet

UNITS = ("image", "patient")
TITLES = {
    Measure.DICE: "Dice",
    Measure.IOU: "IoU",
    Measure.DICE_ALL: "Dice, empty masks as 0",
    Measure.CLEAN_SHARE: "clean share of empty masks",
    Measure.FALSE_AREA: "false area of empty masks",
    Measure.HD95: "HD95 (px)",
    Measure.OBJECT_DICE: "object Dice",
    Measure.OBJECT_F1: "object F1",
    Measure.OBJECT_DICE_PER_IMAGE: "object Dice per image",
    Measure.OBJECT_F1_PER_IMAGE: "object F1 per image",
    Measure.PXAP: "PxAP of the CAM",
    Measure.CAM_BEST_DICE: "best Dice of the CAM",
    Measure.PIXEL_ECE: "calibration error of pixels",
    Measure.ACCURACY: "class accuracy",
    Measure.AUROC: "class AUROC",
    Measure.CLASS_ECE: "calibration error of class",
}
MASK_COLUMNS = (
    "true_px", "pred_px", Measure.DICE, Measure.IOU, Measure.HD95, "true_objects", "pred_objects", "detected_objects",
    Measure.OBJECT_DICE, Measure.OBJECT_F1,
)  # fmt: skip
_OF_CLASSES = (Measure.ACCURACY, Measure.AUROC, Measure.CLASS_ECE)
_DIGITS = 6


@dataclass(frozen=True)
class Resampling:
    """How intervals are made.

    Attributes:
        resamples: bootstrap draws, at least 1.
        seed: of the draws.
        unit: what is drawn: ``"image"``, or ``"patient"`` with all images (an image without one is by itself).
        level: share of the draws in an interval, in (0, 1).

    Raises:
        InputError: a value out of its range.
    """

    resamples: int = 1000
    seed: int = 0
    unit: str = "image"
    level: float = 0.95

    def __post_init__(self) -> None:
        checks = (
            ("resamples", self.resamples >= 1, "1 or more", self.resamples),
            ("unit", self.unit in UNITS, " or ".join(UNITS), self.unit),
            ("level", 0 < self.level < 1, "between 0 and 1", self.level),
        )
        problems = [Problem("out of range", f"evaluate#{n}", e, str(f)) for n, good, e, f in checks if not good]
        if problems:
            raise InputError(problems)


def image_rows(images: Sequence[ImageMeasures], classes: Sequence[str]) -> list[Record]:
    """Return a row per image, in the order given."""
    return [_image_row(image, classes) for image in images]


def summary_rows(
    images: Sequence[ImageMeasures], classes: Sequence[str], how: Resampling, empty_apart: bool = False
) -> list[Record]:
    """Return a row per group and metric: ``group``, ``name``, ``metric``, ``n``, ``value``, ``low``, ``high``.

    Groups are all images, each class, and each patient where patients are known. ``n`` is the number of images that the
    metric was made of. Metrics that do not exist in a group are left out, as AUROC of one class. ``empty_apart``: see
    :class:`scripts.evaluation.set_metrics.ImageSet`.
    """
    return [row for group in _groups(images, classes) for row in _group_rows(*group, len(classes), how, empty_apart)]


def confusion_rows(matrix: np.ndarray, classes: Sequence[str]) -> list[Record]:
    """Return a row per true class: ``true``, then in ``predicted <class>`` the images predicted as each class."""
    columns = [f"predicted {name}" for name in classes]  # so that no class is taken for the column of names
    return [
        {"true": name, **dict(zip(columns, map(int, row), strict=True))}
        for name, row in zip(classes, matrix, strict=True)
    ]


def nested(rows: Sequence[Record]) -> list[Record]:
    """Return :func:`summary_rows` as one object per group with its metrics by name, for JSON."""
    found: dict[tuple[str, str], Record] = {}
    for row in rows:
        group = found.setdefault(
            (row["group"], row["name"]), {"group": row["group"], "name": row["name"], "metrics": {}}
        )
        group["metrics"][row["metric"]] = {key: row[key] for key in ("n", "value", "low", "high")}
    return list(found.values())


def terminal_table(rows: Sequence[Record], level: float) -> str:
    """Return the metrics of all images, with those of the classes beside them, as a fixed-width table."""
    columns = list(dict.fromkeys((row["group"], row["name"]) for row in rows if row["group"] != "patient"))
    cells = {(row["group"], row["name"], row["metric"]): row for row in rows}
    interval = f"{100 * level:g} % interval"
    shown = columns[:5]  # more classes do not fit; they are in the files
    lines = [" " * 28 + "".join(f"{name[:16] or 'all':>18}" + (f"{interval:>20}" if not name else "")
             for _, name in shown)]  # fmt: skip
    for metric in dict.fromkeys(row["metric"] for row in rows):
        parts = [f"{TITLES.get(metric, metric):<28}"]
        for group, name in shown:
            row = cells.get((group, name, metric), {})
            parts.append(f"{_number(row.get('value')):>18}")
            if not name:
                parts.append(f"{_number(row.get('low')) + ' to ' + _number(row.get('high')):>20}")
        lines.append("".join(parts))
    return "\n".join(lines)


def _groups(images: Sequence[ImageMeasures], classes: Sequence[str]) -> list[tuple[str, str, Sequence[ImageMeasures]]]:
    by_class = [(name, [i for i in images if i.item["label"] == at]) for at, name in enumerate(classes)]
    patients = sorted({i.item["patient_id"] for i in images if i.item.get("patient_id")}, key=_natural)
    by_patient = [(name, [i for i in images if i.item.get("patient_id") == name]) for name in patients]
    return [
        ("all", "", images),
        *(("class", name, some) for name, some in by_class if some),
        *(("patient", name, some) for name, some in by_patient),
    ]


def _group_rows(
    group: str, name: str, images: Sequence[ImageMeasures], classes: int, how: Resampling, empty_apart: bool
) -> list[Record]:
    measured = ImageSet(images, classes, empty_apart)
    clusters = None
    if how.unit == "patient":
        clusters = [image.item.get("patient_id") or ("image", image.item["id"]) for image in images]
    drawn = len(images) if clusters is None else len(set(clusters))
    generator = numpy_generator(how.seed, "bootstrap", group, name)
    draws = resample_counts(len(images), how.resamples, generator, clusters)
    once = np.ones((1, len(images)))
    rows = []
    for metric, function in measured.metrics().items():
        value = float(function(once)[0])
        if math.isnan(value):
            continue
        low, high = percentile_interval(function(draws), how.level) if drawn > 1 else (math.nan, math.nan)
        count = len(images) if metric in _OF_CLASSES else measured.count(metric)
        values = {"value": _rounded(value), "low": _rounded(low), "high": _rounded(high)}
        rows.append({"group": group, "name": name, "metric": metric, "n": count, **values})
    return rows


def _image_row(image: ImageMeasures, classes: Sequence[str]) -> Record:
    item, mask = image.item, image.mask
    row: Record = {
        "id": item["id"],
        "split": item["split"],
        "patient_id": item.get("patient_id"),
        "height": image.size[0],
        "width": image.size[1],
        "class": classes[item["label"]],
        "predicted": classes[image.predicted],
        "confidence": float(image.class_probs.max()),
        "class_prob": float(image.class_probs[item["label"]]),
    }
    row |= dict.fromkeys(MASK_COLUMNS) if mask is None else _mask_values(mask)
    return {name: _rounded(value) if isinstance(value, float) else value for name, value in row.items()}


def _mask_values(mask: MaskMeasures) -> Record:
    values = (
        int(mask.pixels.tp + mask.pixels.fn),
        int(mask.pixels.tp + mask.pixels.fp),
        float(mask.pixels.dice),
        mask.iou,
        mask.hd95,
        int(mask.objects.n_true),
        int(mask.objects.n_pred),
        int(mask.objects.tp),
        float(mask.objects.dice),
        float(mask.objects.f1),
    )
    return dict(zip(MASK_COLUMNS, values, strict=True))


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, _DIGITS)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}" if abs(value) < 10 else f"{value:.1f}"


def _natural(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isdigit() and name.isascii() else (10**18, name)
