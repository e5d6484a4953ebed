"""At which size an image passes the network: whole and resized as in training, or in tiles at the scale of training.

Training resizes every image to ``image_size``, whatever its own size. A prediction does the same with images that are
about as large as the training images were; a much larger one would be shrunk to something the network has never seen.
It keeps the *scale* of training instead, and passes in tiles that are blended.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.inferers import SlidingWindowInferer

from scripts.networks.inferer import JointInferer
from scripts.networks.model_file import ModelInfo
from scripts.trained.source import ModelSource

WHOLE_UP_TO = 1.5
"""Sides up to this many times those of the training images count as the size of training."""
DEFAULT_TILE = (512, 512)
"""(height, width) of tiles for a model of images of any size that does not tell which it saw."""


def tile_size(info: ModelInfo) -> tuple[int, int]:
    """Return (h, w) in pixels of what the network sees at once."""
    return info.image_size or info.native_size or DEFAULT_TILE


def is_whole(size: tuple[int, int], info: ModelInfo, whole_up_to: float = WHOLE_UP_TO) -> bool:
    """Tell whether an image passes the network whole.

    Args:
        size: (H, W) of the image in pixels.
        info: of the model. One with an ``image_size`` that does not tell its ``native_size`` sees every image whole,
            since the scale of its training is not known.
        whole_up_to: how many times the sides of the training images an image may have.
    """
    if info.image_size is not None and info.native_size is None:
        return True
    native = info.native_size or tile_size(info)
    return size[0] <= whole_up_to * native[0] and size[1] <= whole_up_to * native[1]


def working_size(size: tuple[int, int], info: ModelInfo, whole_up_to: float = WHOLE_UP_TO) -> tuple[int, int]:
    """Return the (h, w) that an image of ``size`` (H, W) is resized to; see :func:`is_whole`."""
    if info.image_size is None:
        return size
    if is_whole(size, info, whole_up_to) or info.native_size is None:
        return info.image_size
    height, width = (
        max(1, round(side * working / native))
        for side, working, native in zip(size, info.image_size, info.native_size, strict=True)
    )
    return height, width


class TiledInferer(JointInferer):
    """Run the joint network on images whole up to the size of a tile, on larger ones tile by tile.

    Tiles overlap and are blended with Gaussian weights (MONAI's sliding window), mask logits and class maps alike. What
    the network computes at a time is bounded by the tiles; the blended output is kept in main memory.

    Args:
        model: tells the size of a tile (:func:`scripts.prediction.tiling.tile_size`).
        overlap: of neighbouring tiles, in [0, 1).
        tiles: how many pass at a time.
        flips, amp, engine: see :class:`scripts.networks.inferer.JointInferer`.
    """

    def __init__(
        self,
        model: ModelSource,
        overlap: float = 0.25,
        tiles: int = 4,
        flips: bool = True,
        amp: bool | str = "auto",
        engine: str = "torch",
    ) -> None:
        super().__init__(flips=flips, amp=amp, engine=engine)
        self.model, self.overlap, self.tiles = model, overlap, tiles

    def __call__(self, inputs: torch.Tensor, network: Any, keys: Sequence[str] | None = None) -> torch.Tensor:
        """Return packed outputs (B, 1 + C, H, W) float32, see :class:`scripts.networks.inferer.JointInferer`."""
        height, width = inputs.shape[2:]
        limits = tile_size(self.model.info)
        if height <= limits[0] and width <= limits[1]:
            return super().__call__(inputs, network)
        tile = (min(height, limits[0]), min(width, limits[1]))  # so that nothing is padded
        window = SlidingWindowInferer(tile, self.tiles, self.overlap, mode="gaussian", device="cpu")
        blended: Any = window(inputs, super().__call__, network)
        return blended
