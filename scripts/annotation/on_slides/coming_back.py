"""A GeoJSON of a slide that somebody drew on: cut into a file of outlines for each region whose rectangle is in it.

A rectangle says that the region was looked at: what is not drawn in it is background. A region without its rectangle
is not answered. Where rectangles of its name are smaller than the region, only what lies in all of them was judged,
and the rest is ignored.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from scripts.annotation.found_files import Found
from scripts.annotation.on_slides.going_out import RECTANGLE, Place
from scripts.core.errors import InputError, Problem, listed
from scripts.core.files import file_stem, temporary_folder, writing
from scripts.images.drawn.drawings import IGNORE_NAME, Drawing
from scripts.images.drawn.forms import geojson
from scripts.images.drawn.outline_files import MOST_BYTES, read_outlines
from scripts.images.drawn.outlines import Outline, Picture, load_json, rectangle
from scripts.images.drawn.placed import cut_to
from scripts.images.slide_files.box import Box
from scripts.images.slide_files.region import Region

logger = logging.getLogger(__name__)
_SLACK = 0.5  # pixels of a region by which its rectangle may have moved on the way


def on_regions(found: Found, places: Mapping[str, Place], known: bool) -> Iterator[Found]:
    """Yield a file for each region that a GeoJSON of a slide answers; any other file as it is.

    Args:
        found: the file.
        places: of the regions of the run.
        known: whether the file has the name of an image of the run, and so is about that alone.

    Raises:
        InputError: the file is about a slide of the run and has none of the rectangles, or a rectangle is none.
    """
    slides = {place.slide.stem for place in places.values()}
    if known or not places or found.path.suffix.lower() not in (".geojson", ".json"):
        yield found
        return
    judged, drawn = _parted(found.path, places)
    if not judged:
        if found.key not in slides:
            yield found
            return
        cure = "Export all objects of the slide: the rectangles tell which regions were judged."
        raise InputError(
            Problem("no rectangle of a region in the file", found.origin, "as they were given out", "none", cure)
        )
    outlines = _outlines(found.path, drawn)
    _tell_of_outside(found, outlines, judged)
    with temporary_folder("regions-") as folder:
        for key, area in judged.items():
            path = folder / f"{file_stem(key)}.geojson"
            with writing(path):
                path.write_text(_answer(outlines, area, places[key].region), encoding="utf-8")
            yield replace(found, path=path, image=key, origin=f"{found.origin}/{file_stem(key)}")


def _parted(path: Path, places: Mapping[str, Place]) -> tuple[dict[str, Box], list[Any]]:
    """Return region -> what was judged of its slide, and the features that are no rectangles of regions."""
    try:
        if path.stat().st_size > MOST_BYTES:
            return {}, []  # said by the reader of outlines
        content = load_json(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, InputError):
        return {}, []
    features = content.get("features") if isinstance(content, Mapping) else content
    judged: dict[str, Box] = {}
    drawn = []
    for feature in features if isinstance(features, list) else [content]:
        properties = feature.get("properties") if isinstance(feature, Mapping) else None
        key = properties.get("name") if isinstance(properties, Mapping) else None
        if not isinstance(key, str) or key not in places:
            drawn.append(feature)
            continue
        box = _box_of(path, feature, key)
        before = judged.get(key, places[key].region.area)
        both = Box(*np.maximum(box[:2], before[:2]).tolist(), *np.minimum(box[2:], before[2:]).tolist())
        if min(both.size) <= 0:
            cure = "Put the rectangle back, or take it out where the region is not answered."
            area = list(places[key].region.area)
            raise InputError(
                Problem("rectangle does not lie on its region", f"{path.name} {key}", f"{area}", f"{list(box)}", cure)
            )
        judged[key] = both
    return judged, drawn


def _box_of(path: Path, feature: Mapping[str, Any], key: str) -> Box:
    """Return the rectangle of a feature; ``InputError`` for another shape, whose border nobody could tell."""
    found = [each for each in geojson.read(feature, Picture((1, 1))) if isinstance(each, Outline)]
    ring = found[0].rings[0] if len(found) == 1 and len(found[0].rings) == 1 else np.zeros((0, 2))
    if len(ring):
        (left, top), (right, bottom) = ring.min(axis=0), ring.max(axis=0)
        corners = rectangle(left, top, right, bottom)
        on_sides = ((ring == corners[0]) | (ring == corners[2])).any(axis=1).all()
        if on_sides and all((ring == corner).all(axis=1).any() for corner in corners):
            return Box(float(top), float(left), float(bottom), float(right))
    cure = "Draw the part that was judged as a rectangle, or give the shape another name."
    raise InputError(
        Problem("region's shape is no rectangle", f"{path.name} {key}", "a rectangle", "another shape", cure)
    )


def _outlines(path: Path, features: list[Any]) -> list[Outline]:
    """Return what was drawn, in pixels of level 0, without shapes that only mark places."""
    text = json.dumps({"type": "FeatureCollection", "features": features}).encode()
    return [each for each in read_outlines(path, Picture((1, 1)), text) if each.name != RECTANGLE]


def _tell_of_outside(found: Found, outlines: list[Outline], judged: Mapping[str, Box]) -> None:
    frames = np.array([[*each.rings[0].min(axis=0), *each.rings[0].max(axis=0)] for each in outlines]).reshape(-1, 4)
    inside = np.zeros(len(frames), bool)
    for area in judged.values():
        inside |= ((frames[:, :2] < (area.right, area.bottom)) & (frames[:, 2:] > (area.left, area.top))).all(axis=1)
    if not inside.all():
        numbers = listed([str(number + 1) for number in np.flatnonzero(~inside)], 5)
        logger.warning("%s: %d shapes lie in no rectangle and are left out: %s", found.origin, (~inside).sum(), numbers)


def _answer(outlines: list[Outline], judged: Box, region: Region) -> str:
    """Return what was drawn in a region as GeoJSON in its own pixels."""
    height, width = region.size
    drawn = cut_to(outlines, region.area, region.size)
    (corners,) = cut_to(
        [Outline((rectangle(judged.left, judged.top, judged.right, judged.bottom),))], region.area, region.size
    )
    (left, top), (right, bottom) = corners.rings[0].min(axis=0), corners.rings[0].max(axis=0)
    if max(left, top, width - right, height - bottom) > _SLACK:
        around = (rectangle(0, 0, width, height), rectangle(left, top, right, bottom))
        drawn.append(Outline(around, IGNORE_NAME))
    named = tuple(replace(each, rings=tuple(ring.round(3) for ring in each.rings)) for each in drawn)
    return geojson.write([Drawing("", region.size, named)])
