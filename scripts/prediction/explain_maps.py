"""Maps that explain a prediction: Grad-CAM of the class scores, and how much the mask changes under dropout and flips.

Uncertainty maps are of the foreground's probability at original size. Their binary entropy is in nats, in [0, ln 2];
their variance in squared probability.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from monai.visualize import GradCAM, GradCAMpp
from torch import nn

from scripts.core.errors import InputError, Problem
from scripts.core.seeds import derive_seed
from scripts.core.torch_rng import isolated_rng
from scripts.networks.inferer import FLIPS, JointInferer
from scripts.networks.interface import JointNetwork
from scripts.networks.outputs import restore, unpack_outputs

Predict = Callable[[torch.Tensor], torch.Tensor]


class ScoreNet(nn.Module):
    """Class scores of a joint network, with its last features as the layer ``last`` that gradients reach.

    MONAI's CAM classes want a module that returns scores. The encoder runs without gradients, also while it is not
    frozen: Grad-CAM needs only those of the scores by the last features.

    Args:
        network: in eval mode.
    """

    def __init__(self, network: JointNetwork) -> None:
        super().__init__()
        self.network: JointNetwork = network
        self.last = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return scores (B, C) of images (B, 3, H, W)."""
        with torch.no_grad():
            features = list(self.network.encode(x))
        features[-1] = self.last(features[-1].requires_grad_())
        return self.network.pool(self.network.class_maps(features))


def gradient_cams(network: JointNetwork, image: torch.Tensor, label: int) -> tuple[np.ndarray, np.ndarray]:
    """Return Grad-CAM and Grad-CAM++ of a class score by the last features, each (h, w) float32 >= 0.

    MONAI's, before its scaling to [0, 1]. Where the class maps are linear in these features, as here, Grad-CAM is the
    class map without its bias and its negative part, times a constant.

    Args:
        network: in eval mode.
        image: (1, 3, H, W) float32 in [0, 1].
        label: the class.
    """
    found = []
    for kind in (GradCAM, GradCAMpp):
        # in eval mode itself, or MONAI would leave the network in the mode it found here: training
        scores = ScoreNet(network).eval()
        cam = kind(scores, target_layers="last")
        found.append(cam.compute_map(image, class_idx=label)[0, 0].detach().float().cpu().numpy())
        scores.zero_grad()  # the classifier's gradients are not wanted
    return found[0], found[1]


@dataclass(frozen=True)
class Spread:
    """How the probability of a pixel varies.

    Attributes:
        mean: (H, W) float32 in [0, 1].
        variance: (H, W) float32 >= 0, squared probability; unbiased.
        entropy: (H, W) float32 in [0, ln 2], nats, of the mean.
    """

    mean: np.ndarray
    variance: np.ndarray
    entropy: np.ndarray


def binary_entropy_map(probs: np.ndarray) -> np.ndarray:
    """Return the binary entropy of each pixel, float32 in [0, ln 2] nats, of probabilities of any shape."""
    p = torch.from_numpy(np.asarray(probs, np.float64))
    return -(torch.xlogy(p, p) + torch.xlogy(1 - p, 1 - p)).float().numpy()


def spread_of(samples: Iterable[np.ndarray]) -> Spread:
    """Return the spread of probability maps (H, W), which are read one at a time.

    Raises:
        InputError: fewer than two samples.
    """
    count, mean, squares = 0, np.zeros(()), np.zeros(())
    for sample in samples:  # Welford's running sums: no map but two is kept
        count += 1
        difference = sample.astype(np.float64) - mean
        mean = mean + difference / count
        squares = squares + difference * (sample - mean)
    if count < 2:
        raise InputError(Problem("too few samples for a variance", "explain#passes", "2 or more", str(count)))
    mean = mean.clip(0.0, 1.0)
    return Spread(mean.astype(np.float32), (squares / (count - 1)).astype(np.float32), binary_entropy_map(mean))


def dropout_spread(
    inferer: JointInferer,
    network: JointNetwork,
    image: torch.Tensor,
    size: tuple[int, int],
    passes: int,
    dropout: float,
    seed: int,
) -> Spread:
    """Return the spread over passes with dropout on and all else as in a prediction without flips.

    Args:
        inferer: of predictions.
        network: in eval mode, which it is again afterwards.
        image: (1, 3, h, w) float32 in [0, 1].
        size: (H, W), original.
        passes: 2 or more.
        dropout: probability of dropping; the decoder's layers are those that have it in training.
        seed: of the dropout.

    Raises:
        InputError: fewer passes, or a probability outside (0, 1).
    """
    if not 0.0 < dropout < 1.0:
        raise InputError(Problem("no dropout to draw", "explain#dropout", "a number in (0, 1)", str(dropout)))
    plain = _without_flips(inferer)
    with isolated_rng(derive_seed(seed, "explain", "dropout"), image.device), _dropping(network, dropout):
        return spread_of(_probabilities(plain(image, network), network, size) for _ in range(passes))


def flip_spread(inferer: JointInferer, network: JointNetwork, image: torch.Tensor, size: tuple[int, int]) -> Spread:
    """Return the spread over the four flips of the image; arguments as of :func:`dropout_spread`."""
    plain = _without_flips(inferer)
    outputs = (plain(image.flip(axes), network).flip(axes) for axes in FLIPS)
    return spread_of(_probabilities(packed, network, size) for packed in outputs)


def _without_flips(inferer: JointInferer) -> JointInferer:
    plain = copy.copy(inferer)
    plain.flips = False
    return plain


def _probabilities(packed: torch.Tensor, network: JointNetwork, size: tuple[int, int]) -> np.ndarray:
    logits, _ = unpack_outputs(packed, network.stride)
    return restore(logits[0, 0], size).cpu().numpy()


@contextmanager
def _dropping(network: JointNetwork, probability: float) -> Iterator[None]:
    layer = network.dropout
    if not isinstance(layer, nn.Dropout):
        raise InputError(Problem("network has no dropout", type(network).__name__, "torch.nn.Dropout"))
    before = layer.p
    layer.p = probability
    layer.train()
    try:
        yield
    finally:
        layer.p = before
        layer.eval()
