"""Instances of COCO: JSON of many images with polygons, run lengths, or boxes alone.

Run lengths are decoded here, in both ways they are written: the library that COCO gives is compiled, and to read them
takes a few lines. Parts of an object are joined; COCO's polygons have no holes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from scripts.core.errors import InputError, Problem
from scripts.images.drawn.drawings import Drawing, counts_within, cut_out, frame
from scripts.images.drawn.outlines import (
    Outline,
    Picture,
    entry_of,
    is_number,
    no_outline,
    no_polygon,
    rectangle,
    refuse_other_size,
    ring_of,
)
from scripts.images.drawn.pixel_borders import counted

_FORM = "[[x, y, x, y, ...], ...] of 3 points or more, or run lengths"
_MOST_ID = 2**53  # larger ones cannot be told apart as floats
_LONGEST = 7  # characters of a run length


def is_form(content: Any) -> bool:
    """Tell COCO by its lists of images and annotations."""
    return isinstance(content, Mapping) and all(isinstance(content.get(key), list) for key in ("images", "annotations"))


def read(content: Any, picture: Picture) -> Iterator[Outline | Problem]:
    """Yield the objects of the picture, and what is wrong with others.

    Raises:
        InputError: the picture is not among the images, or has another size there; annotations are of no image.
    """
    images = [image for image in content["images"] if isinstance(image, Mapping) and _is_id(image.get("id"))]
    if len(images) < len(content["images"]) or len({image["id"] for image in images}) < len(images):
        raise InputError(Problem("images without an id of their own", "images", "each image with its id"))
    image = entry_of([(str(each.get("file_name", "")), each) for each in images], picture, "")
    refuse_other_size((image.get("height"), image.get("width")), picture, "")
    ids, names = {each["id"] for each in images}, _names(content.get("categories"))
    for number, each in enumerate(content["annotations"], 1):
        where = f"annotation {number}"
        if not isinstance(each, Mapping) or not _is_id(each.get("image_id")) or each["image_id"] not in ids:
            yield Problem("annotation of no image", where, "image_id of one of the images")
        elif each["image_id"] == image["id"]:
            category = each.get("category_id")
            yield from _of_object(each, where, names.get(category, "") if _is_id(category) else "", picture)


def names(content: Any) -> list[str]:
    """Return the file names of the images that have annotations."""
    drawn_on = {
        each.get("image_id")
        for each in content["annotations"]
        if isinstance(each, Mapping) and _is_id(each.get("image_id"))
    }
    images = [each for each in content["images"] if isinstance(each, Mapping) and _is_id(each.get("id"))]
    return [str(each.get("file_name", "")) for each in images if each["id"] in drawn_on]


def _is_id(value: Any) -> bool:
    return isinstance(value, str) or (type(value) in (int, float) and abs(value) <= _MOST_ID)


def _names(categories: Any) -> dict[Any, str]:
    known = [each for each in categories if isinstance(each, Mapping)] if isinstance(categories, list) else []
    return {each["id"]: str(each.get("name", "")).strip() for each in known if _is_id(each.get("id"))}


def _of_object(found: Mapping[str, Any], where: str, name: str, picture: Picture) -> Iterator[Outline | Problem]:
    shape, box = found.get("segmentation"), found.get("bbox")
    if isinstance(shape, Mapping):
        counts = shape.get("counts")
        lengths = _lengths(counts) if isinstance(counts, str) else counts
        outline = counted(lengths, picture.size, name=name, are_columns=True) if _is_whole(shape, picture) else None
        yield outline or Problem("not run lengths of the picture", where, _sizes(picture))
    elif shape:
        parts = shape if isinstance(shape, list) else [shape]
        rings = [ring_of(_pairs(part)) for part in parts]
        yield from (Outline((ring,), name) for ring in rings if ring is not None)
        if any(ring is None for ring in rings):
            yield no_outline(where, _FORM)
    elif isinstance(box, list) and len(box) == 4 and all(map(is_number, box)) and min(box[2:]) > 0:
        yield Outline((rectangle(box[0], box[1], box[0] + box[2], box[1] + box[3]),), name)
    else:
        yield no_polygon(where, "keypoints" if found.get("keypoints") else "no segmentation")


def _is_whole(shape: Mapping[str, Any], picture: Picture) -> bool:
    return shape.get("size") == list(picture.size)


def _sizes(picture: Picture) -> str:
    return f"size {list(picture.size)} and counts that fill it"


def _pairs(part: Any) -> list[Any] | None:
    """Return [x, y, x, y, ...] as points; None where a number is over."""
    return list(zip(part[::2], part[1::2], strict=True)) if isinstance(part, list) and len(part) % 2 == 0 else None


def _lengths(text: str) -> list[int] | None:
    """Return run lengths that stand in a text: five bits a character, from the fourth on less the last but one."""
    if not text.isascii():
        return None
    codes = np.frombuffer(text.encode(), np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(codes & 32 == 0) + 1
    digits = np.diff(ends, prepend=0)
    if not len(ends) or ends[-1] != len(codes) or not ((codes >= 0) & (codes < 64)).all() or digits.max() > _LONGEST:
        return None
    begins = ends - digits
    places = np.arange(len(codes)) - np.repeat(begins, digits)
    values = np.add.reduceat((codes & 31) << 5 * places, begins)
    values -= (codes[ends - 1] >> 4 & 1) << 5 * digits  # of numbers below zero
    values[1::2], values[2::2] = np.cumsum(values[1::2]), np.cumsum(values[2::2])
    lengths: list[int] = values.tolist()
    return lengths


def write(drawings: Sequence[Drawing]) -> str:
    """Return the objects of all pictures: polygons, and run lengths of those with holes."""
    names = sorted({outline.name for drawing in drawings for outline in drawing.outlines})
    images: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    for image_id, drawing in enumerate(drawings, 1):
        height, width = drawing.size
        images.append({"id": image_id, "file_name": drawing.file, "width": width, "height": height})
        for outline in drawing.outlines:
            left, top, right, bottom = frame(outline)
            mask = cut_out(outline)
            has_holes = len(outline.rings) > 1
            columns = np.pad(mask, ((top, height - bottom), (0, 0))).ravel(order="F")
            counts = counts_within(columns, left * height, (width - right) * height) if has_holes else []
            shape = {"size": [height, width], "counts": counts} if has_holes else None
            objects.append({
                "id": len(objects) + 1, "image_id": image_id, "category_id": names.index(outline.name) + 1,
                "segmentation": shape or [outline.rings[0].ravel().tolist()], "area": int(mask.sum()),
                "bbox": [left, top, right - left, bottom - top], "iscrowd": int(has_holes),
            })  # fmt: skip
    categories = [{"id": at, "name": name, "supercategory": ""} for at, name in enumerate(names, 1)]
    return json.dumps({"images": images, "annotations": objects, "categories": categories})
