"""Masks of outlines. A pixel is inside where its centre is: even-odd rule over the rings, so inner rings are holes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scripts.core.errors import InputError, Problem, listed
from scripts.images.drawn.outlines import Outline
from scripts.images.values import IGNORE

IGNORED = ("ignore", "ignore*")
"""Names of shapes whose pixels count nowhere, in lower case."""
_MOST_EFFORT = 10**9
_CROSSING_EFFORT = 30  # a row that an edge crosses takes as long as so many pixels of a shape's frame
_CROSSINGS_AT_ONCE = 2**20
_WHOLE = 0.99


def draw_outlines(outlines: Sequence[Outline], size: tuple[int, int]) -> np.ndarray:
    """Return the mask of some outlines, uint8 (H, W): 1 inside, 255 inside one named "ignore", which wins, else 0.

    What a hole takes off, it takes off those before it, of its kind.

    Args:
        outlines: what lies outside the image is cut off.
        size: (H, W).
    """
    mask = np.zeros(size, np.uint8)
    for outline in outlines:
        if outline.name.lower() not in IGNORED:
            _fill(mask, outline.rings, 0 if outline.is_hole else 1)
    mask[_ignored(outlines, size) == 1] = IGNORE
    return mask


def draw_numbered(outlines: Sequence[Outline], size: tuple[int, int]) -> np.ndarray:
    """Return the shapes as objects of their own, int64 (H, W): the number of each, from 1; 0 where it is not drawn.

    Args:
        outlines: as for :func:`draw_outlines`; a later one covers those before it.
        size: (H, W).
    """
    objects = np.zeros(size, np.int64)
    for number, outline in enumerate(outlines, start=1):
        if outline.name.lower() not in IGNORED:
            _fill(objects, outline.rings, 0 if outline.is_hole else number)
    objects[_ignored(outlines, size) == 1] = 0
    return objects


def _ignored(outlines: Sequence[Outline], size: tuple[int, int]) -> np.ndarray:
    inside = np.zeros(size, np.uint8)
    for outline in outlines:
        if outline.name.lower() in IGNORED:
            _fill(inside, outline.rings, 0 if outline.is_hole else 1)
    return inside


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
    drawn = [outline for outline, name in named if not name or not _is_around(outline, size)]
    return said[0] if said else "", drawn


def refuse_costly(outlines: Sequence[Outline], size: tuple[int, int], where: str) -> None:
    """Raise InputError where drawing takes far longer than any drawing by hand: what is sent says little about it.

    Args:
        outlines: of one image.
        size: (H, W) of the image.
        where: file that they come from.
    """
    effort = 0
    for outline in outlines:
        frame = _frame(outline.rings, size)
        if frame is not None:
            top, bottom, left, right = frame
            _, _, count = _crossed_rows(_edges(outline.rings), top, bottom)
            effort += (bottom - top) * (right - left) + _CROSSING_EFFORT * int(count.sum())
        if effort > _MOST_EFFORT:
            expected = f"frames of {_MOST_EFFORT} pixels together"
            cure = "Simplify them, leave out those that lie over each other, or send a PNG."
            raise InputError(Problem("outlines take too long to draw", where, expected, "more", cure))


def refuse_outside(outlines: Sequence[Outline], size: tuple[int, int], where: str) -> None:
    """Raise InputError for shapes of which nothing is in the image, and for fractions of it in place of pixels.

    Args:
        outlines: of one image.
        size: (H, W) of the image.
        where: file that they come from.
    """
    frames = _frames(outlines)
    if len(frames) and min(size) > 2 and (frames <= 1.0).all():
        cure = "Save it in pixels of the picture."
        expected = f"pixels, up to {size[1]} x {size[0]}"
        raise InputError(Problem("no coordinate is above 1: fractions of the image", where, expected, "0 to 1", cure))
    beside = (frames[:, 2:] < 0).any(axis=1) | (frames[:, 0] > size[1]) | (frames[:, 1] > size[0])
    if beside.any():
        numbers = listed([str(number + 1) for number in np.flatnonzero(beside)], 5)
        cure = "Save them in pixels of the picture, or take them out."
        expected = f"within {size[1]} x {size[0]} pixels"
        what = f"{_shapes(int(beside.sum()))} outside the picture"
        found = _extent(frames[beside])
        raise InputError(Problem(what, f"{where} shape {numbers}", expected, found, cure))


def reaching_out(outlines: Sequence[Outline], size: tuple[int, int]) -> str:
    """Return what to know of shapes of which more than a pixel is cut off at the border of the image; "" for none."""
    frames = _frames(outlines)
    out = (frames[:, :2] < -1).any(axis=1) | (frames[:, 2] > size[1] + 1) | (frames[:, 3] > size[0] + 1)
    if not out.any():
        return ""
    return f"{_shapes(int(out.sum()))} partly outside the picture ({_extent(frames[out])}), which is cut off"


def _frames(outlines: Sequence[Outline]) -> np.ndarray:
    """Return (N, 4) float64: lowest x and y, highest x and y of each outline."""
    points = [np.concatenate(outline.rings) for outline in outlines]
    return np.array([[*each.min(axis=0), *each.max(axis=0)] for each in points], dtype=np.float64).reshape(-1, 4)


def _shapes(count: int) -> str:
    return f"{count} shapes lie" if count > 1 else "1 shape lies"


def _extent(frames: np.ndarray) -> str:
    (x0, y0), (x1, y1) = frames[:, :2].min(axis=0), frames[:, 2:].max(axis=0)
    return f"x {x0:.0f}..{x1:.0f}, y {y0:.0f}..{y1:.0f}"


def _is_around(outline: Outline, size: tuple[int, int]) -> bool:
    """Tell whether an outline holds 99 % of the image; its frame is looked at before it is drawn."""
    whole = _WHOLE * size[0] * size[1]
    frame = _frame(outline.rings, size)
    if frame is None or (frame[1] - frame[0]) * (frame[3] - frame[2]) < whole:
        return False
    return bool(np.count_nonzero(draw_outlines([outline], size)) >= whole)


def _fill(mask: np.ndarray, rings: Sequence[np.ndarray], value: int) -> None:
    """Set the pixels of ``mask`` whose centre is inside: an odd number of edges crosses their row left of it."""
    frame = _frame(rings, (mask.shape[0], mask.shape[1]))
    if frame is None:
        return
    top, bottom, left, right = frame
    edges, first, count = _crossed_rows(_edges(rings), top, bottom)
    width = right - left + 1
    crossings = np.zeros((bottom - top) * width, np.uint8)  # only odd or even counts, which survives an overflow
    for part in _parts(count):
        x0, y0, x1, y1 = (np.repeat(edges[part, i], count[part]) for i in range(4))
        begins = np.cumsum(count[part]) - count[part]
        rows = np.repeat(first[part] - begins, count[part]) + np.arange(len(x0))
        x = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
        column = np.clip(np.ceil(x - 0.5), left, right).astype(np.int64) - left  # first pixel right of the edge
        np.add.at(crossings, (rows - top) * width + column, np.uint8(1))
    odd = np.bitwise_xor.accumulate(crossings.reshape(-1, width) & 1, axis=1)
    mask[top:bottom, left:right][odd[:, :-1] == 1] = value


def _frame(rings: Sequence[np.ndarray], size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Return the rows and columns of the image around some rings: top, bottom, left, right; None where none is."""
    points = np.concatenate(rings)
    (left, top), (right, bottom) = np.floor(points.min(axis=0)), np.ceil(points.max(axis=0))
    top, bottom, left, right = max(0, int(top)), min(size[0], int(bottom)), max(0, int(left)), min(size[1], int(right))
    return (top, bottom, left, right) if bottom > top and right > left else None


