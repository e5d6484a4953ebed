"""One training: engines, network, optimizer and schedule built afresh from the config, run, and thrown away."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from monai.bundle import ConfigParser

from scripts.core.errors import InputError, Problem
from scripts.core.torch_rng import isolated_rng
from scripts.networks.weights import Weights, copied_weights
from scripts.training.checkpoints import TrainingCheckpoint
from scripts.training.validation import BestWeights


@dataclass(frozen=True)
class Trained:
    """What a training gives.

    Attributes:
        weights: state dict (CPU) of the best validation.
        metric: its key metric.
        epoch: when it was, from 1.
        seconds: time of the training.
    """

    weights: Weights
    metric: float
    epoch: int
    seconds: float


def train(
    parser: ConfigParser,
    seed: int,
    theta: Mapping[str, torch.Tensor] | None = None,
    checkpoint: TrainingCheckpoint | None = None,
) -> Trained:
    """Run ``train#trainer`` of a parser that nobody used before, with validation by ``validate#evaluator``.

    The last epoch is always validated, whatever the interval, so every training has a key metric.

    Args:
        parser: see :meth:`scripts.core.run_config.RunConfig.parser`.
        seed: of initial weights and dropout; the order of images and the augmentation have seeds in the config.
        theta: weights to start from; None starts from the network as the config makes it.
        checkpoint: where the training is taken up, and kept while it goes on; None keeps nothing.

    Raises:
        InputError: a loss or a weight is not finite, or a batch does not fit into memory.
        StateError: the checkpoint is damaged.
    """
    started = time.perf_counter()
    device = torch.device(parser.get_parsed_content("device"))
    with isolated_rng(seed, device):
        network = parser.get_parsed_content("network")
        if theta is not None:
            network.load_state_dict(theta)
        network.to(memory_format=torch.channels_last)
        trainer = parser.get_parsed_content("train#trainer")
        evaluator = parser.get_parsed_content("validate#evaluator")
        best = BestWeights(network)
        best.attach(evaluator)
        if checkpoint is not None:
            schedule = parser.get_parsed_content("lr_scheduler") if "lr_scheduler" in parser else None
            checkpoint.attach(trainer, evaluator, best, schedule, theta)
        trainer.run()
        if evaluator.state.epoch != trainer.state.epoch:  # the interval of validations left out the last epoch
            evaluator.run(trainer.state.epoch)
    weights = best.weights if best.weights is not None else copied_weights(network)
    _require_finite(weights, getattr(trainer, "name", "training"))
    return Trained(weights, best.metric, best.epoch or trainer.state.epoch, time.perf_counter() - started)


def _require_finite(weights: Weights, name: str) -> None:
    broken = [key for key, value in weights.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        cure = "Nothing of this training was stored. Start a new run with a lower lr."
        found = f"{len(broken)} of {len(weights)} tensors with other values, the first {broken[0]}"
        raise InputError(Problem("the trained weights are not finite", name, "numbers", found, cure))
