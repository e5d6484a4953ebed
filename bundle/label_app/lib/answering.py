"""Which model answers: the best round of the run; before the first, a model file of its classes, else its classifier.

On GlaS the masks of the released model, trained on the demo data, were better than those of the run's own classifier
(test Dice 0.75 and 0.66), so the file comes first.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from lib.refusals import NotNowError
from lib.run import TRAIN, ServedRun
from scripts.core.errors import Problem
from scripts.core.run_names import START, Metric, Phase, is_run
from scripts.networks.interface import JointNetwork, joint_network
from scripts.networks.model_file import NETWORKS, ModelInfo, build_network, is_described, read_info, read_model
from scripts.networks.weights import Weights
from scripts.trained.run_models import read_run, read_start

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answering:
    """A model in eval mode, and what clients are told of it.

    Attributes:
        network: on ``device``.
        device: where it is.
        info: threshold, classes, sizes.
        source: JSON values: where the model comes from.
    """

    network: JointNetwork
    device: torch.device
    info: ModelInfo
    source: Mapping[str, Any] = field(default_factory=dict)


class AnsweringModel:
    """The model that answers now; it changes when a better round is done, and is loaded once.

    Args:
        run: the run.
    """

    def __init__(self, run: ServedRun) -> None:
        self.run = run
        self._turn = threading.Lock()
        self._loaded: tuple[tuple[Any, ...], Answering] | None = None

    def get(self) -> Answering:
        """Return it.

        Raises:
            NotNowError: there is none yet.
            InputError, StateError: it cannot be read.
        """
        name, read = self._chosen()
        with self._turn:
            if self._loaded is None or self._loaded[0] != name:
                self._loaded = name, self._built(*read())
                logger.info("now answers: %s", self._loaded[1].source)
            return self._loaded[1]

    def _chosen(self) -> tuple[tuple[Any, ...], Callable[[], tuple[Weights, ModelInfo, dict[str, Any]]]]:
        run = self.run
        best = run.best_round()
        if best is not None:
            return (str(run.folder), best), lambda: self._of_round(best)
        path = run.settings.ckpt
        if path is not None and path.is_file() and read_info(path).classes == run.data.classes:
            return (str(path), path.stat().st_mtime_ns), lambda: self._of_file(path)
        if is_run(run.folder) and run.looking().is_done(START, Phase.STAGE_0):
            return (str(run.folder), START), self._of_start
        expected = "a round of the run, its stage 0, or a model file of its classes"
        raise NotNowError(Problem("no model can answer yet", str(run.folder), expected, "none", TRAIN))

    def _of_round(self, index: int) -> tuple[Weights, ModelInfo, dict[str, Any]]:
        weights, info, _ = read_run(self.run.folder, index, self.run.stage0_dir)
        values = self.run.evaluated()[index]
        told = {
            "from": "round",
            "round": index,
            Metric.VAL_DICE: values.get(Metric.VAL_DICE),
            Metric.MASKS: int(values[Metric.MASKS]),
        }
        return weights, info, told

    def _of_start(self) -> tuple[Weights, ModelInfo, dict[str, Any]]:
        weights, info = read_start(self.run.folder, self.run.stage0_dir)
        return weights, info, {"from": "stage 0", "round": None, Metric.VAL_DICE: None, Metric.MASKS: 0}

    def _of_file(self, path: Path) -> tuple[Weights, ModelInfo, dict[str, Any]]:
        weights, info = read_model(path)
        if not is_described(weights, info):
            logger.warning("%s: the weights are not those of its description", path)
        return (
            weights,
            info,
            {"from": "file", "file": path.name, "round": None, Metric.VAL_DICE: None, Metric.MASKS: None},
        )

    def _built(self, weights: Weights, info: ModelInfo, source: dict[str, Any]) -> Answering:
        allowed = {*NETWORKS, str(self.run.config["network_def#_target_"])}
        network = build_network(info, weights, self.run.device, allowed)
        where = {"run": self.run.folder.name, "mask_from": info.mask_from}
        return Answering(joint_network(network), self.run.device, info, {**source, **where})
