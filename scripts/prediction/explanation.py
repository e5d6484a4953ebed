"""What is said of one image, and its arrays as a file."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from scripts.networks.model_file import ModelInfo
from scripts.networks.outputs import Prediction
from scripts.prediction.explain_maps import Spread
from scripts.prediction.image_origin import Origin


@dataclass(frozen=True)
class Explanation:
    """What is known of a prediction; (H, W) is the size of the image, (h, w) that of the class maps.

    Attributes:
        name: file name of the image.
        image: (H, W, 3) uint8 RGB.
        info: description of the model.
        found: probabilities of the pixels, class scores, class maps.
        class_probs: (C,) float64.
        mask: (H, W) uint8 in {0, 1}.
        label: class that Grad-CAMs are of.
        grad_cam, grad_cam_pp: (h, w) float32 >= 0.
        entropy: (H, W) float32, of the prediction; None for a model without a trained decoder, as the next two.
        dropout: spread over passes with dropout.
        flips: spread over the four flips.
        settings: passes, dropout and seed.
        origin: what the image was to the model.
    """

    name: str
    image: np.ndarray
    info: ModelInfo
    found: Prediction
    class_probs: np.ndarray
    mask: np.ndarray
    label: int
    grad_cam: np.ndarray
    grad_cam_pp: np.ndarray
    entropy: np.ndarray | None
    dropout: Spread | None
    flips: Spread | None
    settings: dict[str, Any]
    origin: Origin


def npz_bytes(explanation: Explanation) -> bytes:
    """Return the arrays as an ``.npz`` that needs no pickle; equal explanations give equal bytes."""
    e = explanation
    arrays: dict[str, np.ndarray] = {
        "image": e.image,
        "mask": e.mask,
        "class_maps": e.found.class_maps.numpy(),
        "class_scores": e.found.scores,
        "class_probabilities": e.class_probs,
        "classes": np.array(e.info.classes, dtype=np.str_),
        "grad_cam": e.grad_cam,
        "grad_cam_pp": e.grad_cam_pp,
    }
    if e.entropy is not None:
        arrays |= {"probability": e.found.probs, "entropy": e.entropy}
    for name, spread in (("dropout", e.dropout), ("flips", e.flips)):
        if spread is not None:
            kept = {"mean": spread.mean, "variance": spread.variance, "entropy": spread.entropy}
            arrays |= {f"{name}_{key}": values for key, values in kept.items()}
    pseudo = e.origin.pseudo
    if pseudo is not None:
        arrays["pseudo_mask"] = pseudo.mask
        arrays |= {} if pseudo.donor_mask is None else {"donor_mask": pseudo.donor_mask}
    arrays["about"] = np.array(json.dumps(_about(e), allow_nan=False), dtype=np.str_)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _about(e: Explanation) -> dict[str, Any]:
    """Return what the arrays do not hold, as JSON values."""
    pseudo = e.origin.pseudo
    donor = None if pseudo is None else {"id": pseudo.donor, "distance": pseudo.distance, "threshold": pseudo.threshold}
    return {
        "image": e.name,
        "class": e.info.classes[int(e.class_probs.argmax())],
        "grad_cam_class": e.info.classes[e.label],
        "settings": e.settings,
        "origin": {"text": e.origin.text, "id": e.origin.id, "round": e.origin.round, "donor": donor},
        "model": json.loads(e.info.to_json()),
    }