def _edges(rings: Sequence[np.ndarray]) -> np.ndarray:
    """Return (N, 4) float64: x and y of both ends of every edge of closed rings."""
    return np.concatenate([np.concatenate([ring, np.roll(ring, -1, axis=0)], axis=1) for ring in rings])


def _crossed_rows(edges: np.ndarray, top: int, bottom: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the edges, (N, 4), that cross centres of rows ``top`` to ``bottom``; for each the first row, and how many.

    Rows count whose centre is in [low, high) of the edge: half-open, so that a vertex on a centre counts once.
    """
    low, high = np.minimum(edges[:, 1], edges[:, 3]), np.maximum(edges[:, 1], edges[:, 3])
    first = np.maximum(top, np.ceil(low - 0.5)).astype(np.int64)
    count = np.minimum(bottom, np.ceil(high - 0.5)).astype(np.int64) - first
    crosses = count > 0
    return edges[crosses], first[crosses], count[crosses]


def _parts(count: np.ndarray) -> list[slice]:
    """Return slices of edges that cross about a million rows each, so that memory does not grow with the outline."""
    if not len(count):
        return []
    number = (np.cumsum(count) - 1) // _CROSSINGS_AT_ONCE
    ends = [*np.flatnonzero(np.diff(number)) + 1, len(count)]
    return [slice(begin, end) for begin, end in zip([0, *ends[:-1]], ends, strict=True)]
