"""From a file to the network's input, and from its output to a mask: MONAI dictionary transforms.

They stand in ``preprocessing`` and ``postprocessing`` of ``inference.json`` and need nothing else, since MONAI Label
runs them one by one around a network of its own. Arrays here are height first, as everywhere in the project; MONAI's
and MONAI Label's pictures are width first, which the last transforms of ``postprocessing`` provide.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from PIL import Image

from scripts.core.errors import InputError, Problem
from scripts.images.reading import read_image
from scripts.images.regions import UNCLEANED, Cleaning
from scripts.networks.model_file import ModelInfo
from scripts.networks.outputs import Prediction, class_probabilities, prediction
from scripts.prediction.tiling import WHOLE_UP_TO, working_size
from scripts.trained.source import ModelSource

PREVIEW = 640
"""Longest side of the small picture that overlays are drawn on, in pixels."""


class ReadImaged(MapTransform):
    """Read an image by the rule of :mod:`scripts.images.reading` and resize it to what the model was trained on.

    ``image``, a path or an array (W, H, 3) uint8 as MONAI's readers give it, becomes a tensor (3, h, w) uint8. Added
    are ``size``, its original (H, W), and ``preview``, a small copy (H', W', 3) uint8.

    Args:
        keys: one key.
        model: tells the sizes.
        whole_up_to: see :func:`scripts.prediction.tiling.working_size`.
    """

    def __init__(self, keys: KeysCollection, model: ModelSource, whole_up_to: float = WHOLE_UP_TO) -> None:
        super().__init__(keys)
        self.model, self.whole_up_to = model, whole_up_to

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return ``data`` with the image read.

        Raises:
            InputError: the file cannot be read, or the array is not an image.
        """
        d = dict(data)
        for key in self.key_iterator(d):
            pixels = _pixels(d[key], self.model.info.bits)
            size = (pixels.shape[0], pixels.shape[1])
            d["size"], d["preview"] = torch.tensor(size), torch.from_numpy(_preview(pixels))
            resized = _resized(pixels, working_size(size, self.model.info, self.whole_up_to))
            d[key] = torch.from_numpy(np.ascontiguousarray(resized.transpose(2, 0, 1)))  # (h, w, 3) -> (3, h, w)
        return d


class RestoreOutputd(MapTransform):
    """Turn the packed output of the network into a mask of the image's original size.

    ``pred`` (1 + C, h, w) becomes the mask (1, H, W) uint8 in {0, 1}. Added are ``prediction``
    (:class:`scripts.networks.outputs.Prediction`) and ``result``, JSON values: ``classification``, with the class and
    the probability of each, ``foreground_fraction`` in [0, 1], and the ``threshold`` that was used, null for a mask of
    the class-activation map.

    Args:
        keys: one key.
        model: tells pooling, classes and threshold.
        cleaning: of the mask.
        gate: whether a predicted class without foreground leaves nothing to draw, where the model says so; False for
            masks that people begin with.
    """

    def __init__(
        self, keys: KeysCollection, model: ModelSource, cleaning: Cleaning = UNCLEANED, gate: bool = True
    ) -> None:
        super().__init__(keys)
        self.model, self.cleaning, self.gate = model, cleaning, gate

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return ``data`` with the mask; it has the ``size`` of :class:`ReadImaged`."""
        d = dict(data)
        info = self.model.info
        for key in self.key_iterator(d):
            height, width = (int(side) for side in d["size"])
            packed = torch.as_tensor(d[key])[None]
            found = prediction(str(d.get("id", "")), packed, self.model.network, (height, width))
            found = found.gated(info.gated) if self.gate else found
            mask = self.cleaning(mask_of(found, info))
            d["prediction"], d[key] = found, torch.from_numpy(mask)[None]
            d["result"] = {
                "classification": classification(found, info),
                "foreground_fraction": float(mask.mean()),
                "threshold": info.threshold if info.mask_from == "decoder" else None,
            }
        return d


def classification(found: Prediction, info: ModelInfo) -> dict[str, Any]:
    """Return ``{"class": name, "probabilities": {name: value in [0, 1]}}``."""
    probs = class_probabilities(found)
    named = {name: float(p) for name, p in zip(info.classes, probs, strict=True)}
    return {"class": info.classes[int(probs.argmax())], "probabilities": named}


def mask_of(found: Prediction, info: ModelInfo) -> np.ndarray:
    """Return the mask (H, W) uint8 in {0, 1}: the decoder's at the stored threshold, or for ``wsl`` the classifier's.

    The classifier's is where the predicted class has the highest map; an evaluation takes that of the true class.
    """
    if info.mask_from == "cam":
        return found.cam_mask(int(found.scores.argmax()))
    return found.mask(info.threshold)


def _pixels(image: Any, bits: int) -> np.ndarray:
    """Return uint8 (H, W, 3)."""
    if isinstance(image, str | Path):
        return read_image(image, bits)
    array = np.asarray(image)
    if array.ndim != 3 or array.shape[2] not in (3, 4) or array.dtype != np.uint8 or array.size == 0:
        expected = "a path, or an array (W, H, 3) uint8"
        raise InputError(Problem("not an image", "image", expected, f"{array.shape} {array.dtype}"))
    return array[..., :3].swapaxes(0, 1)


def _resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize as :class:`scripts.images.store.ImageStore` does for training."""
    if pixels.shape[:2] == size:
        return pixels
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BICUBIC))


def _preview(pixels: np.ndarray) -> np.ndarray:
    scale = min(1.0, PREVIEW / max(pixels.shape[:2]))
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    return np.array(picture.resize(size, Image.Resampling.BOX, reducing_gap=2.0))
