"""A trained model ready for use: network on its device, threshold, classes, image size, and where they come from.

Whoever predicts or evaluates asks :func:`load_model`, which takes a round of a run or a model file. Settings and
descriptions in them are data: only known network classes are built from them, and nothing in them is evaluated.

:class:`ModelSource` is the model of a prediction: described before it is loaded, loaded when it is asked for. MONAI
Label takes the transforms of ``inference.json`` alone, loads the weights into ``network_def`` itself, and takes a new
``models/model.pt`` without a restart. So the transforms ask for the description when they run: until the model is
loaded here, it is that of the file as it is then.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scripts.core.errors import InputError, Problem
from scripts.core.run_names import RunFile, is_run
from scripts.networks.interface import JointNetwork, joint_network
from scripts.networks.model_file import (
    NETWORKS,
    ModelInfo,
    TrainedModel,
    build_network,
    is_described,
    read_info,
    read_model,
)
from scripts.trained.run_models import read_run

logger = logging.getLogger(__name__)


def load_model(
    output_dir: Path | str,
    device: torch.device | str = "cpu",
    run: str | None = None,
    round: int | None = None,
    ckpt: Path | str | None = None,
    threshold: float | None = None,
    stage0_dir: Path | str | None = None,
    network: str = NETWORKS[0],
) -> TrainedModel:
    """Return the model of a round of a run, or of a file.

    Args:
        output_dir: folder of runs, or one run's own folder.
        device: where the network goes.
        run: name of the run's folder in ``output_dir``; None for the only one there.
        round: None for the last one that was evaluated.
        ckpt: model file (:mod:`scripts.networks.model_file`) instead of a run.
        threshold: in [0, 1], instead of the stored one.
        stage0_dir: where theta0 is kept; None for ``stage0`` beside the run.
        network: ``_target_`` of the config's network, which may be built besides :data:`NETWORKS`.

    Raises:
        InputError: no such run, round or file; a network that must not or cannot be built; weights of another network.
        StateError: the state or a file of the run is missing or damaged.
    """
    if ckpt is not None:
        if run is not None or round is not None:
            raise InputError(Problem("a file and a run are named", "ckpt", "one of both", f"{ckpt}, {run}, {round}"))
        weights, info = read_model(ckpt)
        if not is_described(weights, info):
            logger.warning("%s: the weights are not those of its description; threshold and origin may not fit", ckpt)
        info = replace(info, provenance={"file": Path(ckpt).name, **info.provenance})
        split_of: dict[str, str] = {}
    else:
        weights, info, split_of = read_run(find_run(output_dir, run), round, stage0_dir)
    if threshold is not None:
        info = replace(info, threshold=threshold)
    device = torch.device(device)
    ready = build_network(info, weights, device, {*NETWORKS, network})
    logger.info("model: %s, threshold %.4g", ", ".join(f"{k} {v}" for k, v in _shown(info).items()), info.threshold)
    return TrainedModel(ready, device, info, split_of)


def find_run(output_dir: Path | str, run: str | None = None) -> Path:
    """Return the folder of a run; see :func:`load_model`.

    Raises:
        InputError: there is none, or several and ``run`` does not tell which.
    """
    folder = Path(output_dir)
    if run is not None:
        if Path(run).name != run or not is_run(folder / run):
            raise InputError(Problem("no such run", str(folder), ", ".join(_runs(folder)) or "a run in there", run))
        return folder / run
    if is_run(folder):
        return folder
    names = _runs(folder)
    if len(names) != 1:
        cure = "Name one with --model#run NAME." if names else "Name a folder of runs with --output_dir, or a --ckpt."
        raise InputError(Problem("which run is not clear", str(folder), "one run", ", ".join(names) or "none", cure))
    return folder / names[0]


def _runs(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in folder.glob(f"*/{RunFile.STATE}"))


def _shown(info: ModelInfo) -> dict[str, Any]:
    return {name: info.provenance[name] for name in ("file", "run", "round", "masks") if name in info.provenance}


class ModelSource:
    """A model file or a round of a run, as :func:`scripts.trained.source.load_model` takes them.

    Args:
        network_def: network of the config; its class may be built besides those of the project, and it stands for the
            network where another program loads the weights. None where nobody asks for the network before it is loaded.
        device: where the loaded network goes.
        released: model file that is taken where neither ``ckpt`` nor ``output_dir`` is given.
        ckpt: model file.
        output_dir: folder of runs, or one run's own folder.
        run, round, threshold, stage0_dir: see :func:`scripts.trained.source.load_model`.
        native_size: (height, width) in pixels of the training images, instead of the stored one.
        background_gate: whether a predicted background class leaves nothing to draw, instead of what is stored.

    Raises:
        InputError: a file and a run are named, a part of a run without its folder, or nothing.
    """

    def __init__(
        self,
        network_def: nn.Module | None = None,
        device: torch.device | str = "cpu",
        released: Path | str | None = None,
        ckpt: Path | str | None = None,
        output_dir: Path | str | None = None,
        run: str | None = None,
        round: int | None = None,
        threshold: float | None = None,
        stage0_dir: Path | str | None = None,
        native_size: Sequence[int] | None = None,
        background_gate: bool | None = None,
    ) -> None:
        if ckpt is not None and output_dir is not None:
            raise InputError(Problem("a file and a run are named", "ckpt", "one of both", f"{ckpt}, {output_dir}"))
        if output_dir is None and (run is not None or round is not None):
            cure = "Name the folder of runs with --model#output_dir."
            raise InputError(Problem("run without its folder", "model#output_dir", "a folder", "null", cure))
        path = ckpt if ckpt is not None or output_dir is not None else released
        if path is None and output_dir is None:
            cure = "Name a file with --ckpt, or a folder of runs with --model#output_dir."
            raise InputError(Problem("no model is named", "ckpt", "a model file", "null", cure))
        self.path = None if path is None else Path(path)
        self._default = network_def
        kind = type(network_def)
        self._arguments: dict[str, Any] = {
            "output_dir": output_dir or ".", "device": device, "run": run, "round": round, "ckpt": path,
            "threshold": threshold, "stage0_dir": stage0_dir,
            "network": NETWORKS[0] if network_def is None else f"{kind.__module__}.{kind.__qualname__}",
        }  # fmt: skip
        self._changes: dict[str, Any] = {
            "threshold": threshold, "native_size": native_size and tuple(native_size),
            "background_gate": background_gate,
        }  # fmt: skip
        self._model: TrainedModel | None = None
        self._described: tuple[tuple[int, int], ModelInfo] | None = None

    def load(self) -> TrainedModel:
        """Return the model, read at the first call.

        Raises:
            InputError, StateError: see :func:`scripts.trained.source.load_model`.
        """
        if self._model is None:
            self._refuse_missing()
            model = load_model(**self._arguments)
            if "geometry" in model.info.provenance:
                text = "the model was trained with %s; new images are resized instead, and its figures may not hold"
                logger.warning(text, model.info.provenance["geometry"])
            self._model = replace(model, info=self._changed(model.info))
        return self._model

    @property
    def info(self) -> ModelInfo:
        """Description of the loaded model; of a file that is not loaded, as it is on the disk at this moment.

        Raises:
            InputError: the file cannot be read.
        """
        if self._model is not None or self.path is None:
            return self.load().info
        self._refuse_missing()
        stamp = self._stamp(self.path)
        if self._described is None or self._described[0] != stamp:
            self._described = stamp, self._changed(read_info(self.path))
        return self._described[1]

    @property
    def run_folder(self) -> Path | None:
        """Folder of the run that the model belongs to; None for a file."""
        return None if self.path is not None else find_run(self._arguments["output_dir"], self._arguments["run"])

    @property
    def network(self) -> JointNetwork:
        """The loaded network, or that of the config, for what does not depend on weights: pooling and stride."""
        return joint_network(
            self._default if self._model is None and self._default is not None else self.load().network
        )

    def _refuse_missing(self) -> None:
        if self.path is not None and not self.path.is_file():
            cure = "Name a file with --ckpt, or a folder of runs with --model#output_dir."
            raise InputError(Problem("model is missing", str(self.path), "a model file", "nothing there", cure))

    def _changed(self, info: ModelInfo) -> ModelInfo:
        return replace(info, **{name: value for name, value in self._changes.items() if value is not None})

    @staticmethod
    def _stamp(path: Path) -> tuple[int, int]:
        described = path.with_suffix(".json") if path.suffix == ".pt" else path
        try:
            found = described.stat()
        except OSError:
            return 0, 0  # reading it will tell
        return found.st_mtime_ns, found.st_size
