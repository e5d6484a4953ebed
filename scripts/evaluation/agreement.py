"""Several masks of one image: what most annotators say of each pixel, and how far they agree. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from scripts.evaluation.metrics import dice
from scripts.images.values import BACKGROUND, FOREGROUND, IGNORE


def consensus(masks: Sequence[np.ndarray]) -> np.ndarray:
    """Return the majority of several masks per pixel; where as many say foreground as background it is ignored.

    Pixels that an annotator marked as ignored are no vote. One mask is returned as it is.

    Args:
        masks: at least one, uint8 (H, W) with 0, 1, 255, all of one size.

    Returns:
        uint8 (H, W) with 0, 1, 255.

    Raises:
        ValueError: no mask, or masks of several sizes.
    """
    if not masks or len({mask.shape for mask in masks}) > 1:
        raise ValueError(f"expected masks of one size, found {[mask.shape for mask in masks]}")
    if len(masks) == 1:
        return masks[0]
    stack = np.stack(masks)  # (N, H, W)
    lead = (stack == FOREGROUND).sum(0) - (stack == BACKGROUND).sum(0, dtype=np.int64)  # (H, W)
    return np.where(lead > 0, FOREGROUND, np.where(lead < 0, BACKGROUND, IGNORE)).astype(np.uint8)


def agreement(masks: Sequence[np.ndarray]) -> float | None:
    """Return the mean Dice of all pairs of masks, in [0, 1]; 1 for two empty ones, None for fewer than two masks.

    Args:
        masks: uint8 (H, W) with 0, 1, 255, all of one size.
    """
    found = [_dice(a, b) for a, b in combinations(masks, 2)]
    return float(np.mean(found)) if found else None


def _dice(first: np.ndarray, second: np.ndarray) -> float:
    """Dice over the pixels that neither ignores; 1 where both are empty there."""
    judged = (first != IGNORE) & (second != IGNORE)
    ours, theirs = (first == FOREGROUND) & judged, (second == FOREGROUND) & judged
    return dice(ours, theirs.astype(np.uint8)) if ours.any() or theirs.any() else 1.0
