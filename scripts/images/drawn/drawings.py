"""Masks as outlines to be written: borders follow the sides of pixels, so that the file is read as the same mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scripts.images.drawn.outline_drawing import draw_outlines
from scripts.images.drawn.outlines import Outline
from scripts.images.drawn.pixel_borders import counts_of, objects
from scripts.images.values import FOREGROUND, IGNORE

FOREGROUND_NAME, IGNORE_NAME = "foreground", "Ignore"


@dataclass(frozen=True)
class Drawing:
    """What is drawn in one picture.

    Attributes:
        file: name of the picture's file.
        size: (H, W).
        outlines: its objects, in whole pixels, with their holes.
    """

    file: str
    size: tuple[int, int]
    outlines: tuple[Outline, ...]


def drawing_of(file: str, mask: np.ndarray) -> Drawing:
    """Return a mask, uint8 (H, W) with 0, 1 and 255, as a drawing: an outline for each object."""
    named = ((FOREGROUND, FOREGROUND_NAME), (IGNORE, IGNORE_NAME))
    outlines = [Outline(rings, name) for value, name in named for rings in objects(mask == value)]
    return Drawing(file, (mask.shape[0], mask.shape[1]), tuple(outlines))


def cut_out(outline: Outline) -> np.ndarray:
    """Return the mask of one outline within its :func:`frame`, uint8 in {0, 1}, whatever its name."""
    left, top, right, bottom = frame(outline)
    rings = tuple(ring - (left, top) for ring in outline.rings)
    return draw_outlines([Outline(rings)], (bottom - top, right - left))


def counts_within(mask: np.ndarray, before: int, after: int) -> list[int]:
    """Return a mask (N,), with so much background before and after it, as lengths of its runs, background first."""
    counts = counts_of(mask)
    counts[0] += before
    return [*counts[:-1], counts[-1] + after] if len(counts) % 2 else [*counts, after]


def frame(outline: Outline) -> tuple[int, int, int, int]:
    """Return the box around an outline in whole pixels: left, top, right, bottom."""
    (left, top), (right, bottom) = outline.rings[0].min(axis=0), outline.rings[0].max(axis=0)
    return int(left), int(top), int(right), int(bottom)


def closed(ring: np.ndarray) -> np.ndarray:
    """Return a ring whose last point is its first."""
    return np.concatenate([ring, ring[:1]])


def joined(rings: Sequence[np.ndarray]) -> np.ndarray:
    """Return a border and its holes as one ring, (N, 2): to each hole and back along the same way, along the axes.

    Such a way encloses nothing, and since it is along the axes no rounding makes it.
    """
    parts = [closed(rings[0])]
    start = rings[0][0]
    for hole in rings[1:]:
        corner = [hole[0][0], start[1]]
        parts += [np.array([corner]), closed(hole), np.array([corner, start])]
    return np.concatenate(parts)
