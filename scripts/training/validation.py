"""Metrics of a validation pass, by which the weights of a training are chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from ignite.engine import Events
from ignite.metrics import Metric
from monai.engines import Evaluator
from torch import nn

from scripts.core.errors import InputError, Problem
from scripts.evaluation.metrics import dice
from scripts.images.store import ImageStore
from scripts.images.values import FOREGROUND, NO_BACKGROUND, BackgroundClasses
from scripts.networks.interface import joint_network
from scripts.networks.outputs import PLAIN, Geometry, restore, unpack_outputs
from scripts.networks.weights import copied_weights

Of = Literal["dice", "accuracy", "joint"]


class JointMetric(Metric):
    """Mean Dice at original resolution, class accuracy, or their sum, over a validation pass.

    Args:
        of: ``"dice"`` (published for a frozen classifier), ``"accuracy"`` (stage 0), ``"joint"`` (the sum, for joint
            training).
        store: true masks; images without one do not enter the Dice.
        network: gives pooling and stride.
        threshold: cut of the probabilities; the published selection uses 0.5 whatever is reported later.
        geometry: the way back to the original size.
        background: classes without foreground. With some, Dice is over images whose true mask has foreground, and an
            image that is predicted as one of the gated classes has an empty mask.
    """

    def __init__(
        self, of: Of, store: ImageStore, network: nn.Module, threshold: float = 0.5, geometry: Geometry = PLAIN,
        background: BackgroundClasses = NO_BACKGROUND,
    ) -> None:  # fmt: skip
        self.of, self.store, self.threshold, self.geometry = of, store, threshold, geometry
        self.background = background
        self.network = joint_network(network)
        super().__init__(output_transform=_packed_and_targets)

    def reset(self) -> None:
        """Forget every image."""
        self._dice, self._masks, self._right, self._images = 0.0, 0, 0, 0

    def update(self, output: tuple[torch.Tensor, Mapping[str, Any]]) -> None:
        """Add a batch: packed outputs (B, 1 + C, H, W) and targets (see :mod:`scripts.training.criterion`)."""
        packed, targets = output
        logits, maps = unpack_outputs(packed.detach(), self.network.stride)
        with torch.no_grad():
            predicted = self.network.pool(maps).argmax(1)
        self._right += int((predicted == targets["label"]).sum())
        self._images += len(packed)
        if self.of == "accuracy":
            return
        closed = [label in self.background.gated for label in predicted.tolist()] if self.background else None
        for at, (one, key) in enumerate(zip(logits[:, 0], targets["id"], strict=True)):
            truth = self.store.true_mask(key)
            if truth is None or (self.background and not (truth == FOREGROUND).any()):
                continue
            self._masks += 1
            if closed is None or not closed[at]:  # else nothing is predicted, and Dice is 0
                probs = restore(one, (truth.shape[0], truth.shape[1]), self.geometry)
                self._dice += dice((probs >= self.threshold).cpu().numpy(), truth)

    def compute(self) -> float:
        """Return the metric: Dice and accuracy in [0, 1], their sum in [0, 2].

        Raises:
            InputError: there was no image, or for Dice none with a mask.
        """
        if self._images == 0 or (self.of == "dice" and self._masks == 0):
            what = "validation image" if self._images == 0 else "mask of a validation image"
            what += " with foreground" if self._images and self.background else ""
            cure = "Add some to the table, or choose another selection."
            raise InputError(Problem(f"no {what} to compute {self.of} on", "selection", cure=cure))
        accuracy = self._right / self._images
        mean_dice = self._dice / max(self._masks, 1)
        return {"dice": mean_dice, "accuracy": accuracy, "joint": accuracy + mean_dice}[self.of]


def _packed_and_targets(output: Mapping[str, Any]) -> tuple[torch.Tensor, Mapping[str, Any]]:
    return output["pred"], output["label"]


def is_not_worse(current: float, best: float) -> bool:
    """Compare metrics so that of equal ones the later counts as the best, as published."""
    return current >= best


class BestWeights:
    """Handler that keeps a copy of the network's weights whenever a validation was the best so far.

    Args:
        network: whose weights.

    Attributes:
        weights: the copy, on the CPU; the last weights when there was no validation.
        metric: the key metric of that validation.
        epoch: the training epoch it followed.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.weights: dict[str, torch.Tensor] | None = None
        self.metric, self.epoch = float("-inf"), 0

    def attach(self, evaluator: Evaluator) -> None:
        """Follow the validations of ``evaluator``; to be attached after its metrics."""
        evaluator.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, evaluator: Evaluator) -> None:
        """Copy the weights if the validation that ended was the best."""
        if evaluator.state.best_metric_epoch == evaluator.state.epoch:
            self.metric, self.epoch = float(evaluator.state.best_metric), evaluator.state.epoch
            self.weights = copied_weights(self.network)
