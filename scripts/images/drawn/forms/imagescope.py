"""XML of Aperio ImageScope: layers of regions, of which negative ones are holes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np

from scripts.core.errors import Problem
from scripts.images.drawn.drawings import Drawing
from scripts.images.drawn.outlines import (
    Outline,
    Picture,
    ellipse,
    no_outline,
    no_polygon,
    rectangle,
    ring_of,
    text_number,
)

_POLYGON, _RECTANGLE, _ELLIPSE = "0", "1", "2"  # types of regions; those above are arrows, rulers and pins


def is_form(root: Element) -> bool:
    """Tell ImageScope by its root, and by layers that have regions, if there are any."""
    layers = root.findall("Annotation")
    return root.tag == "Annotations" and all(layer.find("Regions") is not None for layer in layers)


def read(root: Element, _: Picture) -> Iterator[Outline | Problem]:
    """Yield the regions, the larger first, so that a hole takes off what is around it and not what lies in it."""
    found: list[tuple[float, Outline]] = []
    regions = (
        (region, _name(layer)) for layer in root.findall("Annotation") for region in layer.iterfind("Regions/Region")
    )
    for number, (region, layer) in enumerate(regions, 1):
        where, kind = f"region {number}", region.get("Type", _POLYGON)
        if kind not in (_POLYGON, _RECTANGLE, _ELLIPSE):
            yield no_polygon(where, f"region of type {kind}", "freehand, rectangle or ellipse: Type 0, 1 or 2")
            continue
        ring = _ring(region, kind)
        if ring is None:
            yield no_outline(where, "3 or more Vertex with X and Y; of a rectangle or an ellipse 2 or more")
        else:
            is_hole = region.get("NegativeROA", "0").strip() == "1"
            found.append((_area(ring), Outline((ring,), layer or (region.get("Text") or "").strip(), is_hole)))
    yield from (outline for _, outline in sorted(found, key=lambda each: -each[0]))


def _name(layer: Element) -> str:
    """Return the name of a layer: older versions have it as an attribute of its own, Description."""
    told = [each.get("Value") for each in layer.iterfind("Attributes/Attribute") if each.get("Name") == "Description"]
    return next((name.strip() for name in (layer.get("Name"), *told) if name and name.strip()), "")


def _ring(region: Element, kind: str) -> np.ndarray | None:
    try:
        points = [
            [text_number(each.get("X")), text_number(each.get("Y"))] for each in region.iterfind("Vertices/Vertex")
        ]
    except ValueError:
        return None
    if kind == _POLYGON or (kind == _RECTANGLE and len(points) > 2):
        return ring_of(points)
    if len(points) < 2:
        return None
    # An ellipse is told by the corners of its frame; some programs write the points of its line.
    low, high = np.min(points, axis=0), np.max(points, axis=0)
    if kind == _RECTANGLE:
        return rectangle(low[0], low[1], high[0], high[1])
    if len(points) > 4:
        return ring_of(points)
    (x, y), (across, down) = (low + high) / 2, (high - low) / 2
    return ellipse((x, y), (across, down))


def _area(ring: np.ndarray) -> float:
    x, y = (ring - ring[0]).T
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2.0


def write(drawings: Sequence[Drawing]) -> str:
    """Return the objects of one picture, a layer for each class; holes are negative regions."""
    root = Element("Annotations")
    outlines = [outline for drawing in drawings for outline in drawing.outlines]
    for layer_id, name in enumerate(sorted({outline.name for outline in outlines}), 1):
        layer = SubElement(root, "Annotation", {"Id": f"{layer_id}", "Name": name, "Type": "4", "LineColor": "65280"})
        regions = SubElement(layer, "Regions")
        rings = [(ring, at > 0) for each in outlines if each.name == name for at, ring in enumerate(each.rings)]
        for number, (ring, is_hole) in enumerate(rings, 1):
            told = {"Id": f"{number}", "Type": _POLYGON, "NegativeROA": f"{int(is_hole)}", "Text": ""}
            vertices = SubElement(SubElement(regions, "Region", told), "Vertices")
            for x, y in ring:
                SubElement(vertices, "Vertex", {"X": f"{x:.0f}", "Y": f"{y:.0f}", "Z": "0"})
    return tostring(root, encoding="unicode", xml_declaration=True)
