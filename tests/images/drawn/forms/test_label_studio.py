"""JSON of Label Studio 1: polygons, rectangles, ellipses, brush strokes, and the task that is meant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from scripts.core.errors import InputError
from scripts.images.drawn.outlines import Picture
from tests.support.drawn import box_mask, drawn, read

SMALL = Picture((6, 8), ("a",))
STROKE = [0, 0, 0, 192, 57, 27, 254, 39, 0, 194, 127, 246, 192, 39, 255, 140, 2, 127, 251, 96, 19, 255, 198, 1, 63, 253,
          176, 12, 39, 255, 136, 192, 0]  # fmt: skip
"""What its own converter makes of rows 1 to 4 and columns 2 to 6 of 6 x 8 pixels, less rows 2 and 3 of column 4."""


def result(kind: str, value: dict[str, Any], label: str = "Gland", size: tuple[int, int] = (40, 60)) -> dict[str, Any]:
    value = {**value, **({kind: [label]} if label else {})}
    return {"original_width": size[1], "original_height": size[0], "image_rotation": 0, "value": value, "id": "x1",
            "from_name": "label", "to_name": "image", "type": kind, "origin": "manual"}  # fmt: skip


def task(*results: Any, image: str = "/data/upload/1/8f2a1b3c-a.png") -> dict[str, Any]:
    annotation = {"id": 5, "completed_by": 1, "result": list(results), "was_cancelled": False, "lead_time": 12.3}
    return {"id": 1, "annotations": [annotation], "file_upload": "8f2a1b3c-a.png", "predictions": [],
            "data": {"image": image}, "meta": {}}  # fmt: skip


POINTS = [[100 / 6, 12.5], [50, 12.5], [50, 62.5], [100 / 6, 62.5]]
POLYGON = result("polygonlabels", {"points": POINTS, "closed": True})
BOX = result("rectanglelabels", {"x": 500 / 6, "y": 75, "width": 50 / 6, "height": 20, "rotation": 0}, "Ignore")


def test_polygons_and_rectangles_beside_them() -> None:
    content = [task(POLYGON, BOX, result("choices", {"choices": ["benign"]}, ""))]
    assert [one.name for one in read(content)] == ["Gland", "Ignore"]
    np.testing.assert_array_equal(drawn(content), box_mask((10, 5, 30, 25)) + 255 * box_mask((50, 30, 55, 38)))
    np.testing.assert_array_equal(drawn(content[0]), drawn(content))
    assert read([task()]) == []


def test_classes_may_stand_in_a_result_of_their_own() -> None:
    plain = {**result("polygon", {"points": POINTS, "closed": True}, ""), "id": "x7"}
    label = {**result("labels", {"labels": ["Ignore"]}, ""), "id": "x7"}
    assert [one.name for one in read([task(plain, label)])] == ["Ignore"]


def test_a_rectangle_is_turned_around_its_first_corner() -> None:
    value = {"x": 50, "y": 25, "width": 50 / 6, "height": 50, "rotation": 90}
    assert drawn([task(result("rectanglelabels", value))]).sum() == 100
    np.testing.assert_array_equal(drawn([task(result("rectanglelabels", value))]), box_mask((10, 10, 30, 15)))


def test_ellipses() -> None:
    y, x = np.mgrid[:40, :60] + 0.5
    value = {"x": 50, "y": 50, "radiusX": 20, "radiusY": 10, "rotation": 0}
    expected = ((x - 30) / 12) ** 2 + ((y - 20) / 4) ** 2 <= 1
    np.testing.assert_array_equal(drawn([task(result("ellipselabels", value))]), expected)


def strokes(rle: Any, **more: Any) -> list[dict[str, Any]]:
    return [task(result("brushlabels", {"format": "rle", "rle": rle, **more}, size=SMALL.size))]


def bits(*numbers: tuple[int, int]) -> list[int]:
    """Return (value, bits) as bytes."""
    text = "".join(f"{value:0{count}b}" for value, count in numbers)
    text += "0" * (-len(text) % 8)
    return [int(text[at : at + 8], 2) for at in range(0, len(text), 8)]


HEAD = ((192, 32), (7, 5), (2, 4), (3, 4), (7, 4), (15, 4))


def test_brush_strokes_are_read_to_the_pixel() -> None:
    expected = box_mask((2, 1, 7, 5), size=SMALL.size) - box_mask((4, 2, 5, 4), size=SMALL.size)
    np.testing.assert_array_equal(drawn(strokes(STROKE), SMALL), expected)


def test_values_that_are_not_repeated_and_runs_that_end_within_a_pixel() -> None:
    """Of each pixel the fourth value counts, whatever the others are."""
    values = np.random.default_rng(0).integers(0, 2, 192) * 200
    head = [*HEAD, (0, 1), (2, 2), (99, 8), *((int(value), 8) for value in values[:100])]
    runs = [(number, each) for number in values[100:] for each in ((1, 1), (0, 2), (0, 3), (int(number), 8))]
    rest = [each for _, each in runs]
    expected = (values.reshape(6, 8, 4)[..., 3] > 0).astype(np.uint8)
    np.testing.assert_array_equal(drawn(strokes(bits(*head, *rest)), SMALL), expected)
    nothing = bits(*HEAD, (1, 1), (2, 2), (191, 8), (0, 8))
    assert read(strokes(nothing), SMALL) == []
    channels = bits(*HEAD, (1, 1), (0, 2), (2, 3), (255, 8), (1, 1), (2, 2), (188, 8), (0, 8))  # red, green, blue alone
    assert read(strokes(channels), SMALL) == []


@pytest.mark.parametrize(
    "rle",
    [STROKE[:-9], [], None, "abc", [256], [-1], [0.5], [True] * 40, STROKE[4:], [0, 0, 0, 193, *STROKE[4:]],
     bits(*HEAD, (1, 1), (2, 2), (192, 8), (1, 8)), bits(*HEAD, (0, 1), (2, 2), (191, 8), (1, 8))],
)  # fmt: skip
def test_strokes_that_are_not_of_the_picture(rle: Any) -> None:
    with pytest.raises(InputError, match="shape 1: coordinates are no outline; expected format rle"):
        read(strokes(rle), SMALL)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([task(result("keypointlabels", {"x": 1, "y": 1}))], "shape 1: not a polygon.*keypoint"),
        ([task(POLYGON, result("polygonlabels", {"points": POINTS[:2]}))], "shape 2: .*no outline"),
        ([task(result("polygonlabels", {"points": POINTS, "closed": False}))], "no outline.*closed"),
        ([task(result("ellipselabels", {"x": 1, "y": 1, "radiusX": "2", "radiusY": 2}))], "no outline.*radiusX"),
        ([task(POLYGON, {**BOX, "value": None})], "no outline.*width and height"),
        ([task(POLYGON, 7)], "not a polygon.*no type"),
        (strokes(STROKE, format="png"), "another picture"),
        ([task({**POLYGON, "image_rotation": 90})], "picture was turned"),
        ([{**task(POLYGON), "annotations": []}], "not one annotation of the image; expected one; found 0"),
        ([task(POLYGON), task(POLYGON)], "several images of the file"),
        (
            [{"id": 1, "image": "a.png", "label": [], "annotation_id": 3, "lead_time": 2}],
            "short form.*Export there as JSON",
        ),
    ],
)
def test_what_is_refused(content: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(content)


@pytest.mark.parametrize(
    "image",
    ["a.png", "/data/upload/3/0123abcd-a.png", "/data/local-files/?d=images/a.png", "s3://bucket/x/a.jpg",
     "/data/local-files/?d=images%5Ca.png", "https://x.org/a.png"],
)  # fmt: skip
def test_the_task_of_the_picture_is_found_by_its_name(image: str) -> None:
    other = [task(BOX, image=f"/data/upload/1/{name}.png") for name in ("aa", "b-a", "0123abcd-b")]
    np.testing.assert_array_equal(drawn([*other, task(POLYGON, image=image)]), box_mask((10, 5, 30, 25)))
    with pytest.raises(InputError, match=r"no image of the file is the picture.*3 images: /data/upload/1/aa.png"):
        read(other)
