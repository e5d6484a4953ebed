"""One whole round of active learning with each network, measured: every phase of a real run, at few steps."""

from __future__ import annotations

import logging
import multiprocessing
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

from scripts.core.run_config import RunConfig
from scripts.core.run_names import Phase
from scripts.data.run_data import open_data
from scripts.state.reader import StateReader

TRAIN_CONFIG = Path(__file__).resolve().parents[3] / "bundle" / "configs" / "train.json"
NETWORKS: dict[str, dict[str, Any]] = {
    "kept": {"network_def#pretrained": False},
    "published": {
        "network_def": {
            "_target_": "scripts.networks.published_net.PublishedNet", "num_classes": "@num_classes", "base_width": 24,
            "leak": 64, "freeze_classifier": "@freeze_classifier", "pretrained": False, "mean": 0.5, "std": 0.5,
        },
        "active#stage0#overrides": {
            "freeze_classifier": False, "selection": "accuracy", "max_epochs": 1, "epoch_length": 1,
            "loss#scale_seg": 0.0, "loss#scale_seg_u": 0.0, "validate#inferer#decode": False,
        },
        "features": None,
    },
}  # fmt: skip
"""Variant of :data:`scripts.release.benchmarks.cases.VARIANTS` -> how the config makes its network; the published code
keeps no features."""

ROUNDS = {"kept": 2, "published": 1}
"""Variant -> rounds that are run; the last is measured. Features are kept for the first time in round 0, and without
them all rounds take alike."""

RANDOM = (Phase.QUERY, Phase.ORACLE, Phase.CYCLE_0, Phase.EVALUATE)
"""Phases that a method with one training has too."""


def measured_rounds(
    dataset_dir: str, reading: Mapping[str, Any], image_size: tuple[int, int], steps: int, batch: int, device: str,
    threads: int, amp: bool | str, seed: int,
) -> dict[str, dict[str, float]]:  # fmt: skip
    """Return variant -> phase -> seconds of a round of ``label_prop`` that begins with masks of 4 images per class.

    Args:
        dataset_dir: see :func:`scripts.data.run_data.open_data`.
        reading: further arguments of it, such as ``table``.
        image_size: (h, w) of the network's input.
        steps: training steps per cycle; one validation ends each.
        batch: images per step.
        device: where to compute.
        threads: of torch on the CPU; 0 leaves them as they are.
        amp: bfloat16 for both.
        seed: of the run.
    """
    context = multiprocessing.get_context("spawn")
    found = {}
    for key in NETWORKS:
        with context.Pool(1) as pool:  # a process each: neither finds memory or files that the other warmed
            arguments = (key, dataset_dir, dict(reading), image_size, steps, batch, device, threads, amp, seed)
            found[key] = pool.apply(one_round, arguments)
    return found


def one_round(
    key: str, dataset_dir: str, reading: dict[str, Any], image_size: tuple[int, int], steps: int, batch: int,
    device: str, threads: int, amp: bool | str, seed: int,
) -> dict[str, float]:  # fmt: skip
    """Run stage 0 for one step and the rounds of :data:`ROUNDS`; return the seconds of the last one's phases."""
    logging.disable(logging.INFO)
    if threads:
        torch.set_num_threads(threads)
    parser = ConfigParser(ConfigParser.load_config_files(str(TRAIN_CONFIG)))
    data = open_data(dataset_dir, image_size=image_size, progress=False, **reading)
    with tempfile.TemporaryDirectory() as folder:
        changes = {
            "output_dir": folder, "device": device, "amp": amp, "image_size": list(image_size), "batch_size": batch,
            "num_classes": len(data.classes), "max_epochs": 1, "epoch_length": steps, "val_interval": 1,
            "active#rounds": ROUNDS[key], "active#initial_per_class": 4, "active#max_overlays": 0, "active#seed": seed,
            "active#stage0#overrides#max_epochs": 1, "active#stage0#overrides#epoch_length": 1, **NETWORKS[key],
        }  # fmt: skip
        for name, value in changes.items():
            parser[name] = value
        config = RunConfig(parser.get())
        loop = config.parser(objects={"data": data, "config": config}).get_parsed_content("active#loop")
        loop.run()
        with StateReader.open(loop.folder) as state:
            return state.seconds(ROUNDS[key] - 1)
