"""XML "CVAT for images 1.1": of each image its polygons, boxes, ellipses and painted masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np

from scripts.core.errors import Problem
from scripts.images.drawn.drawings import Drawing, cut_out, frame
from scripts.images.drawn.outlines import (
    Outline,
    Picture,
    ellipse,
    entry_of,
    no_outline,
    no_polygon,
    rectangle,
    refuse_other_size,
    ring_of,
    text_number,
    turned,
)
from scripts.images.drawn.pixel_borders import counted, counts_of

_BESIDE = ("tag", "attribute")  # what CVAT tells of an image besides shapes
_FORM = {
    "polygon": 'points="x,y;x,y;x,y", 3 or more',
    "box": "xtl, ytl, xbr and ybr, and rotation in degrees",
    "ellipse": "cx, cy, rx and ry, and rotation in degrees",
    "mask": "rle that fills width and height, left and top, within the picture",
}


def is_form(root: Element) -> bool:
    """Tell CVAT by its root and its images; its files of videos have tracks in their place."""
    return root.tag == "annotations" and root.find("track") is None and root.find("image") is not None


def read(root: Element, picture: Picture) -> Iterator[Outline | Problem]:
    """Yield the shapes of the picture, and what is wrong with others.

    Raises:
        InputError: the picture is not among the images, or has another size there.
    """
    image = entry_of([(each.get("name", ""), each) for each in root.findall("image")], picture, "")
    refuse_other_size(tuple(_number_or_text(image.get(key)) for key in ("height", "width")), picture, "")
    for number, shape in enumerate((each for each in image if each.tag not in _BESIDE), 1):
        where = f"shape {number}"
        if shape.tag not in _FORM:
            yield no_polygon(where, shape.tag, "polygon, box, ellipse or mask")
            continue
        try:
            outline = _outline(shape, (shape.get("label") or "").strip(), picture)
        except ValueError:
            outline = None
        yield outline or no_outline(where, _FORM[shape.tag])


def names(root: Element) -> list[str]:
    """Return the file names of the images that have shapes."""
    return [each.get("name", "") for each in root.findall("image") if any(shape.tag not in _BESIDE for shape in each)]


def _number_or_text(text: str | None) -> Any:
    try:
        return None if text is None else text_number(text)
    except ValueError:
        return text


def _outline(shape: Element, name: str, picture: Picture) -> Outline | None:
    """Return a shape; None, or ``ValueError``, where its numbers are none."""
    if shape.tag == "mask":
        return _mask(shape, name, picture)
    ring: np.ndarray | None
    if shape.tag == "polygon":
        points = [point.split(",") for point in (shape.get("points") or "").split(";")]
        ring = ring_of([[text_number(value) for value in point] for point in points])
    elif shape.tag == "box":
        left, top, right, bottom = (text_number(shape.get(key)) for key in ("xtl", "ytl", "xbr", "ybr"))
        ring = turned(rectangle(left, top, right, bottom), _rotation(shape), ((left + right) / 2, (top + bottom) / 2))
    else:
        x, y, across, down = (text_number(shape.get(key)) for key in ("cx", "cy", "rx", "ry"))
        ring = turned(ellipse((x, y), (abs(across), abs(down))), _rotation(shape), (x, y))
    return None if ring is None else Outline((ring,), name)


def _rotation(shape: Element) -> float:
    return text_number(shape.get("rotation") or "0")


def _mask(shape: Element, name: str, picture: Picture) -> Outline | None:
    left, top, width, height = (text_number(shape.get(key)) for key in ("left", "top", "width", "height"))
    inside = 0 <= left < left + width <= picture.size[1] and 0 <= top < top + height <= picture.size[0]
    if not inside or any(value != int(value) for value in (left, top, width, height)):
        return None
    counts = [text_number(each) for each in (shape.get("rle") or "").split(",")]
    return counted(counts, (int(height), int(width)), (int(left), int(top)), name)


def write(drawings: Sequence[Drawing]) -> str:
    """Return the objects of all pictures: polygons, and masks of those with holes."""
    root = Element("annotations")
    SubElement(root, "version").text = "1.1"
    for number, drawing in enumerate(drawings):
        size = {"width": f"{drawing.size[1]}", "height": f"{drawing.size[0]}"}
        image = SubElement(root, "image", {"id": f"{number}", "name": drawing.file, **size})
        for outline in drawing.outlines:
            told = {"label": outline.name, "source": "manual", "occluded": "0"}
            if len(outline.rings) == 1:
                points = ";".join(f"{x:.2f},{y:.2f}" for x, y in outline.rings[0])
                SubElement(image, "polygon", {**told, "points": points, "z_order": "0"})
                continue
            left, top, right, bottom = frame(outline)
            counts = counts_of(cut_out(outline).ravel())
            box = {"left": f"{left}", "top": f"{top}", "width": f"{right - left}", "height": f"{bottom - top}"}
            SubElement(image, "mask", {**told, "rle": ", ".join(map(str, counts)), **box, "z_order": "0"})
    return tostring(root, encoding="unicode", xml_declaration=True)
