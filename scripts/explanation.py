"""The command ``explain``: why a model says what it says of one image, as a picture and as raw arrays."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scripts.blobs import remove_leftovers, write_atomic
from scripts.donors import Origin, origin_of
from scripts.errors import InputError, Problem
from scripts.explanation_maps import Spread, binary_entropy_map, dropout_spread, flip_spread, gradient_cams
from scripts.explanation_panel import draw_panel
from scripts.image_listing import MARK
from scripts.images import image_stem, read_image
from scripts.inferers import JointInferer
from scripts.learner import Prediction, prediction
from scripts.model_file import ModelInfo
from scripts.model_source import ModelSource
from scripts.prediction_transforms import class_probabilities, mask_of

logger = logging.getLogger(__name__)


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


def explain_image(
    image: str | None,
    model: ModelSource,
    preprocessing: Callable[[dict[str, Any]], Any],
    inferer: JointInferer,
    output_dir: str | Path,
    label: str | None = None,
    passes: int = 20,
    dropout: float = 0.2,
    seed: int = 0,
    dataset_dir: str | Path | None = None,
) -> Path:
    """Write ``explanations/<name>.png`` and ``.npz`` (see ``docs/predict.md``) and return the picture's path.

    Args:
        image: file of any supported format.
        model: what is explained.
        preprocessing, inferer: as of a prediction.
        output_dir: folder of results.
        label: class that Grad-CAMs are of; None for the predicted one.
        passes: with dropout, 2 or more.
        dropout: probability in (0, 1) of these passes.
        seed: of the dropout.
        dataset_dir: where the donor's file is looked for; None for the folder of the image.

    Raises:
        InputError: no image, one that cannot be read, another class, or settings out of range.
        StateError: the state of the run cannot be read, or a file cannot be written.
    """
    if image is None:
        raise InputError(Problem("no image is named", "image", "an image file", "null", "Add --image FILE."))
    path = Path(image)
    explanation = _explained(path, model, preprocessing, inferer, label, passes, dropout, seed, dataset_dir)
    folder = Path(output_dir)
    target = folder / "explanations" / f"{image_stem(path)}.png"
    remove_leftovers(folder)
    write_atomic(folder / MARK, b"Results of a prediction: not searched for images.\n")
    write_atomic(target.with_name(f"{image_stem(path)}.npz"), npz_bytes(explanation))
    write_atomic(target, draw_panel(explanation))
    logger.info("%s: %s. %s", path.name, _verdict(explanation), explanation.origin.text)
    logger.info("written: %s and .npz", target)
    return target


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


def _explained(
    path: Path,
    model: ModelSource,
    preprocessing: Callable[[dict[str, Any]], Any],
    inferer: JointInferer,
    label: str | None,
    passes: int,
    dropout: float,
    seed: int,
    dataset_dir: str | Path | None,
) -> Explanation:
    trained, network = model.load(), model.network
    info = trained.info
    if label is not None and str(label) not in info.classes:  # the command line makes numbers of digits
        raise InputError(Problem("unknown class", "explain#label", ", ".join(info.classes), str(label)))
    pixels = read_image(path)
    size = (pixels.shape[0], pixels.shape[1])
    x = torch.as_tensor(preprocessing({"image": str(path), "id": path.name})["image"])[None].to(trained.device)
    with torch.no_grad():
        found = prediction(path.name, inferer(x, network), network, size)
        spreads: tuple[Spread | None, Spread | None] = (None, None)
        if info.mask_from == "decoder":
            spreads = (
                dropout_spread(inferer, network, x, size, passes, dropout, seed),
                flip_spread(inferer, network, x, size),
            )
    index = int(found.scores.argmax()) if label is None else info.classes.index(str(label))
    folder = None if dataset_dir is None else Path(dataset_dir)
    return Explanation(
        path.name, pixels, info, found, class_probabilities(found), mask_of(found, info), index,
        *gradient_cams(network, x, index),
        binary_entropy_map(found.probs) if info.mask_from == "decoder" else None, *spreads,
        {"passes": passes, "dropout": dropout, "seed": seed},
        origin_of(path.absolute(), model.run_folder, info.provenance.get("round"), folder),
    )  # fmt: skip


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


def _verdict(e: Explanation) -> str:
    best = int(e.class_probs.argmax())
    return (
        f"{e.info.classes[best]}, probability {e.class_probs[best]:.3f}, foreground {100 * float(e.mask.mean()):.1f} %"
    )
