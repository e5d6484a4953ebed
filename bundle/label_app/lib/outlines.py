"""Polygons of a mask, for viewers that draw outlines: QuPath and ASAP (XML), the Digital Slide Archive (JSON), CVAT.

Coordinates are (x, y) in pixels with the origin at the outer corner of the first pixel, as everywhere in the project:
handed in again, :func:`scripts.images.drawn.outline_drawing.draw_outlines` makes nearly the same mask of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from skimage.measure import approximate_polygon, find_contours

FOREGROUND = "foreground"
COLOUR = (0, 170, 0)
TOLERANCE_PX = 0.25


def trace(field: np.ndarray, level: float, least_area: float = 0.0) -> list[np.ndarray]:
    """Return the outlines of ``field >= level``, each (N, 2) float64 (x, y), not closed.

    None of the formats has holes in a polygon: a hole is joined to its outline by a cut that goes there and back.

    Args:
        field: (H, W) float, probabilities or a mask; smooth values give smooth outlines.
        level: above 0.
        least_area: smaller regions and holes are left out, in square pixels.
    """
    # The border is repeated once, and 0 put around, so that outlines close outside the image and are cut at its border.
    framed = np.pad(np.pad(np.asarray(field, np.float64), 1, mode="edge"), 1)
    outer: list[np.ndarray] = []
    holes: list[np.ndarray] = []
    for contour in find_contours(framed, level, fully_connected="low", positive_orientation="high"):
        ring = approximate_polygon(contour, TOLERANCE_PX)[:-1, ::-1] - 1.5  # (row, column) with frames -> (x, y)
        ring = np.clip(ring, 0.0, (field.shape[1], field.shape[0]))
        ring = ring[(ring != np.roll(ring, 1, axis=0)).any(axis=1)]
        area = _signed_area(ring)
        if len(ring) >= 3 and abs(area) >= max(least_area, 1e-9):
            (outer if area * _OUTER_SIGN > 0 else holes).append(ring)
    for hole in holes:
        around = [index for index, ring in enumerate(outer) if _is_inside(hole[0], ring)]
        if around:
            index = min(around, key=lambda index: abs(_signed_area(outer[index])))
            outer[index] = _joined(outer[index], hole)
    return outer


def annotation(outlines: Sequence[np.ndarray], labels: Mapping[str, int]) -> dict[str, Any]:
    """Return outlines in the form that MONAI Label's writers and its CVAT plugin read.

    Args:
        outlines: of :func:`trace`.
        labels: names of the model's labels; each outline has the first.
    """
    name = next(iter(labels))
    rounded = [[[round(float(x), 1), round(float(y), 1)] for x, y in ring] for ring in outlines]
    elements = [{"label": name, "contours": [ring]} for ring in rounded]
    return {"annotation": {"elements": elements, "labels": {name: list(COLOUR)}}}


_OUTER_SIGN = -1.0  # of the area of an outline as find_contours turns it, in coordinates whose y points down


def _signed_area(ring: np.ndarray) -> float:
    x, y = ring[:, 0], ring[:, 1]
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2.0


def _is_inside(point: np.ndarray, ring: np.ndarray) -> bool:
    """Tell whether a point is within a ring, by the even-odd rule."""
    inside = False
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        if (y0 > point[1]) != (y1 > point[1]) and point[0] < x0 + (point[1] - y0) * (x1 - x0) / (y1 - y0):
            inside = not inside
    return inside


def _joined(ring: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Return one ring of an outline and its hole, by a cut between their nearest vertices that encloses nothing."""
    distance = ((ring[:, None] - hole[None]) ** 2).sum(axis=2)  # (vertices, vertices of the hole)
    i, j = divmod(int(distance.argmin()), len(hole))
    return np.concatenate([ring[: i + 1], hole[j:], hole[: j + 1], ring[i:]])


def in_region(field: np.ndarray, location: Sequence[int], size: Sequence[int]) -> np.ndarray:
    """Return ``field`` with 0 outside a rectangle; a size of 0 is the whole image.

    Args:
        field: (H, W).
        location: (x, y) of the rectangle.
        size: (width, height) of it.
    """
    if min(size) <= 0:
        return field
    (x, y), (width, height) = (math.floor(v) for v in location), (math.ceil(v) for v in size)
    cut = np.zeros_like(field)
    rows, columns = slice(max(0, y), max(0, y + height)), slice(max(0, x), max(0, x + width))
    cut[rows, columns] = field[rows, columns]
    return cut
