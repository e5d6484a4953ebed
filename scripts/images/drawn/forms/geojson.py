"""GeoJSON as QuPath exports it: polygons with holes, whose class stands in the properties of their feature."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from scripts.core.errors import InputError, Problem
from scripts.images.drawn.drawings import Drawing, closed
from scripts.images.drawn.outlines import RANGE, Outline, Picture, no_outline, no_polygon, ring_of

_DEEPEST = 32  # of collections within collections; QuPath writes three
_RING = f"rings of 3 or more (x, y), {RANGE}"


def is_form(content: Any) -> bool:
    """Tell GeoJSON by its type; what is no object at all is left to it, too."""
    first = content[0] if isinstance(content, list) and content else content
    return not isinstance(first, Mapping) or "type" in first


def read(content: Any, _: Picture) -> Iterator[Outline | Problem]:
    """Yield the polygons of GeoJSON, and what is wrong with other shapes.

    Raises:
        InputError: it is nested deeper than any program writes it, or a collection has no list of what it holds.
    """
    for number, (geometry, name) in enumerate(_geometries(content), 1):
        where = f"shape {number}"
        kind = geometry.get("type") if isinstance(geometry, Mapping) else None
        parts = geometry.get("coordinates") if isinstance(geometry, Mapping) else None
        if kind not in ("Polygon", "MultiPolygon") or not isinstance(parts, list):
            yield no_polygon(where, kind if isinstance(kind, str) else "no type", "Polygon or MultiPolygon")
            continue
        polygons = [_rings(part) for part in ([parts] if kind == "Polygon" else parts)]
        yield from (Outline(rings, name) for rings in polygons if rings is not None)
        if None in polygons:  # said once: a shape may have millions of bad parts
            yield no_outline(where, _RING)


def _geometries(content: Any) -> Iterator[tuple[Any, str]]:
    """Yield (geometry, class name) of what GeoJSON nests: collections, features, lists of features."""
    # Open lists, the innermost last. Generators within generators would hand each geometry through all of them.
    waiting = [(iter([content]), "")]
    while waiting:
        parts, name = waiting[-1]
        for part in parts:
            inner = _inner(part, name)
            if inner is None:
                yield part, name
            elif len(waiting) > _DEEPEST:
                raise InputError(Problem("not GeoJSON", "", found=f"collections are nested more than {_DEEPEST} deep"))
            else:
                waiting.append((iter(inner[0]), inner[1]))
                break
        else:
            waiting.pop()


def _inner(content: Any, name: str) -> tuple[list[Any], str] | None:
    """Return what a collection or a feature holds, and the class name of that; None for a geometry."""
    kind = content.get("type") if isinstance(content, Mapping) else None
    if isinstance(content, list):
        return content, name
    if kind == "Feature":
        return [content.get("geometry")], _class_name(content.get("properties"))
    if kind not in ("FeatureCollection", "GeometryCollection"):
        return None
    key = "features" if kind == "FeatureCollection" else "geometries"
    parts = content.get(key)
    if not parts and not isinstance(parts, list):  # else a half-written file would be an image without foreground
        raise InputError(Problem("not GeoJSON", "", found=f"a {kind} without a list of {key}"))
    return parts if isinstance(parts, list) else [parts], name


def _class_name(properties: Any) -> str:
    """Return the class of a shape: QuPath writes ``{"name": "a"}``, since 0.5 also ``{"names": ["a", "b"]}``."""
    found = properties.get("classification") if isinstance(properties, Mapping) else None
    if isinstance(found, Mapping):
        found = found.get("name") or found.get("names")
    if isinstance(found, list) and all(isinstance(name, str) for name in found):
        found = ": ".join(found)
    return found.strip() if isinstance(found, str) else ""


def _rings(part: Any) -> tuple[np.ndarray, ...] | None:
    """Return the rings of a polygon, arrays (N, 2) float64; None where they are none."""
    rings = []
    for each in part if isinstance(part, list) else []:
        ring = ring_of(each)
        if ring is None:
            return None
        rings.append(ring)
    return tuple(rings) or None


def write(drawings: Sequence[Drawing]) -> str:
    """Return the objects of one picture as QuPath exports annotations."""
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [closed(ring).tolist() for ring in outline.rings]},
            "properties": {"objectType": "annotation", "classification": {"name": outline.name}},
        }
        for drawing in drawings
        for outline in drawing.outlines
    ]
    return json.dumps({"type": "FeatureCollection", "features": features})
