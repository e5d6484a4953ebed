"""Between MONAI's engines and the joint network: what a batch hands to the network, the loss and the metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.engines import PrepareBatch
from torch import nn

from scripts.images.store import ImageStore
from scripts.networks.feature_bank import FeatureBank
from scripts.networks.interface import JointNetwork, joint_network
from scripts.networks.outputs import unpack_outputs
from scripts.training.device.augmentation import Augmentation
from scripts.training.device.placement import Placement
from scripts.training.losses import JointLoss


class PrepareJointBatch(PrepareBatch):
    """Bring a batch of :func:`scripts.training.dataset.collate` to the device, and augment it there.

    The network's inferer gets the images and ``keys`` (names of the image versions, for the feature bank); the targets
    are a dict of ``mask``, ``label``, ``kind`` on the device, and the list ``id``.

    Args:
        store: the pixels of batches that bring none.
        bank: features that are kept: such an image is not drawn, only its mask is, and an empty one stands in for it.
        augmentation: of batches with seeds; None leaves them as they are.
    """

    def __init__(
        self,
        store: ImageStore | None = None,
        bank: FeatureBank | None = None,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.store, self.bank, self.augmentation = store, bank, augmentation
        self._placement: Placement | None = None

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

        keys = list(batchdata["key"])
        targets = {name: moved(name) for name in ("label", "kind")} | {"id": list(batchdata["id"])}
        if "seed" in batchdata:
            images, targets["mask"] = self._drawn(batchdata, torch.device(device or "cpu"))
        else:
            images, targets["mask"] = moved("image"), moved("mask")
        return images, targets, (), {"keys": keys}

    @torch.no_grad()
    def _drawn(self, batch: Mapping[str, Any], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images (B, 3, h, w) float32 in [0, 1] and masks (B, 1, h, w) uint8, both augmented."""
        place = self._placed(device)
        masks = place.masks(batch["mask"], batch["index"])
        size = (masks.shape[2], masks.shape[3])
        wanted = [at for at, key in enumerate(batch["key"]) if self.bank is None or not key or key not in self.bank]
        pixels = _pixels(batch, wanted, place) if wanted else None
        if self.augmentation is not None and batch["seed"][0] is not None:
            drawn = self.augmentation.draws(batch["seed"])
            grid = drawn.grid(size, device)
            masks = drawn.masks(masks, grid)
            if pixels is not None:
                some = len(wanted) < len(masks)
                pixels = drawn[wanted].images(pixels, grid[wanted]) if some else drawn.images(pixels, grid)
        empty = torch.zeros(1, device=device).expand(len(masks), 3, *size)
        if pixels is None or len(pixels) == len(masks):
            return empty if pixels is None else pixels, masks
        return empty.index_copy(0, torch.tensor(wanted).to(device, non_blocking=True), pixels), masks

    def _placed(self, device: torch.device) -> Placement:
        if self._placement is None or self._placement.device != device:
            self._placement = Placement(self.store or ImageStore(), device)
        return self._placement


def _pixels(batch: Mapping[str, Any], wanted: list[int], place: Placement) -> torch.Tensor:
    """Return some images of a batch, float32 in [0, 1], on the device: its own, after transforms, or stored ones."""
    if "image" in batch:
        return torch.stack([batch["image"][at] for at in wanted]).to(place.device, non_blocking=True)
    return place.images([batch["id"][at] for at in wanted]).float().div_(255.0)


Outputs = torch.Tensor | tuple[torch.Tensor, torch.Tensor]
"""Packed outputs (B, 1 + C, H, W), or mask logits (B, 1, H, W) and class maps (B, C, h, w)."""


class JointCriterion(nn.Module):
    """The joint loss of a network's outputs.

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

    def forward(self, outputs: Outputs, targets: Mapping[str, Any]) -> torch.Tensor:
        """Return the total loss, scalar float32, of an inferer's outputs and :class:`PrepareJointBatch` targets."""
        if isinstance(outputs, torch.Tensor):
            outputs = unpack_outputs(outputs, self._network.stride)
        logits, maps = outputs
        scores = self._network.pool(maps if self.loss.scale_cl > 0 else maps.detach())
        terms = self.loss.terms(scores, logits, targets["label"], targets["mask"], targets["kind"])
        self._terms = {name: value.detach() for name, value in terms.items()}
        return terms["total"]
