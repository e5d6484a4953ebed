"""XML of ASAP, which QuPath's extension of MONAI Label writes too: one ring a shape, without holes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.etree import ElementTree

import numpy as np

from scripts.core.errors import Problem
from scripts.images.drawn.drawings import Drawing, joined
from scripts.images.drawn.outlines import RANGE, Outline, Picture, no_outline, no_polygon, ring_of, text_number

_ROOT = "ASAP_Annotations"
_KINDS = ("Polygon", "Rectangle", "Spline")
_RING = f"3 or more Coordinate with X and Y, {RANGE}, and no Order or each its own"


def is_form(root: ElementTree.Element) -> bool:
    """Tell ASAP's XML from other: by its root, or by annotations with coordinates."""
    return root.tag == _ROOT or next((True for each in root.iter("Annotation") if _coordinates(each)), False)


def read(root: ElementTree.Element, _: Picture) -> Iterator[Outline | Problem]:
    """Yield the polygons, and what is wrong with other shapes."""
    for number, element in enumerate(root.iter("Annotation"), 1):
        where = f"annotation {number}"
        kind = element.get("Type", "Polygon")
        if kind not in _KINDS:
            yield no_polygon(where, kind, "Polygon, Spline or Rectangle")
            continue
        ring = _ring(element)
        yield no_outline(where, _RING) if ring is None else Outline((ring,), _name(element))


def _coordinates(element: ElementTree.Element) -> list[ElementTree.Element]:
    # Not all that is below it: of annotations within annotations each would have the points of all inner ones.
    return [*element.findall("Coordinate"), *element.findall("Coordinates/Coordinate")]


def _ring(element: ElementTree.Element) -> np.ndarray | None:
    coordinates = _coordinates(element)
    try:
        points = [[text_number(c.attrib["X"]), text_number(c.attrib["Y"])] for c in coordinates]
        order = [text_number(c.attrib["Order"]) for c in coordinates if "Order" in c.attrib]
    except (KeyError, ValueError):
        return None
    if order:
        # Points whose places are not told, or told twice, could be joined in many ways.
        if len(set(order)) != len(points):
            return None
        points = [points[at] for at in sorted(range(len(points)), key=order.__getitem__)]
    return ring_of(points)


def _name(element: ElementTree.Element) -> str:
    group = (element.get("PartOfGroup") or "").strip()
    return "" if group.lower() in ("", "none") else group


def write(drawings: Sequence[Drawing]) -> str:
    """Return the objects of one picture; a hole is joined to its border by a cut without a width."""
    root = ElementTree.Element(_ROOT)
    shapes = ElementTree.SubElement(root, "Annotations")
    outlines = [outline for drawing in drawings for outline in drawing.outlines]
    for number, outline in enumerate(outlines):
        told = {"Name": f"Annotation {number}", "Type": "Polygon", "PartOfGroup": outline.name, "Color": "#00AA00"}
        points = ElementTree.SubElement(ElementTree.SubElement(shapes, "Annotation", told), "Coordinates")
        for at, (x, y) in enumerate(joined(outline.rings)):
            ElementTree.SubElement(points, "Coordinate", {"Order": f"{at}", "X": f"{x:.0f}", "Y": f"{y:.0f}"})
    groups = ElementTree.SubElement(root, "AnnotationGroups")
    for name in sorted({outline.name for outline in outlines}):
        ElementTree.SubElement(groups, "Group", {"Name": name, "PartOfGroup": "None", "Color": "#00AA00"})
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)
