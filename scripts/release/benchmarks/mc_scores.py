"""What the benchmark times of scores by Monte-Carlo dropout: as runs make them, and as they made them before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn import functional as F

from scripts.active.scores.pixel_maps import mc_variance
from scripts.core.torch_rng import isolated_rng
from scripts.networks.feature_bank import FeatureBank
from scripts.networks.inferer import JointInferer
from scripts.networks.joint_net import JointNet
from scripts.networks.outputs import ImageMaps, restore, restore_passes
from scripts.release.benchmarks.cases import Case

PASSES, DROPOUT = 50, 0.2
"""Stochastic passes of a score, and how often a value is dropped in them."""
ORIGINAL = (522, 775)
"""(H, W) in pixels at which an image is scored: that of GlaS."""
WIDE, NARROW = (96, 64, 48, 32, 16), (64, 48, 32, 16, 16)
"""Channels of the decoder of version 0.2, and of today's."""
MC_ROWS = {
    "wide": "All of the network in every pass, float32, one pass at a time, decoder of version 0.2",
    "all": "The same with today's decoder",
    "kept": "Decoder on kept features, many passes at a time",
}
"""Ways to make a score, by key; ratios are to the first."""


class Scorer:
    """An image, and networks that score it.

    Args:
        image: (1, 3, H, W) float32 in [0, 1].
        amp: see :class:`scripts.networks.inferer.JointInferer`.
        seed: of the weights.
    """

    def __init__(self, image: torch.Tensor, amp: bool | str = "auto", seed: int = 0) -> None:
        self.image = image
        self.wide, self.network = (_network(channels, image.device, seed) for channels in (WIDE, NARROW))
        self.inferer = JointInferer(FeatureBank(), amp=amp)

    def kept(self) -> torch.Tensor:
        """Score the image as a run does; return ()."""
        logits = self.inferer.stochastic(self.image, self.network, "image", PASSES)
        return mc_variance(ImageMaps(restore_passes(logits[:, 0], ORIGINAL))).mean()

    def all(self) -> torch.Tensor:
        """Pass the whole network each time, the decoder as it is computed now; return (1,)."""
        return self._pass_by_pass(self.network, plain=False)

    def old(self) -> torch.Tensor:
        """Pass the whole network each time, the decoder as MONAI computes it; return (1,)."""
        return self._pass_by_pass(self.wide, plain=True)

    @torch.no_grad()
    def _pass_by_pass(self, network: JointNet, plain: bool) -> torch.Tensor:
        with _dropping(network):
            maps = []
            for _ in range(PASSES):
                features = network.encode(self.image)
                logits = _plain(network, features) if plain else network.decode(features, self.image)
                network.class_maps(features)
                maps.append(restore(logits[0, 0], ORIGINAL))
            return torch.stack(maps).var(dim=0, correction=1).mean()[None]


def mc_cases(image: torch.Tensor, amp: bool | str) -> list[Case]:
    """Return the cases of :data:`MC_ROWS`, in its order."""
    scorer = Scorer(image, amp)
    ways = (scorer.old, scorer.all, scorer.kept)
    return [Case("mc", key, 1, way) for key, way in zip(MC_ROWS, ways, strict=True)]


def _network(channels: tuple[int, ...], device: torch.device, seed: int) -> JointNet:
    with isolated_rng(seed):
        network = JointNet(pretrained=False, decoder_channels=channels, freeze_classifier=True, dropout=DROPOUT)
    network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    return network.eval()


def _plain(network: JointNet, features: list[torch.Tensor]) -> torch.Tensor:
    """Return the logits (1, 1, H, W) of the features, all by MONAI's modules."""
    rising = network.decoder([network.dropout(feature) for feature in features], network.skip_connect)
    logits = network.segmentation_head(network.dropout(rising))
    return F.interpolate(logits, scale_factor=float(network.out_stride), mode="bilinear", align_corners=False)


@contextmanager
def _dropping(network: JointNet) -> Iterator[None]:
    network.dropout.train()
    try:
        yield
    finally:
        network.dropout.eval()
