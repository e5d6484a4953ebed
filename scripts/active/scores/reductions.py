"""One number of a score map. A reduction costs nothing beside the map."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from scripts.active.scores.pixel_maps import cam_of
from scripts.core.errors import InputError, Problem
from scripts.networks.outputs import ImageMaps

PixelMap = Callable[[ImageMaps], torch.Tensor]
"""What the network says of an image -> (H, W), or (S, H, W) for a score of several maps."""
Reduction = Callable[[torch.Tensor, ImageMaps], torch.Tensor]
"""Score maps (S, H, W) and what they were made of -> (S,)."""


def mean(score: torch.Tensor, maps: ImageMaps) -> torch.Tensor:
    """Return the mean over pixels, (S,), of score maps (S, H, W)."""
    return score.flatten(1).mean(dim=1)


def top_share(score: torch.Tensor, maps: ImageMaps, *, share: float = 0.1) -> torch.Tensor:
    """Return the mean of the highest ``share`` of pixels, at least of one, (S,), of score maps (S, H, W).

    So a small uncertain region in a large sure image is not averaged away.

    Raises:
        InputError: a share that is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise InputError(Problem("share out of its range", "active#methods reduction", "share in (0, 1]", f"{share}"))
    pixels = score.flatten(1)
    return pixels.topk(max(1, round(share * pixels.shape[1])), dim=1, sorted=False).values.mean(dim=1)


def predicted_foreground(score: torch.Tensor, maps: ImageMaps) -> torch.Tensor:
    """Return the mean over pixels with p > 0.5, (S,), of score maps (S, H, W); 0 where there are none.

    Foreground decides alone, however much background surrounds it. An image in which nothing is predicted is asked
    for last: where missed objects are what has to be found, take :func:`mean`.
    """
    inside = maps.probs > 0.5
    return (score * inside).sum(dim=(1, 2)) / inside.sum().clamp_min(1)


def over_union(score: torch.Tensor, maps: ImageMaps) -> torch.Tensor:
    """Return ``sum of the score / sum of max(p, c)`` over pixels, (S,), of score maps (S, H, W); 0 for 0 / 0.

    c is the class-activation map of the image's class in [0, 1]. Of |p - c|
    (:func:`scripts.active.scores.pixel_maps.disagreement`), which is max(p, c) - min(p, c), it makes 1 - soft IoU of p
    and c, in [0, 1].

    Raises:
        InputError: no class-activation map.
    """
    union = torch.maximum(maps.probs, cam_of(maps)).sum()
    return score.sum(dim=(1, 2)) / union if union > 0 else torch.zeros_like(score[:, 0, 0])


def image_score(maps: ImageMaps, score: PixelMap, reduction: Reduction = mean) -> np.ndarray:
    """Return how much an image would tell, (S,) float64, by a score map and what makes one number of it."""
    found = score(maps)
    return reduction(found if found.ndim == 3 else found[None], maps).double().cpu().numpy()
