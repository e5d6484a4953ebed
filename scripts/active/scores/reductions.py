"""One number of a score map."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from scripts.networks.outputs import ImageMaps

PixelMap = Callable[[ImageMaps], torch.Tensor]
"""What the network says of an image -> (H, W), or (S, H, W) for a score of several maps."""
Reduction = Callable[[torch.Tensor, ImageMaps], torch.Tensor]
"""Score maps (S, H, W) and what they were made of -> (S,)."""


def mean(score: torch.Tensor, maps: ImageMaps) -> torch.Tensor:
    """Return the mean over pixels, (S,), of score maps (S, H, W)."""
    return score.flatten(1).mean(dim=1)


def image_score(maps: ImageMaps, score: PixelMap, reduction: Reduction = mean) -> np.ndarray:
    """Return how much an image would tell, (S,) float64, by a score map and what makes one number of it."""
    found = score(maps)
    return reduction(found if found.ndim == 3 else found[None], maps).double().numpy()
