"""How an image of any size passes the joint network: whole, or in tiles that are blended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.inferers import SlidingWindowInferer

from scripts.inferers import JointInferer
from scripts.model_source import ModelSource
from scripts.working_size import tile_size


class TiledInferer(JointInferer):
    """Run the joint network on images whole up to the size of a tile, on larger ones tile by tile.

    Tiles overlap and are blended with Gaussian weights (MONAI's sliding window), mask logits and class maps alike. What
    the network computes at a time is bounded by the tiles; the blended output is kept in main memory.

    Args:
        model: tells the size of a tile (:func:`scripts.working_size.tile_size`).
        overlap: of neighbouring tiles, in [0, 1).
        tiles: how many pass at a time.
        flips, amp: see :class:`scripts.inferers.JointInferer`.
    """

    def __init__(
        self, model: ModelSource, overlap: float = 0.25, tiles: int = 4, flips: bool = True, amp: bool | str = "auto"
    ) -> None:
        super().__init__(flips=flips, amp=amp)
        self.model, self.overlap, self.tiles = model, overlap, tiles

    def __call__(self, inputs: torch.Tensor, network: Any, keys: Sequence[str] | None = None) -> torch.Tensor:
        """Return packed outputs (B, 1 + C, H, W) float32, see :class:`scripts.inferers.JointInferer`."""
        height, width = inputs.shape[2:]
        limits = tile_size(self.model.info)
        if height <= limits[0] and width <= limits[1]:
            return super().__call__(inputs, network)
        tile = (min(height, limits[0]), min(width, limits[1]))  # so that nothing is padded
        window = SlidingWindowInferer(tile, self.tiles, self.overlap, mode="gaussian", device="cpu")
        blended: Any = window(inputs, super().__call__, network)
        return blended
