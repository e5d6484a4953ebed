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
from pathlib import Path
from typing import Any

import torch

from scripts.core.files import remove_leftovers
from scripts.core.lock import held
from scripts.core.run_config import APART, LATER, RunConfig
from scripts.data.run_data import RunData
from scripts.images.files.bit_depth import FULL
from scripts.networks.theta0 import Theta0, read_theta0, write_theta0
from scripts.training.checkpoints import CheckpointFile
from scripts.training.losses import UNLABELLED
from scripts.training.train import train

logger = logging.getLogger(__name__)

SECTIONS = ("image_size", "network_def", "loss", "optimizer", "lr_scheduler", "train", "validate", "batch_size")
"""Sections of the config that decide theta0, besides the data and the overrides of this stage."""


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
    folder = Path(folder)
    with held(folder / f"{key}.lock", "stage 0"):  # of the runs of a study one trains, the others wait
        remove_leftovers(folder)
        checkpoint = CheckpointFile(folder / f"{key}.ckpt", checkpoint_seconds)
        stored = read_theta0(folder, key)
        if stored is not None:
            checkpoint.remove()
            logger.info("stage 0: theta0 of %s, validation accuracy %.4f", folder / f"{key}.pt", stored.accuracy)
            return stored
        logger.info("stage 0: training encoder and classifier on %d image labels", len(data.items("train")))
        started = time.perf_counter()
        trained = train(stage0_parser(config, data, overrides, seed), seed, checkpoint=checkpoint.of(settings))
        seconds = round(time.perf_counter() - started, 3)
        about = {"epoch": trained.epoch, "threads": torch.get_num_threads(), "settings": settings}
        made = write_theta0(folder, key, trained.weights, trained.metric, seconds, about)
        checkpoint.remove()
    logger.info("stage 0: validation accuracy %.4f after %.0f s", trained.metric, seconds)
    return made


def stage0_parser(config: RunConfig, data: RunData, overrides: Mapping[str, Any], seed: int) -> Any:
    """Return the parser that stage 0 trains with."""
    items = [{**item, "mask": None, "kind": UNLABELLED} for item in data.items("train")]
    changes = {"cycle#rounds": True, "cycle#name": "stage_0", **_changes(config, overrides, seed)}
    objects = {"data": data, "train#dataset#data": items, "validate#dataset#data": data.items("val")}
    return config.parser(changes, objects)


def _changes(config: RunConfig, overrides: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """What stage 0 sets by itself, so that nothing of a run (its seed) or of later trainings gets into theta0."""
    own = {"cycle#seed": seed, "active#seed": seed, "variants": None, "labelled_share": None, "features": None}
    own |= {name: LATER[name] for name in ("scale_seg_b", "background_share") if config.get(name) is not None}
    return {**own, **overrides}


def stage0_settings(config: RunConfig, data: RunData, overrides: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return everything that theta0 depends on, as JSON values."""
    changed = RunConfig(config.parser(_changes(config, overrides, seed)).get())
    return {
        "data": data.datalist.sha256,
        "classes": list(data.classes),
        "seed": seed,
        **({} if data.datalist.bits == FULL else {"bits": data.datalist.bits}),  # theta0 of earlier versions is found
        "overrides": dict(overrides),
        **changed.with_references(SECTIONS, APART),
    }
