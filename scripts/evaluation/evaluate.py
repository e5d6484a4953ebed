"""The command ``evaluate``: one pass over the images of a split, then files with every metric and its interval.

``scripts/training/model_metrics.py`` measures the few numbers of a round; here is what a finished model is reported by.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from monai.engines import Evaluator

from scripts.core.errors import InputError, Problem
from scripts.core.files import write_atomic
from scripts.core.result_files import csv_bytes, versions
from scripts.data.run_data import RunData
from scripts.evaluation.image_measures import ImageMeasures, measure_image
from scripts.evaluation.set_metrics import ImageSet
from scripts.evaluation.tables import Resampling, confusion_rows, image_rows, nested, summary_rows, terminal_table
from scripts.images.mask_files.several import read_numbered_objects
from scripts.images.masks import MaskRule
from scripts.images.regions import UNCLEANED, Cleaning
from scripts.networks.interface import joint_network
from scripts.networks.model_file import TrainedModel
from scripts.networks.outputs import PLAIN, Geometry, prediction

logger = logging.getLogger(__name__)

INSTANCES = ("auto", "components")


class ImageMeasurer:
    """Handler that measures each image as it leaves the network.

    Args:
        data: true masks and classes; those without foreground, and whether predicting one leaves nothing to draw.
        model: threshold, pooling and stride.
        mask_rule: how mask files are read.
        instances: true objects: ``"auto"`` takes the numbers of a mask file that has them
            (:func:`scripts.images.mask_files.several.read_numbered_objects`), else connected components;
            ``"components"`` always those.
        cleaning: of predicted masks.
        geometry: the way from the network's input back to the image.

    Attributes:
        measures: of all images so far.
        numbered: how many masks had numbered objects.
    """

    def __init__(
        self, data: RunData, model: TrainedModel, mask_rule: MaskRule, instances: str = "auto",
        cleaning: Cleaning = UNCLEANED, geometry: Geometry = PLAIN,
    ) -> None:  # fmt: skip
        if instances not in INSTANCES:
            raise InputError(Problem("unknown", "evaluate#instances", " or ".join(INSTANCES), repr(instances)))
        self.data, self.model, self.mask_rule, self.instances = data, model, mask_rule, instances
        self.cleaning, self.geometry = cleaning, geometry
        self.items = {item["id"]: item for item in data.datalist.items}
        self.measures: list[ImageMeasures] = []
        self.numbered = 0

    def attach(self, evaluator: Evaluator) -> None:
        """Follow ``evaluator``."""
        evaluator.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, evaluator: Evaluator) -> None:
        """Measure the images of the batch that was predicted."""
        output: Any = evaluator.state.output
        for packed, key in zip(output["pred"].split(1), output["label"]["id"], strict=True):
            self.measures.append(self._measured(packed, key))

    def _measured(self, packed: Any, key: str) -> ImageMeasures:
        store, item, info = self.data.store, self.items[key], self.model.info
        background = self.data.background
        found = prediction(key, packed, joint_network(self.model.network), store.original_size(key), self.geometry)
        found, truth = found.gated(background.gated), store.true_mask(key)
        objects = None
        if truth is not None and item["mask"] and self.instances == "auto":
            objects = read_numbered_objects(item["mask"], item["image"], self.mask_rule)
            self.numbered += objects is not None
        return measure_image(
            item, found, truth, objects, info.threshold, info.mask_from, self.cleaning, background.labels
        )


def evaluate_fully(
    evaluator: Evaluator,
    model: TrainedModel,
    data: RunData,
    mask_rule: MaskRule,
    folder: str,
    split: str = "test",
    instances: str = "auto",
    cleaning: Cleaning = UNCLEANED,
    resamples: int = 1000,
    seed: int = 0,
    unit: str = "image",
    level: float = 0.95,
    geometry: Geometry = PLAIN,
) -> Path:
    """Measure a model and write ``per_image.csv``, ``summary.csv``, ``summary.json`` and ``confusion.csv``.

    Args:
        evaluator: MONAI's, over the images of ``split``, giving packed outputs and targets.
        model: which model it runs.
        data: the images.
        mask_rule: of the data.
        folder: where the files go; those of an earlier evaluation there are replaced.
        split: ``"test"``, ``"val"`` or ``"train"``.
        instances, cleaning, geometry: see :class:`ImageMeasurer`.
        resamples, seed, unit, level: see :class:`scripts.evaluation.tables.Resampling`.

    Returns:
        ``folder``.

    Raises:
        InputError: no image, classes that are not the model's, test images that the model was trained on.
        StateError: a file cannot be written.
    """
    how = Resampling(resamples, seed, unit, level)
    _refuse_unfit(model, data, split)
    measurer = ImageMeasurer(data, model, mask_rule, instances, cleaning, geometry)
    measurer.attach(evaluator)
    evaluator.run()
    images, classes = measurer.measures, data.classes
    apart = bool(data.background)
    rows, measured = summary_rows(images, classes, how, apart), ImageSet(images, len(classes), apart)
    confusion = confusion_rows(measured.confusion_matrix(), classes)
    pixels = measured.pixel_bins()
    content = {
        "model": json.loads(model.info.to_json()),
        "data": {
            "split": split,
            "images": len(images),
            "masks": int(measured.masked.sum()),
            "masks_with_numbered_objects": measurer.numbered,
            "empty_masks": sum(mask.pixels.tp + mask.pixels.fn == 0 for mask in measured.masks),
            "left_out": dict(data.datalist.quarantined),
            "sha256": data.datalist.sha256,
            **({"background_classes": data.background_names, "gate": data.background.gate} if apart else {}),
        },
        "cleaning": asdict(cleaning),
        "bootstrap": {"resamples": resamples, "seed": seed, "unit": unit, "level": level},
        "groups": nested(rows),
        "confusion": confusion,
        "cam_best_threshold": measured.best_cam_threshold(),
        "calibration": {
            "columns": ["number", "sum of probabilities", "sum of outcomes"],
            "class": measured.class_bins.sum(axis=0).T.tolist(),
            "pixels": None if pixels is None else pixels.T.tolist(),
        },
        "threads": torch.get_num_threads(),
        "versions": versions(),
    }
    target = Path(folder)
    write_atomic(target / "per_image.csv", csv_bytes(image_rows(images, classes)))
    write_atomic(target / "summary.csv", csv_bytes(rows))
    write_atomic(target / "confusion.csv", csv_bytes(confusion))
    write_atomic(target / "summary.json", (json.dumps(content, indent=1, allow_nan=False, default=int) + "\n").encode())
    logger.info("%d %s images, %d with a mask\n%s", len(images), split, content["data"]["masks"],
                terminal_table(rows, level))  # fmt: skip
    logger.info("written: %s", target)
    return target


def _refuse_unfit(model: TrainedModel, data: RunData, split: str) -> None:
    items = data.items(split)
    problems = []
    if not items:
        problems.append(Problem("no image to evaluate on", "evaluate#split", "a split with images", split))
    if data.classes != model.info.classes:
        expected, found = ", ".join(model.info.classes), ", ".join(data.classes)
        problems.append(Problem("model and data differ in their classes", "classes", expected, found))
    used = [item["id"] for item in items if model.split_of.get(data.datalist.image_sha256[item["id"]], split) != split]
    if used:
        cure = "Read the data with the splits of the run, e.g. with its --data#split_column."
        found = f"{len(used)} images, the first is {used[0]}"
        problems.append(Problem(f"{split} images were in another split of the run", "data", "none", found, cure))
    if problems:
        raise InputError(problems)
