"""Outlines drawn elsewhere become masks: GeoJSON as QuPath exports it, and the XML of ASAP.

Coordinates are pixels of the image, (x, y), with the origin at the outer corner of the first pixel. A pixel is inside
where its centre is (even-odd rule over the rings of a polygon, so that inner rings are holes).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from scripts.core.errors import InputError, Problem
from scripts.images.values import IGNORE

SUFFIXES = (".geojson", ".json", ".xml")
_MOST_BYTES = 64 * 1024**2
_IGNORED = ("ignore", "ignore*")
_LINE = "lines and points have no area; draw polygons"


@dataclass(frozen=True)
class Outline:
    """One polygon.

    Attributes:
        rings: arrays (N, 2) float64 of (x, y); the first is the border, the others are holes.
        name: class that it was given in the drawing program, ``""`` for none.
    """

    rings: tuple[np.ndarray, ...]
    name: str = ""


def read_outlines(path: Path, content: bytes | None = None) -> list[Outline]:
    """Read the polygons of a GeoJSON or ASAP XML file, told apart by the suffix.

    Args:
        path: the file.
        content: its bytes, where they have been read.

    Raises:
        InputError: the file cannot be read as such, or holds other shapes than polygons; lists every bad one.
    """
    try:
        size = path.stat().st_size if content is None else len(content)
        if size > _MOST_BYTES:
            found = f"{size} bytes"
            raise InputError(Problem("file of outlines is too large", path.name, f"at most {_MOST_BYTES} bytes", found))
        text = (path.read_bytes() if content is None else content).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(Problem("outlines cannot be read", path.name, "UTF-8 text", str(error))) from error
    problems: list[Problem] = []
    outlines = _of_xml(path, text, problems) if path.suffix.lower() == ".xml" else _of_geojson(path, text, problems)
    if problems:
        raise InputError(problems)
    return outlines


def draw_outlines(outlines: Sequence[Outline], size: tuple[int, int]) -> np.ndarray:
    """Return the mask of some polygons, uint8 (H, W): 1 inside, 255 inside one named "ignore", which wins, else 0.

    Args:
        outlines: what lies outside the image is cut off.
        size: (H, W).
    """
    mask = np.zeros(size, np.uint8)
    for ignored in (False, True):
        for outline in outlines:
            if (outline.name.lower() in _IGNORED) is ignored:
                _fill(mask, outline.rings, IGNORE if ignored else 1)
    return mask


def spoken_class(
    outlines: Sequence[Outline], classes: Sequence[str], size: tuple[int, int]
) -> tuple[str, list[Outline]]:
    """Part what is said about the image from what is drawn.

    Drawing programs have no other place for the class of an image than the name of a shape. A polygon around the whole
    image (99 % of it) that is named after a class only says the class; any other one is drawn as well.

    Args:
        outlines: of one image.
        classes: class names of the data.
        size: (H, W) of the image.

    Returns:
        the class named, ``""`` for none, and the polygons that are drawn.

    Raises:
        InputError: polygons name several classes.
    """
    by_name = {name.lower(): name for name in classes}
    named = [(outline, by_name.get(outline.name.lower(), "")) for outline in outlines]
    said = sorted({name for _, name in named if name})
    if len(said) > 1:
        raise InputError(Problem("outlines name several classes of the image", "outlines", "one", ", ".join(said)))
    whole = 0.99 * size[0] * size[1]
    drawn = [outline for outline, name in named if not name or np.count_nonzero(draw_outlines([outline], size)) < whole]
    return said[0] if said else "", drawn


def _fill(mask: np.ndarray, rings: Sequence[np.ndarray], value: int) -> None:
    """Set the pixels of ``mask`` whose centre is inside, one crossing of a row with an edge at a time."""
    height, width = mask.shape
    points = np.concatenate(rings)
    top, bottom = max(0, math.floor(points[:, 1].min())), min(height, math.ceil(points[:, 1].max()) + 1)
    if bottom <= top:
        return
    crossings = np.zeros((bottom - top, width + 1), np.int64)
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            if y0 == y1:
                continue
            low, high = (y0, y1) if y0 < y1 else (y1, y0)
            # rows whose centre is in [low, high): half-open, so that a vertex on a centre counts once
            rows = np.arange(max(top, math.ceil(low - 0.5)), min(bottom, math.ceil(high - 0.5)))
            if len(rows):
                x = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
                first = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)  # first pixel right of the edge
                np.add.at(crossings, (rows - top, first), 1)
    inside = np.cumsum(crossings, axis=1)[:, :width] % 2 == 1
    mask[top:bottom][inside] = value


# ---- GeoJSON ---------------------------------------------------------------------------------------------------------


def _of_geojson(path: Path, text: str, problems: list[Problem]) -> list[Outline]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        problems.append(Problem("not GeoJSON", path.name, found=str(error)))
        return []
    outlines = []
    for number, (geometry, name) in enumerate(_geometries(content, "")):
        where = f"{path.name} shape {number + 1}"
        kind = geometry.get("type") if isinstance(geometry, Mapping) else None
        parts = geometry.get("coordinates") if isinstance(geometry, Mapping) else None
        if kind not in ("Polygon", "MultiPolygon") or not isinstance(parts, list):
            problems.append(Problem("not a polygon", where, "Polygon or MultiPolygon", str(kind), f"{_LINE}."))
            continue
        for part in [parts] if kind == "Polygon" else parts:
            rings = _rings(part)
            if rings is None:
                problems.append(Problem("coordinates are no outline", where, "rings of 3 or more (x, y)"))
            else:
                outlines.append(Outline(rings, name))
    return outlines


def _geometries(content: Any, name: str) -> Iterator[tuple[Any, str]]:
    """Yield (geometry, class name) of what GeoJSON nests: collections, features, lists of features."""
    if isinstance(content, list):
        for part in content:
            yield from _geometries(part, name)
    elif not isinstance(content, Mapping):
        yield content, name
    elif content.get("type") == "FeatureCollection":
        yield from _geometries(content.get("features") or [], name)
    elif content.get("type") == "Feature":
        yield from _geometries(content.get("geometry"), _class_name(content.get("properties")))
    elif content.get("type") == "GeometryCollection":
        yield from _geometries(content.get("geometries") or [], name)
    else:
        yield content, name


def _class_name(properties: Any) -> str:
    found = properties.get("classification") if isinstance(properties, Mapping) else None
    name = found.get("name") if isinstance(found, Mapping) else None
    return name.strip() if isinstance(name, str) else ""


def _rings(part: Any) -> tuple[np.ndarray, ...] | None:
    try:
        rings = tuple(np.asarray([point[:2] for point in ring], dtype=np.float64) for ring in part)
    except (TypeError, ValueError, KeyError, IndexError):
        return None
    good = bool(rings) and all(
        ring.ndim == 2 and ring.shape[0] >= 3 and ring.shape[1] == 2 and np.isfinite(ring).all() for ring in rings
    )
    return rings if good else None


# ---- ASAP ------------------------------------------------------------------------------------------------------------


def _of_xml(path: Path, text: str, problems: list[Problem]) -> list[Outline]:
    if "<!DOCTYPE" in text.upper() or "<!ENTITY" in text.upper():  # entities can grow without end
        problems.append(Problem("XML defines entities", path.name, "plain annotations", "a DOCTYPE or ENTITY"))
        return []
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        problems.append(Problem("not XML", path.name, found=str(error)))
        return []
    outlines = []
    for number, element in enumerate(root.iter("Annotation")):
        where = f"{path.name} annotation {number + 1}"
        kind = element.get("Type", "Polygon")
        ring = _asap_ring(element)
        if kind not in ("Polygon", "Rectangle", "Spline"):
            problems.append(Problem("not a polygon", where, "Polygon, Spline or Rectangle", kind, f"{_LINE}."))
        elif ring is None:
            problems.append(Problem("coordinates are no outline", where, "3 or more Coordinate with X and Y"))
        else:
            outlines.append(Outline((ring,), _asap_name(element)))
    return outlines


def _asap_ring(element: ElementTree.Element) -> np.ndarray | None:
    try:
        points = sorted((int(c.get("Order", 0)), float(c.attrib["X"]), float(c.attrib["Y"]))
                        for c in element.iter("Coordinate"))  # fmt: skip
    except (KeyError, ValueError):
        return None
    return (_rings([[point[1:] for point in points]]) or (None,))[0]


def _asap_name(element: ElementTree.Element) -> str:
    group = (element.get("PartOfGroup") or "").strip()
    return "" if group.lower() in ("", "none") else group
