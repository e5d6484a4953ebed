"""JSON of Label Studio: of each task one annotation, with polygons, rectangles, ellipses and brush strokes.

Coordinates are percents of the picture. Strokes are run lengths of its four channels, of which the last counts.
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
    ellipse,
    entry_of,
    is_number,
    no_outline,
    no_polygon,
    rectangle,
    refuse_other_size,
    ring_of,
    turned,
)
from scripts.images.drawn.pixel_borders import painted, runs_of_spans
from scripts.images.files.names import image_suffix

BESIDE = ("choices", "taxonomy", "rating", "textarea", "labels")
"""What an annotation tells besides shapes."""
_FORM = {
    "polygon": "3 or more points in percent, closed",
    "rectangle": "x, y, width and height in percent",
    "ellipse": "x, y, radiusX and radiusY in percent",
    "brush": "format rle, and rle of the whole picture",
}
_CHANNELS = 4
_MOST_RUNS = 250_000


def is_form(content: Any) -> bool:
    """Tell Label Studio by its tasks, which have annotations with results; COCO's have none."""
    tasks = content if isinstance(content, list) else [content]
    return bool(tasks) and all(map(_is_task, tasks))


def _is_task(found: Any) -> bool:
    annotations = found.get("annotations") if isinstance(found, Mapping) else None
    if not isinstance(annotations, list) or not (annotations or isinstance(found.get("data"), Mapping)):
        return False
    return all(isinstance(each, Mapping) and isinstance(each.get("result"), list) for each in annotations)


def results_of(content: Any, picture: Picture) -> list[Mapping[str, Any]]:
    """Return the shapes of a picture as they stand in the file, without what is told beside them.

    Raises:
        InputError: the picture has no task, or not one annotation; it has another size there, or was turned.
    """
    tasks = content if isinstance(content, list) else [content]
    annotations = entry_of([(_name(task), task) for task in tasks], picture, "")["annotations"]
    if len(annotations) != 1 or annotations[0].get("was_cancelled"):
        count = "a skipped one" if len(annotations) == 1 else f"{len(annotations)}"
        cure = "Export the annotation that counts; say of an image that cannot be drawn that it is skipped."
        raise InputError(Problem("not one annotation of the image", "", "one", count, cure))
    results = [each if isinstance(each, Mapping) else {} for each in annotations[0]["result"]]
    labels = {_text(each.get("id")): _label(each) for each in results if each.get("type") == "labels"}
    shapes = [each for each in results if each.get("type") not in BESIDE]
    for each in shapes:
        refuse_other_size((each.get("original_height"), each.get("original_width")), picture, "")
        if each.get("image_rotation"):
            cure = "Turn it back, and draw again."
            raise InputError(
                Problem("picture was turned", "", "image_rotation 0", f"{each['image_rotation']}"[:40], cure)
            )
    return [{**each, "label": _label(each) or labels.get(_text(each.get("id")), "")} for each in shapes]


def names(content: Any) -> list[str]:
    """Return the file names of the pictures whose tasks have shapes."""
    tasks = content if isinstance(content, list) else [content]
    return [_name(task) for task in tasks if any(map(_has_shapes, task["annotations"]))]


def _has_shapes(annotation: Mapping[str, Any]) -> bool:
    return any(isinstance(each, Mapping) and each.get("type") not in BESIDE for each in annotation["result"])


def _name(task: Mapping[str, Any]) -> str:
    """Return the file name of a task's picture: what its data say, or the name that it was uploaded with.

    Data may say other things of a picture, too: what stands under ``image`` comes first, then what has the suffix of an
    image.
    """
    data = task.get("data")
    told = {key: value for key, value in data.items() if isinstance(value, str)} if isinstance(data, Mapping) else {}
    named = [*(each for each in told.values() if image_suffix(each)), *(e for e in told.values() if "." in e[-8:])]
    return told.get("image") or next(iter(named), _text(task.get("file_upload")))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _label(result: Mapping[str, Any]) -> str:
    """Return the first class of a shape, which stands under the name of its type."""
    value = result.get("value")
    names = value.get(_text(result.get("type"))) if isinstance(value, Mapping) else None
    return _text(names[0]).strip() if isinstance(names, list) and names else ""


