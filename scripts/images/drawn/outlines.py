"""Outlines drawn elsewhere, read from a file: GeoJSON as QuPath exports it, and the XML of ASAP.

Coordinates are pixels of the image, (x, y), with the origin at the outer corner of the first pixel;
:mod:`scripts.images.drawn.outline_drawing` makes masks of them. A file may hold anything, so what it costs is bounded
by what is said here, and every number is looked at before it is used.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from scripts.core.errors import InputError, Problem

SUFFIXES = (".geojson", ".json", ".xml")
FARTHEST_PX = 1e7
"""Of a coordinate from the origin, pixels: no image is larger, and sums of such numbers stay exact."""
_MOST_BYTES = 16 * 1024**2
_MOST_SHAPES = 20_000
_MOST_POINTS = 500_000
_MOST_VALUES = 5 * _MOST_POINTS  # an x, a y, a height and their brackets, and as much again of other things
_DEEPEST = 32  # of collections within collections; QuPath writes three
_MOST_PROBLEMS = 20
_ASAP = "ASAP_Annotations"
_LINE = "lines and points have no area; draw polygons"
_RANGE = f"numbers of at most {FARTHEST_PX:.0f} pixels"
_RING = f"rings of 3 or more (x, y), {_RANGE}"


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
        InputError: the file cannot be read as such, is too large, or holds other shapes than polygons; lists every bad
            one.
    """
    try:
        size = path.stat().st_size if content is None else len(content)
        if size > _MOST_BYTES:
            found = f"{size} bytes"
            raise InputError(Problem("file of outlines is too large", path.name, f"at most {_MOST_BYTES} bytes", found))
        text = (path.read_bytes() if content is None else content).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(Problem("outlines cannot be read", path.name, "UTF-8 text", str(error))) from error
    _refuse_dense(path, text)
    problems: list[Problem] = []
    outlines = _of_xml(path, text, problems) if path.suffix.lower() == ".xml" else _of_geojson(path, text, problems)
    if problems:
        raise InputError(problems)
    _refuse_many(path, outlines)
    return outlines


def _are_enough(problems: list[Problem], path: Path) -> bool:
    """Tell whether reading may stop, and say so in ``problems``."""
    if len(problems) < _MOST_PROBLEMS:
        return False
    problems.append(Problem("further shapes were not looked at", path.name))
    return True


def _refuse_dense(path: Path, text: str) -> None:
    """Refuse before parsing what could not be accepted after it: a value of two bytes takes a hundred in memory."""
    values = sum(map(text.count, ",[{<"))
    if values > _MOST_VALUES:
        raise InputError(_too_many(path, f"{values} values"))


def _refuse_many(path: Path, outlines: list[Outline]) -> None:
    points = sum(len(ring) for outline in outlines for ring in outline.rings)
    if len(outlines) > _MOST_SHAPES or points > _MOST_POINTS:
        raise InputError(_too_many(path, f"{len(outlines)} shapes with {points} points"))


def _too_many(path: Path, found: str) -> Problem:
    expected = f"at most {_MOST_SHAPES} shapes with {_MOST_POINTS} points"
    return Problem("too many outlines", path.name, expected, found, "Simplify them, or send a PNG.")


# ---- GeoJSON ---------------------------------------------------------------------------------------------------------


def _of_geojson(path: Path, text: str, problems: list[Problem]) -> list[Outline]:
    try:
        # Whole numbers as floats: one of 400 digits is infinite then, and no error.
        content = json.loads(text, parse_int=float, object_pairs_hook=each_once)
        shapes = list(_geometries(content))
    except (ValueError, RecursionError) as error:
        problems.append(Problem("not GeoJSON", path.name, found=str(error)))
        return []
    outlines = []
    for number, (geometry, name) in enumerate(shapes):
        where = f"{path.name} shape {number + 1}"
        if _are_enough(problems, path):
            break
        kind = geometry.get("type") if isinstance(geometry, Mapping) else None
        parts = geometry.get("coordinates") if isinstance(geometry, Mapping) else None
        if kind not in ("Polygon", "MultiPolygon") or not isinstance(parts, list):
            found = kind[:80] if isinstance(kind, str) else "no type"
            problems.append(Problem("not a polygon", where, "Polygon or MultiPolygon", found, f"{_LINE}."))
            continue
        polygons = [_rings(part) for part in ([parts] if kind == "Polygon" else parts)]
        outlines += [Outline(rings, name) for rings in polygons if rings is not None]
        if None in polygons:  # said once: a shape may have millions of bad parts
            problems.append(Problem("coordinates are no outline", where, _RING))
    return outlines


