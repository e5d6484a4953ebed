"""Between MONAI's engines and the joint network: what a batch hands to the network, the loss and the metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.engines import PrepareBatch
from torch import nn

from scripts.networks.interface import JointNetwork, joint_network
from scripts.networks.outputs import unpack_outputs
from scripts.training.losses import JointLoss


class PrepareJointBatch(PrepareBatch):
    """Move a batch of :func:`scripts.training.dataset.collate` to the device.

    The network's inferer gets the images and ``keys`` (names of the image versions, for the feature bank); the targets
    are a dict of ``mask``, ``label``, ``kind`` on the device, and the list ``id``.
    """

    def __call__(
        self,
        batchdata: Mapping[str, Any],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, dict[str, Any], tuple[Any, ...], dict[str, Any]]:
        """Return (images, targets, args, kwargs) as MONAI's engines take them."""

        def moved(name: str) -> torch.Tensor:
            return batchdata[name].to(device=device, non_blocking=non_blocking, **kwargs)

        targets = {name: moved(name) for name in ("mask", "label", "kind")} | {"id": list(batchdata["id"])}
        return moved("image"), targets, (), {"keys": list(batchdata["key"])}


class JointCriterion(nn.Module):
    """The joint loss of a packed network output.

    Args:
        network: gives the pooling and the stride of the class maps.
        loss: the loss of unpacked outputs.
    """

    _network: JointNetwork

    def __init__(self, network: nn.Module, loss: JointLoss) -> None:
        super().__init__()
        # not a submodule: the network's parameters must not appear twice in state dicts or optimizers
        object.__setattr__(self, "_network", joint_network(network))
        self.loss = loss
        self._terms: dict[str, torch.Tensor] = {}

    @property
    def terms(self) -> dict[str, float]:
        """Loss terms of the last batch; reading them waits for the device, so not in every step."""
        return {name: float(value) for name, value in self._terms.items()}

    def forward(self, packed: torch.Tensor, targets: Mapping[str, Any]) -> torch.Tensor:
        """Return the total loss, scalar float32, of (B, 1 + C, H, W) outputs and :class:`PrepareJointBatch` targets."""
        logits, maps = unpack_outputs(packed, self._network.stride)
        scores = self._network.pool(maps)
        terms = self.loss.terms(scores, logits, targets["label"], targets["mask"], targets["kind"])
        self._terms = {name: value.detach() for name, value in terms.items()}
        return terms["total"]