def read(content: Any, picture: Picture) -> Iterator[Outline | Problem]:
    """Yield the shapes of the picture, and what is wrong with others.

    Raises:
        InputError: as :func:`results_of`.
    """
    for number, result in enumerate(results_of(content, picture), 1):
        kind, value = _text(result.get("type")).removesuffix("labels"), result.get("value")
        if kind not in _FORM:
            yield no_polygon(f"shape {number}", kind or "no type", "polygon, rectangle, ellipse or brush")
            continue
        outline = _outline(kind, value, result["label"], picture) if isinstance(value, Mapping) else None
        yield outline or no_outline(f"shape {number}", _FORM[kind])


def _outline(kind: str, value: Mapping[str, Any], name: str, picture: Picture) -> Outline | None:
    """Return a shape; None where its numbers are none."""
    if kind == "brush":
        spans = _strokes(value.get("rle"), picture) if value.get("format") == "rle" else None
        return None if spans is None else painted(runs_of_spans(spans, picture.size[1]), name=name)
    scale = np.array([picture.size[1] / 100.0, picture.size[0] / 100.0])
    if kind == "polygon":
        ring = ring_of(value.get("points"))
        return None if ring is None or value.get("closed") is False else Outline((ring * scale,), name)
    numbers = [
        value.get(n) for n in ("x", "y", *(("width", "height") if kind == "rectangle" else ("radiusX", "radiusY")))
    ]
    rotation = value.get("rotation") or 0.0
    if not all(map(is_number, [*numbers, rotation])):
        return None
    x, y, across, down = (float(each) * by for each, by in zip(numbers, [*scale, *scale], strict=True))  # type: ignore[arg-type]
    ring = rectangle(x, y, x + across, y + down) if kind == "rectangle" else ellipse((x, y), (abs(across), abs(down)))
    return Outline((turned(ring, rotation, (x, y)),), name)  # a rectangle is turned around its first corner


