"""Stage 0 (WSL): encoder and classifier trained on image labels only; its result theta0 starts every later training.

theta0 depends on the data, the network and the settings of this stage, not on method or seed of a run, so it is stored
under a hash of those and shared by all runs in a folder.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.blobs import remove_leftovers, write_atomic
from scripts.checkpoints import CheckpointFile
from scripts.config import RunConfig
from scripts.data import RunData
from scripts.errors import Problem, StateError
from scripts.losses import UNLABELLED
from scripts.training import Weights, pack_weights, train, unpack_weights

logger = logging.getLogger(__name__)

SECTIONS = ("image_size", "network_def", "loss", "optimizer", "lr_scheduler", "train", "validate", "batch_size")
"""Sections of the config that decide theta0, besides the data and the overrides of this stage."""

APART = (
    "bundle_root", "output_dir", "dataset_dir", "ckpt_dir", "log_dir", "device", "num_workers", "amp", "features",
    "data", "demo", "network", "cycle", "active",
)  # fmt: skip
"""Ids that sections refer to and that are no settings: places, the machine, and what is recorded by itself."""


@dataclass(frozen=True)
class Theta0:
    """The starting point of every training.

    Attributes:
        weights: full state dict of the network, the decoder's initial weights included.
        sha256: of the stored file.
        accuracy: class accuracy on the validation images, in [0, 1].
        seconds: time it took to train, also when it was read from disk.
    """

    weights: Weights
    sha256: str
    accuracy: float
    seconds: float


def theta0(
    config: RunConfig,
    data: RunData,
    overrides: Mapping[str, Any],
    folder: Path | str,
    seed: int = 0,
    checkpoint_seconds: float = 30.0,
) -> Theta0:
    """Return theta0, from ``folder`` where it has been trained with the same settings, else trained now.

    Args:
        config: of the run.
        data: images of the run; only their labels are used.
        overrides: config values of this stage by nested id.
        folder: where theta0 is kept, as ``<key>.pt`` and ``<key>.json``.
        seed: of this stage; its own, so that runs of several seeds share theta0, as published.
        checkpoint_seconds: least time between two checkpoints of the training, ``<key>.ckpt``.

    Raises:
        StateError: a stored theta0, or the checkpoint of its training, is damaged.
    """
    settings = stage0_settings(config, data, overrides, seed)
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    record = Path(folder) / f"{key}.json"
    remove_leftovers(record.parent)
    checkpoint = CheckpointFile(record.with_suffix(".ckpt"), checkpoint_seconds)
    if record.is_file():
        checkpoint.remove()
        return _stored(record)
    logger.info("stage 0: training encoder and classifier on %d image labels", len(data.items("train")))
    started = time.perf_counter()
    trained = train(stage0_parser(config, data, overrides, seed), seed, checkpoint=checkpoint.of(settings))
    content = pack_weights(trained.weights)
    seconds = round(time.perf_counter() - started, 3)
    sha256 = hashlib.sha256(content).hexdigest()
    found = {
        "sha256": sha256,
        "accuracy": trained.metric,
        "epoch": trained.epoch,
        "seconds": seconds,
        "settings": settings,
    }
    record.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(record.with_suffix(".pt"), content)
    write_atomic(record, json.dumps(found, indent=1).encode())
    checkpoint.remove()
    logger.info("stage 0: validation accuracy %.4f after %.0f s", trained.metric, seconds)
    return Theta0(trained.weights, sha256, trained.metric, seconds)


def stage0_parser(config: RunConfig, data: RunData, overrides: Mapping[str, Any], seed: int) -> Any:
    """Return the parser that stage 0 trains with."""
    items = [{**item, "mask": None, "kind": UNLABELLED} for item in data.items("train")]
    changes = {"cycle#rounds": True, "cycle#name": "stage_0", **_changes(overrides, seed)}
    objects = {"data": data, "train#dataset#data": items, "validate#dataset#data": data.items("val")}
    return config.parser(changes, objects)


def _changes(overrides: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """What stage 0 sets by itself, so that nothing of a run (its seed) or of later trainings gets into theta0."""
    own = {"cycle#seed": seed, "active#seed": seed, "variants": None, "labelled_share": None, "features": None}
    return {**own, **overrides}


def stage0_settings(config: RunConfig, data: RunData, overrides: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return everything that theta0 depends on, as JSON values."""
    changed = RunConfig(config.parser(_changes(overrides, seed)).get())
    return {
        "data": data.datalist.sha256,
        "classes": list(data.classes),
        "seed": seed,
        "overrides": dict(overrides),
        **changed.with_references(SECTIONS, APART),
    }


def _stored(record: Path) -> Theta0:
    cure = f"Remove {record} to train it again."
    try:
        found = json.loads(record.read_bytes())
        sha256, accuracy, seconds = str(found["sha256"]), float(found["accuracy"]), float(found["seconds"])
        content = record.with_suffix(".pt").read_bytes()
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise StateError(Problem("theta0 cannot be read", str(record), found=repr(error), cure=cure)) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise StateError(
            Problem("theta0 is damaged", str(record.with_suffix(".pt")), f"SHA-256 {sha256}", "another", cure)
        )
    logger.info("stage 0: theta0 of %s, validation accuracy %.4f", record.with_suffix(".pt"), accuracy)
    return Theta0(unpack_weights(content), sha256, accuracy, seconds)
