"""A round whose images are regions of slides: a GeoJSON per slide with a rectangle for each region, proposals inside.

QuPath opens it over the slide (*File › Import objects from file*). Coordinates are pixels of level 0.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scripts.annotation.person_oracle import AskedImage
from scripts.core.files import file_stem, make_folder, write_atomic
from scripts.data.datalist import DataList
from scripts.images.drawn.drawings import FOREGROUND_NAME, closed, drawing_of
from scripts.images.drawn.outlines import Outline, rectangle
from scripts.images.drawn.placed import put_back
from scripts.images.files.names import is_region
from scripts.images.png import png_to_mask
from scripts.images.slide_files.box import Box
from scripts.images.slide_files.region import Region, load_region
from scripts.images.windows import Window

FOLDER = "slides"
RECTANGLE = "Region*"
"""Class of the rectangles; a star tells QuPath that it is no kind of tissue."""
_README = """\
A file for each slide: import it into QuPath over the slide (File > Import objects from file).

Each rectangle is a region that is asked for. Draw in it what is to be found; proposals to begin with are there.
* A rectangle that is in what you hand in was judged: what is not drawn in it is background.
* Delete a rectangle (it is locked: unlock it first) that you do not answer; it is asked for again.
* If you judged a part of a region only, draw a rectangle around that part and give it the name of the region: what
  lies outside is ignored, not background. Shapes of the class Ignore are ignored, too.
* Shapes outside of all rectangles are left out.

When it is done: File > Export objects as GeoJSON, all objects, into the folder masks, under any name.
"""
_IDS = uuid.UUID("0f0d3c0e-7c2b-4d5e-9a51-5a1d8b0b2f64")  # namespace of the ids of objects
_DIGITS = 2


@dataclass(frozen=True)
class Place:
    """Where a region of a run lies.

    Attributes:
        slide: absolute path of the slide.
        region: what its file says.
    """

    slide: Path
    region: Region


def places_of(data: DataList) -> dict[str, Place]:
    """Return where the training images of a run lie that are regions of slides; ``InputError`` for a damaged file."""
    found = {}
    for item in data.items:
        if item["split"] == "train" and is_region(item["image"]):
            region = load_region(item["image"])
            found[item["id"]] = Place(region.slide_path(Path(item["image"])), region)
    return found


def write_slides(folder: Path, asked: Sequence[AskedImage], places: Mapping[str, Place]) -> list[Path]:
    """Write a file for each slide that a round asks about, and return them; files that are there are kept.

    Args:
        folder: of the round, with the proposals in ``start``.
        asked: images of the round.
        places: of the regions among them.

    Raises:
        StateError: a file cannot be written.
    """
    by_slide: dict[Path, list[AskedImage]] = {}
    for image in asked:
        if image.id in places:
            by_slide.setdefault(places[image.id].slide, []).append(image)
    files = []
    for slide, images in by_slide.items():
        path = folder / FOLDER / f"{_name(slide, by_slide)}.geojson"
        features = [each for image in images for each in _features(folder, image, places[image.id].region)]
        make_folder(path.parent)
        text = json.dumps({"type": "FeatureCollection", "features": features}).encode()
        if not path.is_file() or path.read_bytes() != text:
            write_atomic(path, text)
        files.append(path)
    if files:
        write_atomic(folder / FOLDER / "README.txt", _README.encode())
    return files


def _name(slide: Path, others: Mapping[Path, Any]) -> str:
    alike = sorted(other for other in others if other.stem == slide.stem)
    return slide.stem if len(alike) == 1 else f"{slide.stem}_{alike.index(slide) + 1}"


def _features(folder: Path, image: AskedImage, region: Region) -> list[dict[str, Any]]:
    """Return the rectangle of a region and the polygons of its proposal."""
    area = asked_area(region, image.window)
    corners = rectangle(area.left, area.top, area.right, area.bottom)
    found = [_feature(image.id, "", Outline((corners,), RECTANGLE), name=image.id, isLocked=True)]
    mask = png_to_mask((folder / "start" / f"{file_stem(image.id)}.png").read_bytes())
    for number, outline in enumerate(drawing_of("", (mask > 0).astype(np.uint8)).outlines):
        on_slide = put_back(outline, region.area, region.size)
        found.append(_feature(image.id, str(number), Outline(on_slide.rings, FOREGROUND_NAME)))
    return found


def asked_area(region: Region, window: Window | None) -> Box:
    """Return the part of a slide that is asked for, in pixels of level 0."""
    if window is None:
        return region.area
    box = Box(window.top, window.left, window.top + window.height, window.left + window.width)
    return box.scaled(region.scale).moved(-region.area.top, -region.area.left)


def _feature(key: str, part: str, outline: Outline, **properties: Any) -> dict[str, Any]:
    rings = [closed(ring).round(_DIGITS).tolist() for ring in outline.rings]
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(_IDS, f"{key}/{part}")),
        "geometry": {"type": "Polygon", "coordinates": rings},
        "properties": {"objectType": "annotation", "classification": {"name": outline.name}, **properties},
    }
