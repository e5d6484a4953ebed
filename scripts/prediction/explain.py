"""The command ``explain``: why a model says what it says of one image, as a picture and as raw arrays."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from scripts.core.errors import InputError, Problem
from scripts.core.files import remove_leftovers, write_atomic
from scripts.images.files.names import image_stem
from scripts.images.reading import read_image
from scripts.networks.inferer import JointInferer
from scripts.networks.outputs import class_probabilities, prediction
from scripts.prediction.explain_maps import Spread, binary_entropy_map, dropout_spread, flip_spread, gradient_cams
from scripts.prediction.explain_panel import draw_panel
from scripts.prediction.explanation import Explanation, npz_bytes
from scripts.prediction.image_origin import origin_of
from scripts.prediction.listing import MARK
from scripts.prediction.transforms import mask_of
from scripts.trained.source import ModelSource

logger = logging.getLogger(__name__)


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
    pixels = read_image(path, info.bits)
    size = (pixels.shape[0], pixels.shape[1])
    x = torch.as_tensor(preprocessing({"image": str(path), "id": path.name})["image"])[None].to(trained.device)
    with torch.no_grad():
        found = prediction(path.name, inferer(x, network), network, size).gated(info.gated)
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


def _verdict(e: Explanation) -> str:
    best = int(e.class_probs.argmax())
    return (
        f"{e.info.classes[best]}, probability {e.class_probs[best]:.3f}, foreground {100 * float(e.mask.mean()):.1f} %"
    )
