"""Random changes of whole batches, on whatever device they are: an image moves with its mask.

What happens to an image depends on its seed alone, never on the other images of its batch, and all numbers that are
drawn are drawn on the CPU: on another device the same changes are made, up to the rounding of its arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch.nn import functional as F

from scripts.core.errors import InputError, Problem


@dataclass(frozen=True)
class Augmentation:
    """Flips, one affine map, and a scale and a shift of the intensities.

    A pixel ``p`` of the result, counted from the centre, shows the pixel ``F R (S p + t)`` of the image, where S
    stretches rows and columns, t moves them, R turns, and F flips. Beyond its edge the image is reflected.

    Args:
        flip_prob: how often rows are flipped, and independently columns, in [0, 1].
        affine_prob: how often S, t and R are drawn, in [0, 1]; else they do nothing.
        rotation: largest angle in degrees; drawn from both directions.
        stretch: S is drawn from ``1 - stretch`` to ``1 + stretch`` for rows and for columns, in [0, 1).
        translation: largest move along rows and along columns, in pixels of the network's input.
        gain_prob: how often intensities are multiplied, in [0, 1].
        gain: factors are drawn from ``1 - gain`` to ``1 + gain``, for each colour channel, in [0, 1].
        offset_prob: how often something is added to all intensities, in [0, 1].
        offset: largest value that is added or taken away, for images in [0, 1].

    Raises:
        InputError: a value out of its range.
    """

    flip_prob: float = 0.5
    affine_prob: float = 0.9
    rotation: float = 180.0
    stretch: float = 0.25
    translation: float = 12.0
    gain_prob: float = 0.8
    gain: float = 0.15
    offset_prob: float = 0.8
    offset: float = 0.1

    def __post_init__(self) -> None:
        problems = []
        for field in fields(self):
            value = getattr(self, field.name)
            most = 1.0 if field.name.endswith("_prob") or field.name in ("stretch", "gain", "offset") else math.inf
            if not 0 <= value <= most:
                expected = "from 0" if most == math.inf else "in [0, 1]"
                problems.append(Problem("value out of range", f"augmentation#{field.name}", expected, str(value)))
        if problems:
            raise InputError(problems)

    def draws(self, seeds: Sequence[int]) -> Draws:
        """Return what is drawn for images with these seeds, each from its own."""
        drawn = [self._draw(seed) for seed in seeds]
        return Draws(
            torch.tensor([matrix for matrix, _, _ in drawn]),
            torch.tensor([gains for _, gains, _ in drawn]),
            torch.tensor([offset for _, _, offset in drawn]),
        )

    def _draw(self, seed: int) -> tuple[list[list[float]], list[float], float]:
        chances = np.random.default_rng(seed).random(14).tolist()  # all, always: no draw depends on a probability
        flips = [-1.0 if chance < self.flip_prob else 1.0 for chance in chances[:2]]
        angle, moves, factors = 0.0, [0.0, 0.0], [1.0, 1.0]
        if chances[2] < self.affine_prob:
            angle = math.radians(self.rotation) * _signed(chances[3])
            moves = [self.translation * _signed(chance) for chance in chances[4:6]]
            factors = [1.0 + self.stretch * _signed(chance) for chance in chances[6:8]]
        sine, cosine = math.sin(angle), math.cos(angle)
        turn = [[cosine, -sine], [sine, cosine]]  # of (row, column)
        matrix = [
            [flip * row[0] * factors[0], flip * row[1] * factors[1], flip * (row[0] * moves[0] + row[1] * moves[1])]
            for flip, row in zip(flips, turn, strict=True)
        ]
        gains, offset = [1.0] * 3, 0.0
        if chances[8] < self.gain_prob:
            gains = [1.0 + self.gain * _signed(chance) for chance in chances[9:12]]
        if chances[12] < self.offset_prob:
            offset = self.offset * _signed(chances[13])
        return matrix, gains, offset


@dataclass(frozen=True)
class Draws:
    """What was drawn for B images.

    Attributes:
        matrices: (B, 2, 3) float32: pixels (row, column), counted from the centre, of the result to those of the image.
        gains: (B, 3) float32, factors of the colour channels.
        offsets: (B,) float32, added to all channels.
    """

    matrices: torch.Tensor
    gains: torch.Tensor
    offsets: torch.Tensor

    def grid(self, size: tuple[int, int], device: torch.device | str) -> torch.Tensor:
        """Return the places that an image of (H, W) is read at: (B, H, W, 2) float32, as ``grid_sample`` takes them.

        ``affine_grid`` gives the same, but fifty times slower on the CPU, and by a product of matrices, whose rounding
        may depend on the number of images.
        """
        height, width = size
        matrices = self.matrices.to(device, non_blocking=True).flip(1)  # x before y
        rows = torch.arange(height, device=device) - (height - 1) / 2
        columns = torch.arange(width, device=device) - (width - 1) / 2
        unit = torch.tensor([2.0 / width, 2.0 / height]).to(device, non_blocking=True).view(1, 2, 1)  # half a side is 1
        along = (matrices[:, :, 1:2] * columns + matrices[:, :, 2:3]) * unit  # (B, 2, W)
        down = matrices[:, :, 0:1] * rows * unit  # (B, 2, H)
        return along.transpose(1, 2)[:, None] + down.transpose(1, 2)[:, :, None]

    def masks(self, masks: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
        """Return masks (B, 1, H, W) uint8 read at the places of ``grid``, by nearest neighbour: no new values."""
        places = F.grid_sample(masks.float(), grid, mode="nearest", padding_mode="reflection", align_corners=False)
        return places.to(torch.uint8)

    def images(self, images: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
        """Return images (B, 3, H, W) float32 in [0, 1], read at ``grid`` (bilinear), then scaled, shifted and cut off.

        Args:
            images: (B, 3, H, W) float32 in [0, 1].
            grid: see :meth:`grid`.
        """
        moved = F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
        gains = self.gains.to(images.device, non_blocking=True)[:, :, None, None]
        offsets = self.offsets.to(images.device, non_blocking=True)[:, None, None, None]
        return moved.mul_(gains).add_(offsets).clamp_(0.0, 1.0)

    def __getitem__(self, chosen: Sequence[int]) -> Draws:
        """Return the draws of some images."""
        places = list(chosen)
        return Draws(self.matrices[places], self.gains[places], self.offsets[places])


def _signed(chance: float) -> float:
    """Return a number of [0, 1) spread over [-1, 1)."""
    return 2.0 * chance - 1.0