def _strokes(rle: Any, picture: Picture) -> np.ndarray | None:
    """Return the painted pixels as spans, int64 (N, 2), row after row; None where they are not of this picture.

    Bits: 32 with how many values there are, 5 with the bits of a value less one, 4 times 4 with the bits of a run's
    length less one. Then runs: 1 bit whether its values are equal, 2 bits which of the four lengths it has, its length
    less one, and the value or the values.
    """
    if not isinstance(rle, list) or not all(map(_is_byte, rle)):
        return None
    bits = _Bits(np.array(rle).astype(np.uint8))
    total, word = bits.read(32), bits.read(5) + 1
    sizes = [bits.read(4) + 1 for _ in range(4)]
    if total != _CHANNELS * picture.size[0] * picture.size[1]:
        return None
    spans: list[tuple[int, int]] = []
    at = 0
    while at < total:
        are_equal, size = bits.read(1), sizes[bits.read(2)]
        end = at + 1 + bits.read(size)
        first, last = -((3 - at) // _CHANNELS), (end - 4) // _CHANNELS + 1  # the channel of pixel p is value 4 p + 3
        if are_equal:
            spans += [(first, last)] if bits.read(word) and last > first else []
        else:
            painted_there = bits.words(end - at, word)[_CHANNELS * first + 3 - at :: _CHANNELS]
            spans += [(first + each, first + each + 1) for each in np.flatnonzero(painted_there).tolist()]
        if end > total or bits.is_over or len(spans) > _MOST_RUNS:
            return None
        at = end
    return np.array(spans, dtype=np.int64).reshape(-1, 2)


def _is_byte(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < 256 and value == int(value)


class _Bits:
    """Bits of bytes, the highest first; behind their end there are zeros."""

    def __init__(self, data: np.ndarray) -> None:
        self._data, self._bytes, self._at = data, data.tobytes() + bytes(8), 0

    @property
    def is_over(self) -> bool:
        """Whether more was read than there is."""
        return self._at > 8 * len(self._data)

    def read(self, count: int) -> int:
        """Return the next bits as a number."""
        begin, self._at = self._at, self._at + count
        word = int.from_bytes(self._bytes[begin // 8 : begin // 8 + 8].ljust(8, b"\0"), "big")
        return word >> (64 - begin % 8 - count) & ((1 << count) - 1)

    def words(self, count: int, size: int) -> np.ndarray:
        """Return the next numbers of so many bits each, as whether they are above 0."""
        begin, self._at = self._at, self._at + count * size
        bits = np.unpackbits(self._data[begin // 8 : (self._at + 7) // 8])[begin % 8 :][: count * size]
        words = np.pad(bits, (0, count * size - len(bits))).reshape(count, size)
        return np.asarray(words.any(axis=1))


def write(drawings: Sequence[Drawing]) -> str:
    """Return a task for each picture: polygons, and brush strokes of objects with holes."""
    tasks = []
    for number, drawing in enumerate(drawings, 1):
        annotation = {"id": number, "result": _results(drawing), "was_cancelled": False}
        tasks.append({"id": number, "data": {"image": drawing.file}, "annotations": [annotation]})
    return json.dumps(tasks)


def write_tasks(drawings: Sequence[Drawing], told: Sequence[Mapping[str, Any]], place: str, version: str) -> str:
    """Return tasks to be drawn, in their order, with what is proposed as predictions.

    Args:
        drawings: what is proposed for each picture.
        told: of each, what the data of its task say besides.
        place: what stands before the name of a picture's file, as Label Studio finds it.
        version: what made the proposals.
    """
    tasks: list[dict[str, Any]] = [
        {"data": {**more, "image": f"{place}{drawing.file}"},
         "predictions": [{"model_version": version, "result": _results(drawing)}] if drawing.outlines else []}
        for drawing, more in zip(drawings, told, strict=True)
    ]  # fmt: skip
    return json.dumps(tasks, indent=1)


def _results(drawing: Drawing) -> list[dict[str, Any]]:
    return [_result(outline, drawing, f"r{at}") for at, outline in enumerate(drawing.outlines)]


def _result(outline: Outline, drawing: Drawing, name: str) -> dict[str, Any]:
    if len(outline.rings) > 1:
        kind = "brushlabels"
        value: dict[str, Any] = {"format": "rle", "rle": _painted(outline, drawing.size)}
    else:
        percent = outline.rings[0] * 100.0 / (drawing.size[1], drawing.size[0])
        kind, value = "polygonlabels", {"points": percent.tolist(), "closed": True}
    return {
        "id": name, "type": kind, "from_name": "label", "to_name": "image", "origin": "manual", "image_rotation": 0,
        "original_width": drawing.size[1], "original_height": drawing.size[0], "value": {**value, kind: [outline.name]},
    }  # fmt: skip


def _painted(outline: Outline, size: tuple[int, int]) -> list[int]:
    """Return an outline as strokes: runs of equal values alone, all of them with the longest of the four lengths."""
    left, top, right, bottom = frame(outline)
    rows = np.pad(cut_out(outline), ((0, 0), (left, size[1] - right))).ravel()
    longest, value = 2**16, 0
    parts = [f"{_CHANNELS * size[0] * size[1]:032b}", "00111", "0010001101111111"]
    for count in counts_within(rows, top * size[1], (size[0] - bottom) * size[1]):
        whole, rest = divmod(count * _CHANNELS, longest)
        parts += [f"111{length - 1:016b}{value:08b}" for length in [longest] * whole + [rest] if length]
        value ^= 255
    text = "".join(parts)
    text += "0" * (-len(text) % 8)
    return [int(text[at : at + 8], 2) for at in range(0, len(text), 8)]
