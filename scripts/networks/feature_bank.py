"""Features of the frozen encoder, computed once per image version and kept for all cycles and rounds of a run.

With ``freeze_classifier`` the encoder is theta0's in every cycle, so its features of a given input never change. They
are computed in float32 by a copy with folded batch-norm, in half the time of the network itself, and kept in half
precision. They are handed out in half precision's values also where they are not kept: what a training sees does not
depend on what fits into memory. Each image passes the encoder alone, so that its features do not depend on its batch
either (in float arithmetic they would, in the last digit).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from scripts.networks.engines.folded import FoldedNetwork
from scripts.networks.interface import JointNetwork

GIB = 1024**3


class FeatureBank:
    """Memory of encoder features by key.

    Args:
        limit_gb: GiB of features to keep; beyond it they are computed each time.

    Attributes:
        computed: how many images passed the encoder.
    """

    def __init__(self, limit_gb: float = 2.0) -> None:
        self.limit = int(limit_gb * GIB)
        self.computed = 0
        self._kept: dict[str, list[torch.Tensor]] = {}
        self._bytes = 0
        self._owner = ""
        self._encoder: FoldedNetwork | JointNetwork | None = None

    def __contains__(self, key: object) -> bool:
        """Tell whether the features of a name are kept."""
        return key in self._kept

    def bind(self, owner: str) -> None:
        """Say whose features these are (a hash of the encoder's weights); those of another owner are forgotten."""
        if owner != self._owner:
            self._kept, self._bytes, self._owner, self._encoder = {}, 0, owner, None

    def features(self, network: JointNetwork, images: torch.Tensor, keys: Sequence[str]) -> list[torch.Tensor]:
        """Return ``network.encode(images)`` rounded to half precision, as float32.

        Args:
            network: with ``encode`` (see :mod:`scripts.networks.joint_net`), in eval mode as far as the encoder goes;
                until the next owner is bound, always with the same encoder.
            images: (B, 3, H, W) float32 in [0, 1].
            keys: B names; equal names stand for equal images. An empty name is never kept.

        Returns:
            one tensor (B, c, h, w) float32 per feature level.
        """
        found = [self._of_one(network, image[None], key) for image, key in zip(images, keys, strict=True)]
        return [_stacked([features[level] for features in found]) for level in range(len(found[0]))]

    def _of_one(self, network: JointNetwork, image: torch.Tensor, key: str) -> list[torch.Tensor]:
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        with torch.no_grad():
            features = [feature.half() for feature in self._copy(network).encode(_channels_last(image))]
        self.computed += 1
        size = sum(feature.numel() * feature.element_size() for feature in features)
        if key and self._bytes + size <= self.limit:
            self._kept[key] = features
            self._bytes += size
        return features

    def _copy(self, network: JointNetwork) -> FoldedNetwork | JointNetwork:
        if self._encoder is None:
            self._encoder = FoldedNetwork(network, amp=False) if isinstance(network, nn.Module) else network
        return self._encoder


def _channels_last(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _stacked(parts: list[torch.Tensor]) -> torch.Tensor:
    return _channels_last(torch.cat(parts).float())
