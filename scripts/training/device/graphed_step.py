"""The step of a training recorded as a CUDA graph: one launch instead of hundreds, for networks that are small.

Forward pass, loss and backward pass are recorded once, on inputs that stay where they are; each step copies its batch
there and replays them. Features are looked up before, and the optimizer steps after, so both stay as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from scripts.networks.feature_bank import FeatureBank
from scripts.networks.inferer import JointInferer
from scripts.networks.interface import joint_network

logger = logging.getLogger(__name__)

Step = Callable[[], torch.Tensor]
_WARM_UP = 3  # steps before a recording: libraries choose their algorithms in the first ones


def recorded_on_cuda(step: Step) -> Step:
    """Return a function that does on the GPU what ``step`` does there, without its Python."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(_WARM_UP):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()

    def replay() -> torch.Tensor:
        graph.replay()
        return loss

    return replay


class GraphedStep:
    """Gradients and loss of a batch, from a recording where there can be one.

    Args:
        inferer: of the training; only its call with a bank's features or with images is recorded.
        network: in train mode at each call.
        criterion: the loss, a :class:`scripts.training.criterion.JointCriterion`.
        optimizer: whose gradients are made.
    """

    def __init__(
        self,
        inferer: JointInferer,
        network: nn.Module,
        criterion: Callable[..., torch.Tensor],
        optimizer: torch.optim.Optimizer,
    ) -> None:
        self.inferer, self.network, self.criterion, self.optimizer = inferer, network, criterion, optimizer
        self.failed = False
        self._replay: Step | None = None
        self._inputs: list[torch.Tensor] = []

    def __call__(
        self, images: torch.Tensor, targets: Mapping[str, Any], keys: Sequence[str] | None
    ) -> torch.Tensor | None:
        """Return the loss, a scalar, with the gradients made; None where the step has to be done without a recording.

        Args:
            images: (B, 3, H, W) float32 in [0, 1], on the device, as the targets.
            targets: of :class:`scripts.training.criterion.PrepareJointBatch`.
            keys: names of the images for the inferer's bank.
        """
        module, bank, inputs, kept = joint_network(self.network), self.inferer.bank, [images], False
        if bank is not None and keys is not None and module.has_fixed_features():
            inputs, kept = bank.features(module, images, keys), True
        inputs = [*inputs, *(targets[name] for name in ("mask", "label", "kind"))]
        if self._replay is None and not self.failed:
            self._prepare(inputs, images, kept)
        if self._replay is None or [each.shape for each in inputs] != [each.shape for each in self._inputs]:
            return None
        for place, value in zip(self._inputs, inputs, strict=True):
            place.copy_(value, non_blocking=True)
        return self._replay().clone()

    def _prepare(self, inputs: list[torch.Tensor], images: torch.Tensor, kept: bool) -> None:
        self._inputs = [value.clone() for value in inputs]
        *given, mask, label, kind = self._inputs
        shown = images.new_zeros(1).expand(images.shape) if kept else given[0]  # of kept ones only the size counts
        inferer = JointInferer(
            _Given(given) if kept else None,
            amp=self.inferer.amp,
            decode=self.inferer.decode,
            packed=self.inferer.packed,
        )

        def step() -> torch.Tensor:
            self.optimizer.zero_grad(set_to_none=True)  # so that a recording writes gradients, and adds to none
            outputs = inferer(shown, self.network, [""] * len(shown))
            loss = self.criterion(outputs, {"mask": mask, "label": label, "kind": kind})
            loss.backward()
            return loss.detach()

        before = [buffer.clone() for buffer in self.network.buffers()]
        try:
            with torch.random.fork_rng(devices=[images.device] if images.is_cuda else []):
                self._replay = recorded_on_cuda(step)
        except RuntimeError as error:
            self.failed = True
            logger.warning("the training step cannot be recorded, so each is done anew (%s)", str(error).split("\n")[0])
        for buffer, old in zip(self.network.buffers(), before, strict=True):
            buffer.copy_(old)  # recording has moved the running statistics


class _Given(FeatureBank):
    """Stands in for a bank: features that were looked up before."""

    def __init__(self, given: list[torch.Tensor]) -> None:
        super().__init__(0.0)
        self._given = given

    def features(self, network: Any, images: torch.Tensor, keys: Sequence[str]) -> list[torch.Tensor]:
        return self._given
