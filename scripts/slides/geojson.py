"""Polygons of a slide's foreground as GeoJSON that QuPath opens: annotations with holes, in pixels of level 0.

A FeatureCollection as QuPath exports it, one feature a line, written one by one. The origin is the outer corner of
the first pixel, as in QuPath.
"""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from scripts.core.errors import InputError, Problem
from scripts.core.optional import needed
from scripts.slides.contours import Polygon, signed_area
from scripts.slides.grid import Grid

_DIGITS = 2  # of coordinates, pixels of level 0
_MANY_HOLES, _MANY_POINTS = 200, 100_000
_IDS = uuid.UUID("5f3c1d52-6a1e-4d0a-9b57-6f0c2b0d7a41")  # namespace of the ids of annotations


@dataclass(frozen=True)
class PolygonRule:
    """Which polygons are written, and how.

    Lengths are in network pixels: finer than that nothing is known. ``slides.csv`` has their size in slide pixels.

    Attributes:
        name: class of the annotations.
        colour: (red, green, blue) of that class.
        min_area: square network pixels; a polygon with less, holes taken off, is left out.
        min_hole: square network pixels; a smaller hole is filled.
        tolerance: network pixels that the simplified outline may be away from the exact one; 0 keeps every point.

    Raises:
        InputError: a value out of its range.
    """

    name: str = "foreground"
    colour: Sequence[int] = (255, 200, 0)
    min_area: float = 64.0
    min_hole: float = 16.0
    tolerance: float = 0.5

    def __post_init__(self) -> None:
        checks: tuple[tuple[str, bool, str, Any], ...] = (
            ("name", bool(self.name), "a name", self.name),
            ("colour", len(self.colour) == 3 and all(0 <= value <= 255 for value in self.colour), "[red, green, blue], "
             "0 to 255", self.colour),
            ("min_area", self.min_area >= 0, "0 or more", self.min_area),
            ("min_hole", self.min_hole >= 0, "0 or more", self.min_hole),
            ("tolerance", self.tolerance >= 0, "0 or more", self.tolerance),
        )  # fmt: skip
        problems = [Problem("cannot be used", f"polygons#{n}", e, str(f)) for n, good, e, f in checks if not good]
        if problems:
            raise InputError(problems)


class FeatureWriter:
    """Writes the polygons of one slide.

    Args:
        rule: what is written.
        grid: of the slide.
        mpp: micrometres per pixel of level 0, (y, x), if known: areas are given in those too.
        slide: its name, for ids that are the same each time.

    Attributes:
        count: polygons written.
    """

    def __init__(self, rule: PolygonRule, grid: Grid, mpp: tuple[float, float] | None, slide: str) -> None:
        self.rule, self.grid, self.mpp, self.slide = rule, grid, mpp, slide
        self.count = 0
        self._shapely: Any = needed("shapely")

    def write(self, file: BinaryIO, found: Iterable[Polygon]) -> None:
        """Write a FeatureCollection of polygons in network pixels."""
        text = io.TextIOWrapper(file, encoding="utf-8", newline="\n")
        text.write('{"type": "FeatureCollection", "features": [')
        for polygon in found:
            feature = self.feature(polygon)
            if feature is not None:
                text.write("\n" if self.count == 0 else ",\n")
                text.write(json.dumps(feature, allow_nan=False))
                self.count += 1
        text.write("\n]}\n")
        text.flush()
        text.detach()  # the file stays open

    def feature(self, polygon: Polygon) -> dict[str, Any] | None:
        """Return the annotation of a polygon; None where it is too small."""
        holes = [hole for hole in polygon.holes if -signed_area(hole) >= self.rule.min_hole]
        if signed_area(polygon.outline) + sum(map(signed_area, holes)) < self.rule.min_area:
            return None
        simple = self._simplified(self._shapely.Polygon(polygon.outline, holes))
        rings = [self._on_slide(np.asarray(ring.coords)) for ring in (simple.exterior, *simple.interiors)]
        area = sum(abs(signed_area(ring)) * (1 if at == 0 else -1) for at, ring in enumerate(rings))
        measured = {"Area px^2": round(area, 1)}
        if self.mpp is not None:
            measured["Area µm^2"] = round(area * self.mpp[0] * self.mpp[1], 2)
        return {
            "type": "Feature",
            "id": str(uuid.uuid5(_IDS, f"{self.slide}/{self.count}")),
            "geometry": {"type": "Polygon", "coordinates": [ring.tolist() for ring in rings]},
            "properties": {
                "objectType": "annotation",
                "classification": {"name": self.rule.name, "color": [int(value) for value in self.rule.colour]},
                "isLocked": False,
                "measurements": measured,
            },
        }

    def _simplified(self, shape: Any) -> Any:
        """Return a polygon with fewer points that does not cross itself."""
        tolerance = self.rule.tolerance
        if len(shape.interiors) < _MANY_HOLES and self._shapely.get_num_coordinates(shape) < _MANY_POINTS:
            simple = shape.simplify(tolerance, preserve_topology=True)
        else:  # Visvalingam-Whyatt: leaves twice the points, but its time does not grow with the square of the holes
            simple = self._shapely.coverage_simplify([shape], tolerance)[0]
        return simple if simple.is_valid and simple.geom_type == "Polygon" and not simple.is_empty else shape

    def _on_slide(self, ring: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        by = self.grid.downsample
        return np.round(ring * (by[1], by[0]), _DIGITS)
