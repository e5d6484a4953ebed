"""The pool of a finished run, from its state, its images and its weights: features, queries, contradicted masks."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from scripts.active.methods import Method
from scripts.active.run_record import training_overrides
from scripts.core.errors import InputError, Problem, listed
from scripts.core.run_config import RunConfig
from scripts.core.run_names import START, Metric, OutputFile, Phase, run_folder
from scripts.data.run_data import RunData
from scripts.evaluation.agreement import consensus
from scripts.images.overlays import outlined
from scripts.images.png import png_to_mask
from scripts.images.values import FOREGROUND, IGNORE
from scripts.networks.model_file import DEFAULT_THRESHOLD
from scripts.networks.outputs import pseudo_mask
from scripts.networks.theta0 import Theta0, find_theta0
from scripts.networks.weights import Weights
from scripts.state.reader import StateReader
from scripts.state.rows import QueryRow
from scripts.studies.checks import ids_of_data
from scripts.studies.report.pool import MOST_POINTS, Asked, Contradiction, PoolView, drawn_ids, soft_iou
from scripts.trained.run_models import weights_of_round
from scripts.training.learner import Learner

MOST_CONTRADICTIONS = 12
_THUMBNAIL, _PICTURE = 64, 200
_QUALITY = 80
_BY_LOT, _BY_SCORE = "random_order", "highest_score"


def arm_config(study: Path, arm: str, seed: int) -> RunConfig:
    """Return the config of a run of a study, from the files that its command reads.

    Raises:
        InputError: they cannot be read.
    """
    whole, own = _read(study / "config.json"), _read(_own_values(study, arm, seed))
    return RunConfig(RunConfig(whole).parser(own).get())


def pool_of_run(
    study: Path, arm: str, seed: int, data: RunData, most: int = MOST_POINTS, own_data: bool = False
) -> PoolView:
    """Return the pool of a run of a study that has ended.

    Args:
        study: folder of the study.
        arm: method of the run, with its overlay after a ``+``.
        seed: of the run.
        data: images of the study.
        most: images on the map.
        own_data: ``data`` are those of the run's own config, whatever its overlay changes.

    Raises:
        InputError: no such run, its config cannot be read, or its overlay changes the data of the study.
        StateError: its state, or a file of weights, cannot be read.
    """
    config = arm_config(study, arm, seed)
    changed = [] if own_data else ids_of_data(_read(_own_values(study, arm, seed)))
    if changed:
        cure = f"For its own images: python -m scripts.studies report FOLDER --pool --method {arm}"
        raise InputError(Problem("overlay changes the data", arm, "images of the study", listed(changed), cure))
    name = str(config["active#method"])
    method = config.parser().get_parsed_content(f"active#methods#{name}")
    with StateReader.open(run_folder(study / arm, name, seed)) as state:
        learner = _learner(config, data, method, state, study, seed)
        asked = _asked(state)
        contradicted = _contradictions(state, learner, method)
    train = data.drawable("train")  # a pool is what may be asked about
    class_of = {item["id"]: data.classes[item["label"]] for item in train}
    ids = drawn_ids(list(class_of), [one.id for one in asked], most)
    pictured = dict.fromkeys([*ids, *(one.id for one in asked)])
    return PoolView(
        run=f"{arm}, seed {seed}",
        ids=ids,
        classes=[class_of[key] for key in ids],
        features=learner.image_features(ids),
        thumbnails={key: _jpeg(_shrunk(data.store.original_image(key), _THUMBNAIL)) for key in pictured},
        asked=asked,
        contradictions=contradicted,
        images=len(train),
    )


def why(query: QueryRow, settings: Mapping[str, Any]) -> str:
    """Return why an image was asked about, for readers.

    Args:
        query: round and score of the image.
        settings: of the run, as its state stores them.
    """
    active = settings.get("active") or {}
    preset = active.get("preset") or {}
    if preset.get("label_all"):
        return "all are asked"
    if query.round == 0 and preset.get("start") is None:
        start = str(active.get("start") or "random")
        return "by lot" if start == "random" else f"start: {start}"
    part = preset["start"] if query.round == 0 else preset.get("strategy") or _BY_LOT
    target = str(part.get("_target_", part) if isinstance(part, Mapping) else part).rpartition(".")[2]
    if target == _BY_LOT:
        return "by lot"
    name = target.replace("_", " ")
    if query.score is None:
        return name
    return f"{name} {query.score:.3g}" if target == _BY_SCORE else f"{name}, score {query.score:.3g}"


def _own_values(study: Path, arm: str, seed: int) -> Path:
    """Return the file of what the config of a run has for itself."""
    return study / arm / f"seed{seed}.json"


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(Problem("config of a run cannot be read", str(path), found=str(error))) from error
    if not isinstance(content, dict):
        raise InputError(Problem("config of a run cannot be read", str(path), found=type(content).__name__))
    return content


def _learner(config: RunConfig, data: RunData, method: Method, state: StateReader, study: Path, seed: int) -> Learner:
    sha256 = state.rng(START, Phase.STAGE_0)["theta0"]
    start = Theta0(find_theta0(study / OutputFile.STAGE_0, sha256), sha256, 0.0, 0.0)
    return Learner(config, data, None, start, training_overrides(config, method), seed)


def _asked(state: StateReader) -> list[Asked]:
    settings = state.settings()
    done = {at for at in state.metrics() if at >= 0}
    return [
        Asked(row.id, row.round, row.rank, row.score, why(row, settings))
        for row in state.queries()
        if row.round in done
    ]


def _contradictions(state: StateReader, learner: Learner, method: Method) -> list[Contradiction]:
    """Return the masks of each round from 1 on that the model of the round before contradicts most, the worst first.

    That model has not learnt from these masks; it may have from pseudo-masks of the images.
    """
    if method.cycles == 0 or method.label_all:
        return []
    found: list[tuple[float, int, str, np.ndarray, np.ndarray]] = []
    for at in sorted(index for index in state.metrics() if index > 0):
        drawn = state.drawn(at)
        masks = {
            query.id: consensus([png_to_mask(state.read_blob(row.blob)) for row in drawn[query.id]])
            for query in state.queries(at)
            if query.id in drawn
        }
        if not masks:
            continue
        weights: Weights = weights_of_round(state, at - 1, learner.theta0.weights)[0]
        threshold = state.metrics(at - 1).get(at - 1, {}).get(Metric.THRESHOLD, DEFAULT_THRESHOLD)
        for one in learner.predict(list(masks), weights):
            mask = masks[one.id]
            found.append((1 - soft_iou(mask, one.probs, IGNORE), at, one.id, mask, pseudo_mask(one.probs, threshold)))
        found = sorted(found, key=lambda row: (-row[0], row[1], row[2]))[:MOST_CONTRADICTIONS]
    return [
        Contradiction(key, at, disagreement, _compared(learner.data.store.original_image(key), mask, predicted))
        for disagreement, at, key, mask, predicted in found
    ]


def _compared(image: np.ndarray, mask: np.ndarray, predicted: np.ndarray) -> bytes:
    """Return a JPEG of the image with the outlines of its mask (blue) and of the prediction (yellow)."""
    small = _shrunk(image, _PICTURE)
    fields = [_nearest(values == FOREGROUND, small.shape) for values in (mask, predicted)]
    return _jpeg(outlined(outlined(small, fields[0], "truth"), fields[1], "prediction"))


def _nearest(mask: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    size = (shape[1], shape[0])
    return np.asarray(Image.fromarray(mask.astype(np.uint8)).resize(size, Image.Resampling.NEAREST))


def _shrunk(image: np.ndarray, long_side: int) -> np.ndarray:
    height, width = image.shape[:2]
    scale = long_side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def _jpeg(image: np.ndarray) -> bytes:
    target = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(target, "JPEG", quality=_QUALITY)
    return target.getvalue()
