"""JSON of LabelMe 5: polygons, rectangles, circles, painted masks, and what has no area."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scripts.core.errors import InputError
from tests.support.drawn import box_mask, drawn, read


def shape(kind: str, points: Any, label: str = "gland", **more: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "group_id": None, "description": "", "shape_type": kind, "flags": {},
            "mask": None, **more}  # fmt: skip


def labelme(*shapes: Any, size: tuple[Any, Any] = (40, 60)) -> dict[str, Any]:
    return {"version": "5.4.1", "flags": {}, "shapes": list(shapes), "imagePath": "a.png", "imageData": "iVBORw0KGgo=",
            "imageHeight": size[0], "imageWidth": size[1]}  # fmt: skip


def png(mask: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(mask.astype(bool)).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


SQUARE = [[10.0, 5.0], [30.0, 5.0], [30.0, 25.0], [10.0, 25.0]]


def test_polygons_and_rectangles() -> None:
    content = labelme(shape("polygon", SQUARE, " Gland "), shape("rectangle", [[55, 38], [50, 30]], "Ignore"))
    assert [one.name for one in read(content)] == ["Gland", "Ignore"]
    expected = box_mask((10, 5, 30, 25)) + 255 * box_mask((50, 30, 55, 38))
    np.testing.assert_array_equal(drawn(content), expected)
    np.testing.assert_array_equal(drawn(labelme(shape("rectangle", SQUARE))), box_mask((10, 5, 30, 25)))
    assert read(labelme()) == []


def test_older_versions_tell_no_kind_of_a_polygon() -> None:
    old = {"label": "gland", "line_color": None, "fill_color": None, "points": SQUARE}
    np.testing.assert_array_equal(drawn(labelme(old)), box_mask((10, 5, 30, 25)))


def test_a_circle_has_a_centre_and_a_point_on_it() -> None:
    y, x = np.mgrid[:40, :60] + 0.5
    distance = np.hypot(x - 25.3, y - 18.1)
    clear = abs(distance - 13.0) > 0.011  # it is a polygon, a hundredth of a pixel off at most
    found = drawn(labelme(shape("circle", [[25.3, 18.1], [25.3 + 5.0, 18.1 - 12.0]])))
    np.testing.assert_array_equal(found[clear], (distance <= 13.0)[clear])


def test_a_painted_mask_lies_from_its_first_pixel_to_its_last() -> None:
    inside = np.random.default_rng(0).random((7, 9)) < 0.5
    inside[0], inside[:, 0] = True, True
    found = drawn(labelme(shape("mask", [[20.0, 10.0], [28.0, 16.0]], mask=png(inside))))
    expected = box_mask()
    expected[10:17, 20:29] = inside
    np.testing.assert_array_equal(found, expected)


BIG = png(np.ones((7, 9)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (labelme(shape("line", [[1, 1], [5, 5]])), "shape 1: not a polygon.*found line.*draw polygons"),
        (labelme(shape("point", [[1, 1]])), "not a polygon.*point"),
        (labelme(shape("linestrip", SQUARE)), "not a polygon.*linestrip"),
        (labelme(shape("polygon", SQUARE[:2])), "no outline"),
        (labelme(shape("polygon", [[1, 1], [5, None], [5, 5]])), "no outline"),
        (labelme(shape("rectangle", SQUARE[:1])), "2 points of a rectangle"),
        (labelme(shape("rectangle", [[10, 5], [30, 6], [30, 25], [10, 25]])), "2 points of a rectangle"),
        (labelme(shape("circle", [[1, 1], [5, "5"]])), "2 points of a circle"),
        (labelme(shape("mask", [[20, 10], [28, 16]])), "its first and last pixel"),
        (labelme(shape("mask", [[20, 10], [28, 17]], mask=BIG)), "its first and last pixel"),
        (labelme(shape("mask", [[20.5, 10], [28.5, 16]], mask=BIG)), "its first and last pixel"),
        (labelme(shape("mask", [[55, 10], [63, 16]], mask=BIG)), "its first and last pixel"),
        (labelme(shape("mask", [[20, 10], [28, 16]], mask="x" + BIG)), "its first and last pixel"),
        (labelme(shape("mask", [[20, 10], [28, 16]], mask=BIG[:40])), "its first and last pixel"),
        (labelme(shape("polygon", SQUARE), size=(400, 600)), "another picture.*600 x 400"),
        (labelme(shape("polygon", SQUARE), size=("40", 60)), "another picture.*60 x '40'"),
        (labelme(None, 7, [], shape(5, SQUARE)), "shape 1, shape 2, shape 3: coord|not a polygon"),  # type: ignore[arg-type]
    ],
)
def test_what_is_refused(content: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(content)


def test_a_mask_that_unpacks_to_gigabytes_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image.Image, "convert", None)
    with pytest.raises(InputError, match="its first and last pixel"):
        read(labelme(shape("mask", [[20, 10], [28, 16]], mask=png(np.zeros((6000, 6000))))))
