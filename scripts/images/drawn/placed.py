"""Outlines brought from a slide into the pixels of one of its regions, and back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from scripts.images.drawn.outlines import Outline
from scripts.images.slide_files.box import Box

_NOTHING = 1e-6  # twice an area in square pixels of the region


def cut_to(outlines: Iterable[Outline], area: Box, size: tuple[int, int]) -> list[Outline]:
    """Return what lies of some outlines in an area, in pixels of the region.

    Args:
        outlines: in the pixels that ``area`` is in.
        area: of the region.
        size: (height, width) of the region in its own pixels.
    """
    by = np.array([size[1] / area.size[1], size[0] / area.size[0]])
    kept = []
    for each in outlines:
        rings = [clipped((ring - (area.left, area.top)) * by, size) for ring in each.rings]
        kept.append(replace(each, rings=tuple(ring for ring in rings if _encloses(ring))))
    return [each for each in kept if each.rings]


def _encloses(ring: np.ndarray) -> bool:
    """Tell whether a ring has an area; one that only touched the region has none."""
    x, y = ring.T
    return len(ring) >= 3 and abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) > _NOTHING


def put_back(outline: Outline, area: Box, size: tuple[int, int]) -> Outline:
    """Return an outline in pixels of a region as it lies around ``area``; see :func:`cut_to`."""
    by = np.array([area.size[1] / size[1], area.size[0] / size[0]])
    return replace(outline, rings=tuple(ring * by + (area.left, area.top) for ring in outline.rings))


def clipped(ring: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a ring (N, 2) without what lies beyond an image, by Sutherland and Hodgman; (0, 2) where nothing is left.

    Parts that the border cuts off from each other stay joined along the border, where they enclose nothing.

    Args:
        ring: of (x, y).
        size: (height, width) of the image.
    """
    for axis, limit, sign in ((0, 0.0, 1), (0, size[1], -1), (1, 0.0, 1), (1, size[0], -1)):
        if not len(ring):
            break
        inside = sign * (ring[:, axis] - limit) >= 0
        if inside.all():
            continue
        following, goes_on = np.roll(ring, -1, axis=0), np.roll(inside, -1)
        crosses = inside != goes_on
        step = np.where(crosses, following[:, axis] - ring[:, axis], 1.0)
        crossing = ring + ((limit - ring[:, axis]) / step)[:, None] * (following - ring)
        crossing[:, axis] = limit
        points = np.stack([crossing, following], axis=1).reshape(-1, 2)
        ring = points[np.stack([crosses, goes_on], axis=1).ravel()]
    return ring
