"""JSON of LabelMe: polygons, rectangles, circles and painted masks of one picture; only masks have holes."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scripts.core.errors import InputError, Problem
from scripts.images.drawn.drawings import Drawing, cut_out, frame
from scripts.images.drawn.outlines import (
    Outline,
    Picture,
    ellipse,
    is_number,
    no_outline,
    no_polygon,
    rectangle,
    refuse_other_size,
    ring_of,
)
from scripts.images.drawn.pixel_borders import painted, runs_of_mask
from scripts.images.files.pictures import opened_picture
from scripts.images.png import mask_to_png

_KINDS = "polygon, rectangle, circle or mask"
_MASK = "2 points, its first and last pixel, and a PNG of their size in base64"


def is_form(content: Any) -> bool:
    """Tell LabelMe by its list of shapes."""
    return isinstance(content, Mapping) and isinstance(content.get("shapes"), list)


def read(content: Any, picture: Picture) -> Iterator[Outline | Problem]:
    """Yield the shapes of the file, and what is wrong with others.

    Raises:
        InputError: the file is about a picture of another size.
    """
    refuse_other_size((content.get("imageHeight"), content.get("imageWidth")), picture, "")
    for number, shape in enumerate(content["shapes"], 1):
        yield _of_shape(shape if isinstance(shape, Mapping) else {}, f"shape {number}", picture)


def _of_shape(shape: Mapping[str, Any], where: str, picture: Picture) -> Outline | Problem:
    kind, points, label = shape.get("shape_type") or "polygon", shape.get("points"), shape.get("label")
    name = label.strip() if isinstance(label, str) else ""
    if kind == "polygon":
        ring = ring_of(points)
        return no_outline(where) if ring is None else Outline((ring,), name)
    if kind not in ("rectangle", "circle", "mask"):
        return no_polygon(where, str(kind), _KINDS)
    two = _two(points)
    if two is None:
        return no_outline(where, f"2 points of a {kind}")
    (x0, y0), (x1, y1) = two
    if kind == "circle":
        radius = float(np.hypot(x1 - x0, y1 - y0))
        return Outline((ellipse((x0, y0), (radius, radius)),), name)
    left, right, top, bottom = min(x0, x1), max(x0, x1), min(y0, y1), max(y0, y1)
    if kind == "rectangle":
        return Outline((rectangle(left, top, right, bottom),), name)
    return _painted(shape.get("mask"), (left, top, right + 1, bottom + 1), name, where, picture)


def _two(points: Any) -> list[list[float]] | None:
    """Return two points; also of a rectangle that is written with four corners."""
    if isinstance(points, list) and len(points) == 4 and (ring := ring_of(points)) is not None:
        low, high = ring.min(axis=0).tolist(), ring.max(axis=0).tolist()
        return [low, high] if {tuple(point) for point in ring.tolist()} == _corners(low, high) else None
    good = isinstance(points, list) and len(points) == 2 and all(isinstance(p, list) and len(p) == 2 for p in points)
    return points if good and all(is_number(value) for point in points for value in point) else None


def _corners(low: list[float], high: list[float]) -> set[tuple[float, float]]:
    return {(x, y) for x in (low[0], high[0]) for y in (low[1], high[1])}


def _painted(data: Any, box: tuple[float, ...], name: str, where: str, picture: Picture) -> Outline | Problem:
    left, top, right, bottom = (int(value) for value in box)
    inside = 0 <= left < right <= picture.size[1] and 0 <= top < bottom <= picture.size[0]
    try:
        content = base64.b64decode(data, validate=True) if isinstance(data, str) and inside else b""
        with opened_picture(Path("mask.png"), content) as image:
            if (left, top, right, bottom) != box or image.size != (right - left, bottom - top):
                return no_outline(where, _MASK)
            mask = np.asarray(image.convert("L"))
    except (InputError, binascii.Error, ValueError):
        return no_outline(where, _MASK)
    return painted(runs_of_mask(mask), (left, top), name)


def write(drawings: Sequence[Drawing]) -> str:
    """Return the objects of one picture: polygons, and masks of those with holes."""
    (drawing,) = drawings
    shapes = []
    for outline in drawing.outlines:
        told: dict[str, Any] = {"shape_type": "polygon", "points": outline.rings[0].tolist(), "mask": None}
        if len(outline.rings) > 1:
            left, top, right, bottom = frame(outline)
            png = mask_to_png(cut_out(outline) * 255)
            told = {
                "shape_type": "mask",
                "points": [[left, top], [right - 1, bottom - 1]],
                "mask": base64.b64encode(png).decode(),
            }
        shapes.append({"label": outline.name, "group_id": None, "description": "", "flags": {}, **told})
    return json.dumps(
        {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": drawing.file, "imageData": None,
         "imageHeight": drawing.size[0], "imageWidth": drawing.size[1]}
    )  # fmt: skip
