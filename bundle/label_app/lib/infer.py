"""Prediction for viewers: mask and class of an image, polygons where a viewer wants outlines."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.batch_infer import BatchInferTask
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType
from monailabel.utils.others.generic import remove_file
from monailabel.utils.others.pathology import create_asap_annotations_xml, create_dsa_annotations_json
from PIL import Image

from lib.answering import Answering, AnsweringModel
from lib.outlines import FOREGROUND, annotation, in_region, trace
from lib.run import ServedRun
from scripts.images.masks import MaskRule
from scripts.networks.outputs import Prediction
from scripts.prediction.tiling import TiledInferer
from scripts.prediction.transforms import ReadImaged, RestoreOutputd

DESCRIPTION = "Foreground mask and image class, from the best round of the run so far"
_WRITERS = {"asap": create_asap_annotations_xml, "dsa": create_dsa_annotations_json}


class JointInfer(InferTask):
    """Mask and class of one image by the model that answers now.

    Args:
        run: the run.
        answering: its model.
    """

    def __init__(self, run: ServedRun, answering: AnsweringModel) -> None:
        rule = run.config.parser().get_parsed_content("mask_rule")
        self.run, self.answering, self.value = run, answering, served_value(rule)
        self.amp = run.config.parser().get_parsed_content("amp")
        self._turn = threading.Lock()  # one prediction at a time: two would only share the processor
        super().__init__(InferType.SEGMENTATION, {FOREGROUND: self.value}, 2, DESCRIPTION)

    def info(self) -> dict[str, Any]:
        """Return what clients are told; ``pathology`` makes viewers of slides ask for polygons."""
        return {**super().info(), "pathology": True, "classes": list(self.run.data.classes)}

    def is_valid(self) -> bool:
        """Tell that it can be asked; without a model the answer says what to do."""
        return True

    def __call__(self, request: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
        """Return a file and JSON values.

        Args:
            request: ``image``, a path; ``output`` ``"asap"`` or ``"dsa"`` for a file of polygons instead of the mask;
                ``location`` and ``size``, (x, y) and (width, height) in pixels, keep polygons to a region;
                ``min_poly_area`` in square pixels.

        Raises:
            NotNowError: no model yet.
            InputError: the image cannot be read.
        """
        began = time.perf_counter()
        model = self.answering.get()
        found, mask, result = self._predicted(model, Path(request["image"]))
        decoder = model.info.mask_from == "decoder"
        field, level = (found.probs, model.info.threshold) if decoder else (mask.astype(np.float32), 0.5)
        region = in_region(field, request.get("location") or (0, 0), request.get("size") or (0, 0))
        outlines = trace(region, level, float(request.get("min_poly_area") or 0.0))
        told = {
            **result,
            "model": dict(model.source),
            "label_names": self.labels,
            "annotations": [annotation(outlines, {FOREGROUND: self.value})],
            "latencies": {"total": round(time.perf_counter() - began, 3)},
        }
        output = request.get("output")
        return (self._polygons(output, request, told) if output in _WRITERS else self._png(mask)), told

    def _predicted(self, model: Answering, path: Path) -> tuple[Prediction, np.ndarray, dict[str, Any]]:
        source: Any = model  # it has what they read of a scripts.trained.source.ModelSource: info and network
        data: dict[Any, Any] = ReadImaged("image", source)({"image": path, "id": path.name})
        with self._turn, torch.no_grad():
            image = data["image"][None].to(model.device).float() / 255.0  # (3, h, w) -> (1, 3, h, w)
            packed = TiledInferer(source, amp=self.amp)(image, model.network)
        data["pred"] = packed[0]
        data = RestoreOutputd("pred", source)(data)
        return data["prediction"], data["pred"][0].numpy(), data["result"]

    def _polygons(self, output: str, request: Mapping[str, Any], told: dict[str, Any]) -> str:
        content = {
            "name": "Prediction", "description": DESCRIPTION, "model": request.get("model"),
            "location": request.get("location"), "size": request.get("size"), "annotations": told["annotations"],
            "latencies": told["latencies"],
        }  # fmt: skip
        path, _ = _WRITERS[output](content, "WARNING")
        return str(path)

    def _png(self, mask: np.ndarray) -> str:
        handle, path = tempfile.mkstemp(suffix=".png")  # whoever sends the answer removes it
        with os.fdopen(handle, "wb") as file:
            Image.fromarray(mask * np.uint8(self.value)).save(file, format="PNG", compress_level=3)
        return path


class BatchInfer(BatchInferTask):
    """Class and polygons of many images, one after the other; nothing is kept: a prediction is no mask of a person.

    MONAI Label's own spreads images over GPUs, and fails where there is none.
    """

    def __call__(
        self, request: Mapping[str, Any], datastore: Datastore, infer: Callable[..., dict[str, Any]]
    ) -> dict[str, Any]:
        """Return what was predicted by id.

        Args:
            request: ``images``: ``"all"``, ``"labeled"``, ``"unlabeled"``, or ids; ``max_batch_size`` for how many.
            datastore: of the run.
            infer: of the app.
        """
        keys = list(self.get_images(request, datastore))
        found = {}
        for key in keys[: request.get("max_batch_size") or None]:
            answer = infer({**request, "image": str(key)}, datastore)
            remove_file(answer["file"])
            found[str(key)] = answer["params"]
        return found


def served_value(rule: MaskRule) -> int:
    """Return the value of foreground in masks that are sent: one that the run's rule takes for foreground again."""
    values = [1, 255, *(rule.foreground if not isinstance(rule.foreground, str) else ())]
    fits = [int(v) for v in values if 0 < v < 256 and rule.apply(np.array([[v]], np.float64))[0, 0] == 1]
    return fits[0] if fits else 1
