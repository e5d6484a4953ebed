"""How an image becomes the network's input, and the way back for what the network says of it.

Images are stored at the size they are used at, and logits resized to the original size: :class:`PlainGeometry`. Another
geometry, such as that of the published code, stands in ``geometry`` of the config, which takes the transforms of
training and of evaluation from it.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from monai.transforms import Transform
from torch.nn import functional as F


class Geometry(Protocol):
    """What a geometry can do; sizes are (height, width) in pixels."""

    def network_size(self, height: int, width: int) -> tuple[int, int]:
        """Return (h, w) of the network's input for an image of original (height, width)."""
        ...

    def restore(self, logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Return logits (H, W) float32 at the original ``size`` of the network's logits (h, w)."""
        ...

    def training_transforms(self) -> list[Transform]:
        """Return what turns ``image`` and ``mask`` of a sample at stored size into those of a training."""
        ...

    def evaluation_transforms(self) -> list[Transform]:
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

    def training_transforms(self) -> list[Transform]:
        """Return none."""
        return []

    def evaluation_transforms(self) -> list[Transform]:
        """Return none."""
        return []


PLAIN = PlainGeometry()