def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; of a key that stands there twice one value would be lost without a word."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _geometries(content: Any) -> Iterator[tuple[Any, str]]:
    """Yield (geometry, class name) of what GeoJSON nests: collections, features, lists of features.

    Raises:
        ValueError: it is nested deeper than any program writes it, or a collection has no list of what it holds.
    """
    # Open lists, the innermost last. Generators within generators would hand each geometry through all of them.
    waiting = [(iter([content]), "")]
    while waiting:
        parts, name = waiting[-1]
        for part in parts:
            inner = _inner(part, name)
            if inner is None:
                yield part, name
            elif len(waiting) > _DEEPEST:
                raise ValueError(f"collections are nested more than {_DEEPEST} deep")
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
        raise ValueError(f"a {kind} without a list of {key}")
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
    """Return the rings of a polygon, arrays (N, 2) float64; None where they are none.

    Only numbers count: NumPy would take ``"10"`` and ``true`` for some.
    """
    if not isinstance(part, list) or not part:
        return None
    rings = []
    for ring in part:
        if not isinstance(ring, list) or len(ring) < 3 or not all(map(_is_point, ring)):
            return None
        rings.append(np.array([point[:2] for point in ring], dtype=np.float64))
    return tuple(rings)


def _is_point(point: Any) -> bool:
    # The comparison is false for NaN as well.
    return (
        isinstance(point, list | tuple)
        and len(point) >= 2
        and all(type(value) is float and abs(value) <= FARTHEST_PX for value in point[:2])
    )


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
        if _are_enough(problems, path):
            break
        kind = element.get("Type", "Polygon")
        ring = _asap_ring(element)
        if kind not in ("Polygon", "Rectangle", "Spline"):
            problems.append(Problem("not a polygon", where, "Polygon, Spline or Rectangle", kind[:80], f"{_LINE}."))
        elif ring is None:
            expected = f"3 or more Coordinate with X and Y, {_RANGE}, and no Order or each its own"
            problems.append(Problem("coordinates are no outline", where, expected))
        else:
            outlines.append(Outline((ring,), _asap_name(element)))
    if not outlines and not problems and root.tag != _ASAP:  # else XML of another program has no foreground
        expected = f"{_ASAP} with annotations"
        problems.append(Problem("not annotations of ASAP", path.name, expected, ascii(root.tag[:80])))
    return outlines


def _asap_ring(element: ElementTree.Element) -> np.ndarray | None:
    # Not all that is below it: of annotations within annotations each would have the points of all inner ones.
    coordinates = [*element.findall("Coordinate"), *element.findall("Coordinates/Coordinate")]
    try:
        points = [[_asap_number(c.attrib["X"]), _asap_number(c.attrib["Y"])] for c in coordinates]
        order = [_asap_number(c.attrib["Order"]) for c in coordinates if "Order" in c.attrib]
    except (KeyError, ValueError):
        return None
    if order:
        # Points whose places are not told, or told twice, could be joined in many ways.
        if len(set(order)) != len(points) or not all(map(math.isfinite, order)):
            return None
        points = [points[at] for at in sorted(range(len(points)), key=order.__getitem__)]
    return (_rings([points]) or (None,))[0]


def _asap_number(text: str) -> float:
    """Return a number in XML. Raises ``ValueError``, also for ``1_0``, which is a number for Python alone."""
    if "_" in text:
        raise ValueError("a number with _")
    return float(text)


def _asap_name(element: ElementTree.Element) -> str:
    group = (element.get("PartOfGroup") or "").strip()
    return "" if group.lower() in ("", "none") else group
