"""Masks of regions: of a slide of masks, or of polygons."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scripts.core.errors import InputError, Problem
from scripts.images.drawn.outline_drawing import draw_outlines
from scripts.images.drawn.outlines import Outline, ring_of
from scripts.images.slide_files.region import load_region, region_values

INSIDE = 255
"""Value of pixels inside of a polygon: foreground by each of the usual rules."""


def mask_values(path: Path) -> np.ndarray:
    """Return the values of a mask in a region's file, uint8 (H, W).

    Raises:
        InputError: the file or its slide cannot be read, or a polygon is none.
    """
    region = load_region(path)
    if region.outlines is None:
        return region_values(path)
    polygons = [[ring_of(ring) for ring in rings] for rings in region.outlines]
    if any(ring is None for rings in polygons for ring in rings):
        raise InputError(Problem("not a polygon", str(path), "rings of 3 or more (x, y)", cure="Make the pool anew."))
    drawn = [Outline(tuple(ring for ring in rings if ring is not None)) for rings in polygons if rings]
    return draw_outlines(drawn, region.size) * np.uint8(INSIDE)
