"""Boxes around objects, as people draw them in place of outlines: read from files, and what makes masks of them.

Three kinds of files say that they hold boxes: JSON with a key ``boxes``, JSON of Label Studio with rectangles alone,
and, where the caller says so, other files whose shapes are all rectangles along the axes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from scripts.core.errors import InputError, Problem
from scripts.images.drawn.forms import label_studio
from scripts.images.drawn.outline_drawing import IGNORED
from scripts.images.drawn.outlines import Outline, Picture, load_json

_MOST_BYTES = 16 * 1024**2
_MOST_BOXES = 2_000  # each takes a tenth of a second
_MOST_VALUES = 1_000_000
_FORM = "[x0, y0, x1, y1] in pixels, x0 < x1 and y0 < y1"


class BoxModel(Protocol):
    """What makes masks of boxes, such as :class:`scripts.networks.promptable.lite_medsam.LiteMedSAM`."""

    def require(self) -> None:
        """Raise ``InputError`` where it cannot be used."""
        ...

    def foreground(self, key: str, image: Callable[[], np.ndarray], boxes: np.ndarray) -> np.ndarray:
        """Return the probability (H, W) float32 that a pixel belongs to the object of any box (N, 4)."""
        ...


def read_boxes(path: Path, picture: Picture, content: bytes | None = None) -> np.ndarray | None:
    """Return the boxes of a JSON file, float64 (N, 4): x0, y0, x1, y1 in pixels; None for a file of something else.

    Args:
        path: the file; only ``.json`` is looked at.
        picture: the image that it is for.
        content: its bytes, where they have been read.

    Raises:
        InputError: boxes that are none, lie outside of the image, or are too many; rectangles of Label Studio that are
            turned, or as :func:`scripts.images.drawn.forms.label_studio.results_of`.
    """
    if path.suffix.lower() != ".json":
        return None
    found, size = _json_of(path, content), picture.size
    if isinstance(found, Mapping) and "boxes" in found:
        return _checked(found["boxes"], path.name, size)
    if not label_studio.is_form(found):
        return None
    try:
        shapes = label_studio.results_of(found, picture)
    except InputError as error:
        raise InputError([replace(problem, where=path.name) for problem in error.problems]) from error
    if not shapes or not all(shape.get("type") in ("rectanglelabels", "rectangle") for shape in shapes):
        return None  # outlines
    return _checked([_of_label_studio(shape, path.name, size) for shape in shapes], path.name, size)


def _json_of(path: Path, content: bytes | None) -> Any:
    """Return what a file of boxes holds; None for one that cannot be one: outlines then say what is wrong with it."""
    try:
        if (path.stat().st_size if content is None else len(content)) > _MOST_BYTES:
            return None
        data = path.read_bytes() if content is None else content
        is_one = b'"boxes"' in data or b'"annotations"' in data
        if not is_one or sum(map(data.count, (b",", b"[", b"{"))) > _MOST_VALUES:  # before it takes memory
            return None
        return load_json(data.decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None


def texts_of_boxes(content: bytes) -> dict[str, str]:
    """Return what JSON with a key ``boxes`` says besides: ``annotator`` and ``seconds``, as texts; none of others."""
    try:
        found = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, Mapping) or "boxes" not in found:
        return {}
    told = {name: found.get(name) for name in ("annotator", "seconds")}
    return {name: str(value) for name, value in told.items() if isinstance(value, str | int | float)}


def boxes_of_outlines(outlines: Sequence[Outline]) -> np.ndarray | None:
    """Return outlines as boxes, float64 (N, 4), if each is a rectangle along the axes; None where one is not.

    A shape whose pixels are to be ignored is no box either, and a hole is none.
    """
    boxes = []
    for outline in outlines:
        if outline.name.lower() in IGNORED or outline.is_hole:
            return None
        ring = outline.rings[0]
        corners = ring[:-1] if len(ring) == 5 and (ring[0] == ring[-1]).all() else ring
        low, high = ring.min(axis=0), ring.max(axis=0)
        at_corner = np.isclose(corners, low) | np.isclose(corners, high)
        along = (np.diff(np.concatenate([corners, corners[:1]]), axis=0) == 0).sum(axis=1) == 1
        if len(outline.rings) > 1 or len(corners) != 4 or not at_corner.all() or not along.all():
            return None
        boxes.append([*low, *high])
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def _of_label_studio(result: Mapping[str, Any], where: str, size: tuple[int, int]) -> list[Any]:
    """Return the box of a rectangle of Label Studio, whose numbers are percents of the picture."""
    value = result.get("value")
    numbers: list[Any] = [value.get(n) for n in ("x", "y", "width", "height")] if isinstance(value, Mapping) else []
    if len(numbers) != 4 or not all(_is_number(number) for number in numbers):
        raise InputError(Problem("not a rectangle of Label Studio", where, "x, y, width and height in percent"))
    if isinstance(value, Mapping) and value.get("rotation"):
        raise InputError(Problem("rectangle is turned", where, "rotation 0", f"{value['rotation']}"))
    x, y, width, height = numbers
    across, down = size[1] / 100.0, size[0] / 100.0
    return [x * across, y * down, (x + width) * across, (y + height) * down]


def _checked(boxes: Any, where: str, size: tuple[int, int]) -> np.ndarray:
    if not isinstance(boxes, list) or len(boxes) > _MOST_BOXES:
        count = f"{len(boxes)}" if isinstance(boxes, list) else type(boxes).__name__
        raise InputError(Problem("not a list of boxes", where, f"at most {_MOST_BOXES} of {_FORM}", count))
    bad = [at for at, box in enumerate(boxes, 1) if not _is_box(box)]
    if bad:
        raise InputError(
            Problem("not a box", f"{where} box {bad[0]}, {len(bad)} in all", _FORM, f"{boxes[bad[0] - 1]}"[:80])
        )
    found = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    outside = (found[:, 2] <= 0) | (found[:, 3] <= 0) | (found[:, 0] >= size[1]) | (found[:, 1] >= size[0])
    if outside.any():
        at, expected = int(np.flatnonzero(outside)[0]), f"within {size[1]} x {size[0]} pixels"
        cure = "Save them in pixels of the picture."
        text = f"{where} box {at + 1}, {int(outside.sum())} in all"
        raise InputError(Problem("box lies outside the image", text, expected, f"{boxes[at]}"[:80], cure))
    return np.clip(found, 0.0, [size[1], size[0], size[1], size[0]])


def _is_box(box: Any) -> bool:
    return isinstance(box, list) and len(box) == 4 and all(map(_is_number, box)) and box[0] < box[2] and box[1] < box[3]


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= 1e7  # false for NaN as well
