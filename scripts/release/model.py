"""The command ``python -m scripts.release model``: the model of a run, or of a file, as a file to give away.

``python -m scripts.release model --output_dir runs/release`` writes ``models/model.pt`` with ``models/model.json``
beside it, which prediction, MONAI Label and the package take; ``--out NAME.safetensors`` writes the other form
(:mod:`scripts.networks.model_file`). The description tells where the weights come from and their hash, so that a file
whose weights were exchanged is noticed (:func:`scripts.networks.model_file.is_described`).
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import torch

from scripts.core.result_files import versions
from scripts.networks.model_file import HASH, NETWORKS, build_network, read_model, weights_sha256, write_model
from scripts.trained.run_models import read_run
from scripts.trained.source import find_run

logger = logging.getLogger(__name__)


def release(
    output_dir: str = "runs/release",
    run: str | None = None,
    round: int | None = None,
    stage0_dir: str | None = None,
    ckpt: str | None = None,
    out: str = "models/model.pt",
    command: str | None = None,
    network: str = NETWORKS[0],
) -> None:
    """Write a model file of a round of a run; or read one and write it in another form.

    Args:
        output_dir: folder of runs, or one run's own folder.
        run: name of the run's folder in it; not needed if there is one.
        round: the last one that was evaluated unless given.
        stage0_dir: where theta0 is kept; stage0 beside the run unless given.
        ckpt: model file to convert instead of a run.
        out: file to write: NAME.pt (with NAME.json) or NAME.safetensors.
        command: what made the run, kept as text in the description.
        network: dotted name of the network's class, where it is not one of the project.

    Raises:
        InputError: no such run, round or file; weights that do not fit the network.
        StateError: the run is damaged, or the file cannot be written.
    """
    if ckpt is not None:
        weights, info = read_model(ckpt)
    else:
        weights, info, _ = read_run(find_run(output_dir, run), round, stage0_dir)
        info = replace(info, provenance={**info.provenance, "versions": versions()})
    weights = {name: value.contiguous() for name, value in weights.items()}  # a training leaves them channels-last
    build_network(info, weights, torch.device("cpu"), {*NETWORKS, network})
    known = {"command": command} if command else {}
    sha256 = weights_sha256(weights)
    write_model(out, weights, replace(info, provenance={**info.provenance, **known, HASH: sha256}))
    size = Path(out).stat().st_size / 1e6
    logger.info("%s: %d tensors, %.1f MB, weights %s", out, len(weights), size, sha256[:16])
