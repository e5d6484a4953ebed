"""The model of a prediction: described before it is loaded, loaded when it is asked for.

MONAI Label takes the transforms of ``inference.json`` alone, loads the weights into ``network_def`` itself, and takes
a new ``models/model.pt`` without a restart. So the transforms ask for the description when they run: until the model
is loaded here, it is that of the file as it is then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scripts.errors import InputError, Problem
from scripts.joint_network import JointNetwork, joint_network
from scripts.model_file import ModelInfo, read_info
from scripts.trained_model import NETWORKS, TrainedModel, find_run, load_model


class ModelSource:
    """A model file or a round of a run, as :func:`scripts.trained_model.load_model` takes them.

    Args:
        network_def: network of the config; its class may be built besides those of the project, and it stands for the
            network where another program loads the weights. None where nobody asks for the network before it is loaded.
        device: where the loaded network goes.
        released: model file that is taken where neither ``ckpt`` nor ``output_dir`` is given.
        ckpt: model file.
        output_dir: folder of runs, or one run's own folder.
        run, round, threshold, stage0_dir: see :func:`scripts.trained_model.load_model`.
        native_size: (height, width) in pixels of the training images, instead of the stored one.

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
        self._changes: dict[str, Any] = {"threshold": threshold, "native_size": native_size and tuple(native_size)}
        self._model: TrainedModel | None = None
        self._described: tuple[tuple[int, int], ModelInfo] | None = None

    def load(self) -> TrainedModel:
        """Return the model, read at the first call.

        Raises:
            InputError, StateError: see :func:`scripts.trained_model.load_model`.
        """
        if self._model is None:
            self._refuse_missing()
            model = load_model(**self._arguments)
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
