"""What a network says of an image: packed output, maps at the image's size, masks and classes from them.

The way back to the image's size is that of a :class:`Geometry`, which also makes the network's input.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn import functional as F

from scripts.core.errors import InputError, Problem
from scripts.networks.interface import JointNetwork


class Geometry(Protocol):
    """What a geometry can do; sizes are (height, width) in pixels."""

    def network_size(self, height: int, width: int) -> tuple[int, int]:
        """Return (h, w) of the network's input for an image of original (height, width)."""
        ...

    def restore(self, logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Return logits (H, W) float32 at the original ``size`` of the network's logits (h, w)."""
        ...

    def training_transforms(self) -> list[Callable[..., Any]]:
        """Return what turns ``image`` and ``mask`` of a sample at stored size into those of a training."""
        ...

    def evaluation_transforms(self) -> list[Callable[..., Any]]:
        """Return what turns ``image`` of a sample at stored size into the network's whole input."""
        ...


@dataclass(frozen=True)
class PlainGeometry:
    """Images as they are stored; logits resized to the original size."""

    def network_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the original size: class maps are resized to it at once."""
        return height, width

    def restore(self, logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Return logits (H, W) float32 at the original ``size`` of logits (h, w): bilinear, corners not aligned."""
        if tuple(logits.shape) == tuple(size):
            return logits.float()
        return F.interpolate(logits[None, None].float(), size=size, mode="bilinear", align_corners=False)[0, 0]

    def training_transforms(self) -> list[Callable[..., Any]]:
        """Return none."""
        return []

    def evaluation_transforms(self) -> list[Callable[..., Any]]:
        """Return none."""
        return []


PLAIN = PlainGeometry()
"""Images are stored at the size they are used at; another geometry stands in ``geometry`` of the config."""


@dataclass(frozen=True)
class Prediction:
    """What the network says about one image.

    Attributes:
        id: the image.
        probs: (H, W) float32 in [0, 1], foreground, at original size.
        scores: (C,) float32 class scores.
        class_maps: (C, h, w) float32, low resolution.
        size: (H, W), the original size.
        geometry: the way from the network's input back to it.
        closed: the predicted class says that there is nothing to draw, see :meth:`gated`.
    """

    id: str
    probs: np.ndarray
    scores: np.ndarray
    class_maps: torch.Tensor
    size: tuple[int, int]
    geometry: Geometry = PLAIN
    closed: bool = False

    def gated(self, labels: Collection[int]) -> "Prediction":
        """Return the prediction with probability 0 everywhere if the predicted class is one of ``labels``, else itself.

        The predicted class is that of the highest score, the first of equals.
        """
        if int(self.scores.argmax()) not in labels:
            return self
        return replace(self, probs=np.zeros_like(self.probs), closed=True)

    def mask(self, threshold: float) -> np.ndarray:
        """Return the decoder's mask, (H, W) uint8 in {0, 1}: nothing where the class closed it, whatever the cut."""
        return np.zeros(self.size, np.uint8) if self.closed else pseudo_mask(self.probs, threshold)

    def cam(self, label: int) -> np.ndarray:
        """Return the map of a class at original size, (H, W) float32, unbounded."""
        maps = upsample_maps(self.class_maps[None], self.geometry.network_size(*self.size))
        return self.geometry.restore(maps[0, label], self.size).numpy()

    def cam_mask(self, label: int) -> np.ndarray:
        """Return the classifier's own mask (published WSL baseline), (H, W) uint8 in {0, 1}.

        As published it is cut out at the network's size, and what becomes of it at the original size is cut at 0.5.
        """
        if self.closed:
            return np.zeros(self.size, np.uint8)
        mask = cam_mask(self.class_maps[None], torch.tensor([label]), self.geometry.network_size(*self.size))[0, 0]
        return (self.geometry.restore(mask, self.size) >= 0.5).numpy().astype(np.uint8)


@dataclass(frozen=True)
class ImageMaps:
    """What a score of an image is made of, at its original size.

    Attributes:
        samples: (T, H, W) float32 in [0, 1], foreground probability in each of T stochastic passes, or in a plain one.
        cam: (H, W) float32 in [0, 1], the map of the image's class scaled to its own range; of a plain pass alone.

    Raises:
        InputError: another shape, or no pixel.
    """

    samples: torch.Tensor
    cam: torch.Tensor | None = None

    def __post_init__(self) -> None:
        if self.samples.ndim != 3 or self.samples.numel() == 0:
            found = str(tuple(self.samples.shape))
            raise InputError(Problem("not a probability map", "score", "(T, H, W), not empty", found))

    @property
    def probs(self) -> torch.Tensor:
        """The mean over passes, (H, W)."""
        return self.samples[0] if len(self.samples) == 1 else self.samples.mean(dim=0)


def image_maps(found: Prediction, label: int) -> ImageMaps:
    """Return what a score of a predicted image is made of; ``label`` is the class whose map is taken."""
    cam = torch.from_numpy(found.cam(label))
    low, high = cam.aminmax()
    scaled = (cam - low) / (high - low) if high > low else torch.zeros_like(cam)
    return ImageMaps(torch.from_numpy(found.probs)[None], scaled)


def prediction(
    key: str, packed: torch.Tensor, network: JointNetwork, size: tuple[int, int], geometry: Geometry = PLAIN
) -> Prediction:
    """Return what a packed output (1, 1 + C, h, w) says about the image ``key`` of original ``size``; no gradients."""
    logits, maps = unpack_outputs(packed.detach(), network.stride)
    with torch.no_grad():
        scores = network.pool(maps)[0]
    probs = restore(logits[0, 0], size, geometry).cpu().numpy()
    return Prediction(key, probs, scores.cpu().numpy(), maps[0].cpu(), size, geometry)


def upsample_maps(class_maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return class maps (B, C, h, w) resized to ``size`` (H, W): bilinear, corners aligned, as published."""
    return F.interpolate(class_maps, size=size, mode="bilinear", align_corners=True)


def cam_mask(class_maps: torch.Tensor, label: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return the mask that the classifier gives on its own: where the image's class has the highest map.

    Args:
        class_maps: (B, C, h, w) float, low resolution.
        label: (B,) int64, the class of each image (the true one in the published WSL baseline).
        size: (H, W) of the mask.

    Returns:
        (B, 1, H, W) uint8 in {0, 1}.
    """
    winner = upsample_maps(class_maps, size).argmax(1, keepdim=True)  # (B, 1, H, W)
    return (winner == label.reshape(-1, 1, 1, 1)).to(torch.uint8)


def pack_outputs(logits: torch.Tensor, class_maps: torch.Tensor) -> torch.Tensor:
    """Return one tensor (B, 1 + C, H, W): mask logits, then the class maps repeated up to their size.

    One tensor is what MONAI's sliding window, bundle checks and export take. The maps are copied (``nearest-exact``),
    never mixed, so :func:`unpack_outputs` gives them back exactly.

    Args:
        logits: (B, 1, H, W) float, before the sigmoid.
        class_maps: (B, C, h, w) float with h <= H and w <= W.
    """
    height, width = logits.shape[2], logits.shape[3]
    return torch.cat([logits, F.interpolate(class_maps, size=(height, width), mode="nearest-exact")], dim=1)


def unpack_outputs(packed: torch.Tensor, stride: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mask logits (B, 1, H, W) and class maps (B, C, ceil(H / stride), ceil(W / stride)) of a packed output.

    Args:
        packed: (B, 1 + C, H, W) from :func:`pack_outputs`.
        stride: the network's attribute ``stride``, pixels of the input per pixel of the class maps.
    """
    size = ((packed.shape[2] + stride - 1) // stride, (packed.shape[3] + stride - 1) // stride)
    logits, maps = packed.split([1, packed.shape[1] - 1], dim=1)  # one step back in a training, two slices take six
    return logits, F.interpolate(maps, size=size, mode="nearest-exact")


def drawn_class(found: Prediction, label: int, background: Collection[int]) -> int:
    """Return the class whose map is the classifier's mask in an evaluation: the true one, as published.

    An image whose true class has no foreground gives the predicted one: to know the class is to know the mask.

    Args:
        found: what the network says.
        label: the true class.
        background: classes without foreground.
    """
    return int(found.scores.argmax()) if label in background else label


def class_probabilities(found: Prediction) -> np.ndarray:
    """Return (C,) float64, the softmax of the class scores."""
    return torch.from_numpy(found.scores).double().softmax(0).numpy()


def pseudo_mask(probs: np.ndarray, threshold: float) -> np.ndarray:
    """Return the hard mask ``probs >= threshold``, uint8 in {0, 1}, of the same shape.

    The comparison is made in float64, so that it agrees with the counts the threshold was chosen by.
    """
    return (np.asarray(probs) >= np.float64(threshold)).view(np.uint8)  # a float64 scalar widens without a copy


def restore(logits: torch.Tensor, size: tuple[int, int], geometry: Geometry = PLAIN) -> torch.Tensor:
    """Return probabilities (H, W) float32 at original ``size`` of logits (h, w): resized first, then the sigmoid."""
    return geometry.restore(logits, size).sigmoid()


def restore_passes(logits: torch.Tensor, size: tuple[int, int], geometry: Geometry = PLAIN) -> torch.Tensor:
    """Return :func:`restore` of each of the logits (T, h, w) as (T, H, W) float32, without a second copy of them."""
    probs = torch.empty(len(logits), *size, device=logits.device)
    for one, out in zip(logits, probs, strict=True):
        torch.sigmoid(geometry.restore(one, size), out=out)
    return probs
