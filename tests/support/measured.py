"""Measured images without a network, for the tests of what is made of them."""

from __future__ import annotations

import numpy as np
import torch

from scripts.evaluation.image_measures import ImageMeasures, measure_image
from scripts.networks.outputs import Prediction

SIZE = (24, 30)


def made_prediction(key: str, seed: int, classes: int = 2) -> Prediction:
    rng = np.random.default_rng(seed)
    probs = np.kron(rng.random((6, 6)), np.ones((4, 5))).astype(np.float32)
    maps = torch.from_numpy(rng.normal(size=(classes, 3, 4)).astype(np.float32))
    return Prediction(key, probs, rng.normal(size=classes).astype(np.float32), maps, SIZE)


def made_truth(seed: int) -> np.ndarray:
    rng = np.random.default_rng(1000 + seed)
    return np.kron(rng.random((6, 6)) < 0.5, np.ones((4, 5))).astype(np.uint8)


def made_images(n: int, classes: int = 2, without_mask: tuple[int, ...] = ()) -> list[ImageMeasures]:
    """``n`` images; image i is of class ``i % classes`` and of patient ``i // 2``."""
    found = []
    for i in range(n):
        item = {"id": f"i{i}", "label": i % classes, "patient_id": str(i // 2), "split": "test"}
        truth = None if i in without_mask else made_truth(i)
        found.append(measure_image(item, made_prediction(f"i{i}", i, classes), truth, None, 0.5))
    return found
