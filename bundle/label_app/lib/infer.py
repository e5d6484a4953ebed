"""Prediction for viewers: mask and class of an image, polygons where a viewer wants outlines."""

from __future__ import annotations

import io
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monailabel.utils.others.pathology import create_asap_annotations_xml, create_dsa_annotations_json
from PIL import Image

from lib.answering import Answering, AnsweringModel
from lib.bodies import Region
from lib.outlines import FOREGROUND, annotation, in_region, trace
from lib.run import ServedRun
from scripts.core.errors import InputError, Problem
from scripts.core.files import writing
from scripts.images.masks import MaskRule
from scripts.images.reading import image_size
from scripts.networks.outputs import Prediction
from scripts.prediction.tiling import TiledInferer
from scripts.prediction.transforms import ReadImaged, RestoreOutputd

DESCRIPTION = "Foreground mask and image class, from the best round of the run so far"
_WRITERS = {"asap": create_asap_annotations_xml, "dsa": create_dsa_annotations_json}


@dataclass(frozen=True)
class Predicted:
    """What is predicted of one image.

    Attributes:
        mask: (H, W) uint8: 0, or the value that the run's rule takes for foreground.
        told: JSON values: class, probabilities, polygons, model.
    """

    mask: np.ndarray
    told: dict[str, Any]


class JointInfer:
    """Mask and class of one image by the model that answers now.

    Args:
        run: the run.
        answering: its model.
    """

    def __init__(self, run: ServedRun, answering: AnsweringModel) -> None:
        rule = run.config.parser().get_parsed_content("mask_rule")
        self.run, self.answering, self.value = run, answering, served_value(rule)
        self.amp = run.config.parser().get_parsed_content("amp")
        self.labels = {FOREGROUND: self.value}

    def info(self) -> dict[str, Any]:
        """Return what clients are told; ``pathology`` makes viewers of slides ask for polygons."""
        return {
            "type": "segmentation", "labels": self.labels, "dimension": 2, "description": DESCRIPTION, "config": {},
            "pathology": True, "classes": list(self.run.data.classes),
        }  # fmt: skip

    def __call__(self, path: Path, region: Region) -> Predicted:
        """Predict an image; one at a time: two would only share the processor.

        Args:
            path: its file.
            region: keeps polygons to a part of it.

        Raises:
            NotNowError: no model yet.
            InputError: the image cannot be read, or is far larger than those of the run.
        """
        began = time.perf_counter()
        model = self.answering.get()
        height, width = image_size(path)
        if height * width > self.run.most_pixels:
            expected, cure = f"at most {self.run.most_pixels} pixels", "Large images and slides: the command predict."
            raise InputError(
                Problem("image is far larger than those of the run", path.name, expected, f"{width} x {height}", cure)
            )
        found, mask, result = self._predicted(model, path)
        decoder = model.info.mask_from == "decoder"
        field, level = (found.probs, model.info.threshold) if decoder else (mask.astype(np.float32), 0.5)
        inside = in_region(field, region.location or (0, 0), region.size or (0, 0))
        outlines = trace(inside, level, region.min_poly_area or 0.0)
        told = {
            **result,
            "model": dict(model.source),
            "label_names": self.labels,
            "annotations": [annotation(outlines, self.labels)],
            "latencies": {"total": round(time.perf_counter() - began, 3)},
        }
        return Predicted(mask * np.uint8(self.value), told)

    def _predicted(self, model: Answering, path: Path) -> tuple[Prediction, np.ndarray, dict[str, Any]]:
        source: Any = model  # it has what they read of a scripts.trained.source.ModelSource: info and network
        data: dict[Any, Any] = ReadImaged("image", source)({"image": path, "id": path.name})
        with torch.no_grad():
            image = data["image"][None].to(model.device).float() / 255.0  # (3, h, w) -> (1, 3, h, w)
            packed = TiledInferer(source, amp=self.amp)(image, model.network)
        data["pred"] = packed[0]
        # people begin with it, and a wrong class should cost them no outline
        data = RestoreOutputd("pred", source, gate=False)(data)
        return data["prediction"], data["pred"][0].numpy(), data["result"]


def polygons(output: str, model: str, region: Region, told: Mapping[str, Any]) -> bytes:
    """Return the polygons of a prediction as a file.

    Args:
        output: ``"asap"`` (XML) or ``"dsa"`` (JSON).
        model: name of the model.
        region: that they were kept to.
        told: of the prediction.

    Raises:
        StateError: there is no room for temporary files.
    """
    content = {
        "name": "Prediction", "description": DESCRIPTION, "model": model, "location": region.location,
        "size": region.size, "annotations": told["annotations"], "latencies": told["latencies"],
    }  # fmt: skip
    with writing(Path(tempfile.gettempdir())):
        path, _ = _WRITERS[output](content, "WARNING")
        try:
            return Path(path).read_bytes()
        finally:
            os.unlink(path)


def png(mask: np.ndarray) -> bytes:
    """Return a mask, uint8 (H, W), or a picture, (H, W, 3), as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, format="PNG", compress_level=3)
    return buffer.getvalue()


def served_value(rule: MaskRule) -> int:
    """Return the value of foreground in masks that are sent: one that the run's rule takes for foreground again."""
    values = [1, 255, *(rule.foreground if not isinstance(rule.foreground, str) else ())]
    fits = [int(v) for v in values if 0 < v < 256 and rule.apply(np.array([[v]], np.float64))[0, 0] == 1]
    return fits[0] if fits else 1
