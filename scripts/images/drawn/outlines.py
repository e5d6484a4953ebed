"""Outlines drawn in other programs: what one is, of which picture, and what all readers of such files need.

Coordinates are pixels of the image, (x, y), with the origin at the outer corner of the first pixel;
:mod:`scripts.images.drawn.outline_drawing` makes masks of them, :mod:`scripts.images.drawn.outline_files` reads files.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, TypeVar
from urllib.parse import unquote

import numpy as np

from scripts.core.errors import InputError, Problem, listed
from scripts.images.files.names import image_stem

FARTHEST_PX = 1e7
"""Of a coordinate from the origin, pixels: no image is larger, and sums of such numbers stay exact."""
RANGE = f"numbers of at most {FARTHEST_PX:.0f} pixels"
LINE = "lines and points have no area; draw polygons"
_FLAT = 0.01  # pixels that the polygon in place of a circle is off at most
_UPLOADED = re.compile(r"[0-9a-f]{8}-")  # what Label Studio puts before names
Entry = TypeVar("Entry")


@dataclass(frozen=True)
class Outline:
    """One shape.

    Attributes:
        rings: arrays (N, 2) float64 of (x, y). A point is inside if an odd number of them is around it: the first is
            the border, the others are holes; those of a painted mask are its borders in any order.
        name: class that it was given in the drawing program, ``""`` for none.
        is_hole: what is inside is taken off the shapes before it.
    """

    rings: tuple[np.ndarray, ...]
    name: str = ""
    is_hole: bool = False


@dataclass(frozen=True)
class Picture:
    """The image that a file is for.

    Attributes:
        size: (H, W).
        names: file names without suffix that it goes by.
    """

    size: tuple[int, int]
    names: tuple[str, ...] = ()


def load_json(text: str) -> Any:
    """Return what JSON holds, all numbers as floats. Raises ``InputError`` where it is none."""
    try:
        # Whole numbers as floats: one of 400 digits is infinite then, and no error.
        return json.loads(text, parse_int=float, object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:
        raise InputError(Problem("outlines are not JSON", "", found=str(error))) from error


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; of a key that stands there twice one value would be lost without a word."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def is_number(value: Any) -> bool:
    """Tell a number that can be a coordinate from all others, from texts and truth values."""
    return type(value) in (int, float) and abs(value) <= FARTHEST_PX  # false for NaN as well


def text_number(text: str | None) -> float:
    """Return a number in XML. Raises ``ValueError``, also for ``1_0``, which is a number for Python alone."""
    number = math.nan if text is None or "_" in text else float(text)
    if not is_number(number):
        raise ValueError("no number, or one that is too large")
    return number


def ring_of(points: Any) -> np.ndarray | None:
    """Return the points [x, y, ...] of a ring as (N, 2) float64; None where they are none, or fewer than three."""
    if not isinstance(points, list) or len(points) < 3 or not all(map(_is_point, points)):
        return None
    return np.array([point[:2] for point in points], dtype=np.float64)


def _is_point(point: Any) -> bool:
    return isinstance(point, list | tuple) and len(point) >= 2 and all(map(is_number, point[:2]))


def rectangle(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """Return a rectangle as a ring."""
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=np.float64)


def ellipse(centre: tuple[float, float], radii: tuple[float, float]) -> np.ndarray:
    """Return an ellipse as a ring that is off by a hundredth of a pixel at most, of radii up to 10 000 pixels."""
    count = min(max(16, math.ceil(math.pi * math.sqrt(max(*radii, 1e-9) / (2 * _FLAT)))), 2**12)
    angles = np.arange(count) * (2 * math.pi / count)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii + centre


def turned(ring: np.ndarray, degrees: float, about: tuple[float, float]) -> np.ndarray:
    """Return a ring turned around a point, clockwise as it is seen."""
    if not degrees:
        return ring
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    turn: np.ndarray = (ring - about) @ np.array([[cosine, sine], [-sine, cosine]]) + about
    return turn


def no_polygon(where: str, found: str, expected: str = "polygons and other shapes with an area") -> Problem:
    """Say of a shape that it has no area."""
    return Problem("not a polygon", where, expected, found[:80], f"{LINE}.")


def no_outline(where: str, expected: str = "") -> Problem:
    """Say of the coordinates of a shape that they are none."""
    return Problem("coordinates are no outline", where, expected or f"3 or more (x, y), {RANGE}")


def entry_of(entries: Sequence[tuple[str, Entry]], picture: Picture, where: str) -> Entry:
    """Return what a file says about one picture: all of it if it is about one only, else by the name.

    Args:
        entries: (file name, what is said), as the file has them; see :func:`stems_of`.
        picture: the one that is looked for.
        where: the file.

    Raises:
        InputError: none has the picture's name, or several.
    """
    if len(entries) == 1:
        return entries[0][1]
    found = [entry for name, entry in entries if not stems_of(name).isdisjoint(picture.names)]
    if len(found) != 1:
        what = "several images of the file have the picture's name" if found else "no image of the file is the picture"
        there = f"{len(entries)} images: {listed([name[:80] for name, _ in entries], 5)}" if entries else "no image"
        cure = "Export the picture's annotations alone, or name its image there as the picture."
        raise InputError(Problem(what, where, listed(picture.names, 3) or "one image", there, cure))
    return found[0]


def stems_of(name: str) -> set[str]:
    """Return what a picture may be called that a file names so: without folder, suffix, and what stands before it."""
    last = PurePosixPath(unquote(name).replace("\\", "/").rpartition("?d=")[2]).name
    return {image_stem(each) for each in (last, PurePosixPath(name).name, _UPLOADED.sub("", last, count=1)) if each}


def refuse_other_size(told: Sequence[Any], picture: Picture, where: str) -> None:
    """Raise InputError where a file tells another (H, W) of its image; None in it is not known."""
    if None not in told and tuple(told) != picture.size:
        sizes = (
            f"{picture.size[1]} x {picture.size[0]} pixels",
            " x ".join(f"{each:g}" if is_number(each) else f"{each!r:.20}" for each in reversed(told)),
        )
        cure = "Draw on the picture that was given out, without resizing."
        raise InputError(Problem("outlines of another picture", where, *sizes, cure))
