"""Features of the frozen encoder, computed once per image version and kept for all cycles and rounds of a run.

With ``freeze_classifier`` the encoder is theta0's in every cycle, so its features of a given input never change. They
are computed in float32 by a copy with folded batch-norm, in half the time of the network itself, and kept in half
precision. They are handed out in half precision's values also where they are not kept: what a training sees does not
depend on what fits into memory. Each image passes the encoder alone and in one thread, so that its features depend
neither on its batch nor on the number of threads (in float arithmetic they would, in the last digit).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

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

        Raises:
            ValueError: not as many names as images.
        """
        if len(keys) != len(images):
            raise ValueError(f"{len(images)} images, but {len(keys)} names")
        first = {key or at: at for at, key in reversed(list(enumerate(keys)))}  # of equal names one is computed
        wanted = sorted(at for name, at in first.items() if name not in self._kept)
        made = dict(zip(wanted, self._encoded(network, [images[at : at + 1] for at in wanted]), strict=True))
        for at, features in made.items():
            self._keep(keys[at], features)
        found = [self._kept.get(key) or made[first[key or at]] for at, key in enumerate(keys)]
        return [_stacked([features[level] for features in found]) for level in range(len(found[0]))]

    def _encoded(self, network: JointNetwork, images: Sequence[torch.Tensor]) -> Sequence[list[torch.Tensor]]:
        """Return the features of images (1, 3, H, W), half precision."""
        if not images:
            return []
        encoder = self._copy(network)
        self.computed += len(images)

        @torch.no_grad()
        def encode(image: torch.Tensor) -> list[torch.Tensor]:
            return [feature.half() for feature in encoder.encode(_channels_last(image))]

        threads = torch.get_num_threads()
        if threads == 1 or images[0].is_cuda:
            return [encode(image) for image in images]
        # an image per thread takes two thirds of the time of all threads for one image after the other
        try:
            with ThreadPoolExecutor(min(threads, len(images)), "encoder", torch.set_num_threads, (1,)) as pool:
                return list(pool.map(encode, images))
        finally:
            torch.set_num_threads(threads)  # what threads to come start with

    def _keep(self, key: str, features: list[torch.Tensor]) -> None:
        size = sum(feature.numel() * feature.element_size() for feature in features)
        if key and self._bytes + size <= self.limit:
            self._kept[key] = features
            self._bytes += size

    def _copy(self, network: JointNetwork) -> FoldedNetwork | JointNetwork:
        if self._encoder is None:
            self._encoder = FoldedNetwork(network, amp=False) if isinstance(network, nn.Module) else network
        return self._encoder


def _channels_last(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _stacked(parts: list[torch.Tensor]) -> torch.Tensor:
    return _channels_last(torch.cat(parts).float())
