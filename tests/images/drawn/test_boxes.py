"""Boxes read from files: ours, those of Label Studio, rectangles among outlines; what is refused, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts.core.errors import InputError
from scripts.images.drawn.boxes import boxes_of_outlines, read_boxes
from scripts.images.drawn.outlines import Outline, Picture

SIZE = (100, 200)  # height, width
PICTURE = Picture(SIZE, ("a",))


def read(content: Any, suffix: str = ".json") -> np.ndarray | None:
    return read_boxes(Path(f"a{suffix}"), PICTURE, json.dumps(content).encode())


def rectangle(x: float, y: float, width: float, height: float, **more: Any) -> dict[str, Any]:
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0, "rectanglelabels": ["gland"]}
    return {"type": "rectanglelabels", "original_width": 200, "original_height": 100, "value": value, **more}


def task(*results: Any) -> list[dict[str, Any]]:
    return [{"data": {"image": "a.png"}, "annotations": [{"result": list(results)}]}]


class TestOurs:
    def test_pixels_of_the_image(self) -> None:
        np.testing.assert_array_equal(
            read({"boxes": [[1, 2, 30.5, 40], [0, 0, 200, 100]]}), [[1, 2, 30.5, 40], [0, 0, 200, 100]]
        )

    def test_no_box_is_an_answer(self) -> None:
        found = read({"boxes": []})
        assert found is not None and found.shape == (0, 4)

    def test_what_lies_beyond_the_border_is_cut(self) -> None:
        np.testing.assert_array_equal(read({"boxes": [[-5, 10, 250, 120]]}), [[0, 10, 200, 100]])

    @pytest.mark.parametrize(
        ("boxes", "told"),
        [
            ("all", "not a list of boxes"),
            ([[1, 2, 3, 4], [5, 5, 5, 9]], "box 2, 1 in all"),
            ([[1, 2, 3]], "not a box"),
            ([[1, 2, "3", 4]], "not a box"),
            ([[1, 2, True, 4]], "not a box"),
            ([[1, 2, float("nan"), 4]], "not a box"),
            ([[1, 2, 1e300, 4]], "not a box"),
            ([[1, 2, 3, 4], [300, 2, 310, 4]], "lies outside the image"),
            ([[0, 0, 1, 1]] * 2_001, "at most 2000"),
        ],
    )
    def test_what_is_no_box_is_refused(self, boxes: Any, told: str) -> None:
        with pytest.raises(InputError, match=told):
            read({"boxes": boxes})


class TestLabelStudio:
    def test_percents_become_pixels(self) -> None:
        np.testing.assert_allclose(read(task(rectangle(10, 20, 30, 40))), [[20, 20, 80, 60]])
        np.testing.assert_allclose(read(task(rectangle(10, 20, 30, 40))[0]), [[20, 20, 80, 60]])

    def test_a_choice_of_the_class_beside_it_is_passed_over(self) -> None:
        found = read(task({"type": "choices", "value": {"choices": ["benign"]}}, rectangle(0, 0, 5, 5)))
        assert found is not None and len(found) == 1

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (task(rectangle(0, 0, 5, 5)) * 2, "several images of the file have the picture's name"),
            ([{"annotations": [{"result": []}] * 2}], "not one annotation"),
            ([{"annotations": [{"result": [], "was_cancelled": True}]}], "a skipped one"),
            (task({"type": "rectanglelabels", "value": {"x": "1"}}), "width and height in percent"),
            (task(rectangle(0, 0, 5, 5, original_width=400)), "another picture"),
        ],
    )
    def test_what_is_no_rectangle_is_refused(self, content: Any, told: str) -> None:
        with pytest.raises(InputError, match=told):
            read(content)

    def test_the_task_of_the_picture_is_found_by_its_name(self) -> None:
        other = task(rectangle(0, 0, 5, 5))
        other[0]["data"]["image"] = "/data/upload/1/0123abcd-b.png"
        np.testing.assert_allclose(read([*other, *task(rectangle(10, 20, 30, 40))]), [[20, 20, 80, 60]])

    @pytest.mark.parametrize("kind", ["polygonlabels", "brushlabels", "ellipselabels", "keypointlabels"])
    def test_with_one_other_shape_all_are_left_to_outlines(self, kind: str) -> None:
        assert read(task(rectangle(0, 0, 5, 5), {"type": kind, "value": {}})) is None
        assert read(task({"type": "choices", "value": {}})) is None

    def test_labels_beside_plain_rectangles_are_passed_over(self) -> None:
        plain = {**rectangle(10, 20, 30, 40), "type": "rectangle"}
        np.testing.assert_allclose(read(task(plain, {"type": "labels", "value": {}})), [[20, 20, 80, 60]])

    def test_a_turned_rectangle_is_refused(self) -> None:
        turned = rectangle(0, 0, 5, 5)
        turned["value"]["rotation"] = 12
        with pytest.raises(InputError, match="turned"):
            read(task(turned))


@pytest.mark.parametrize(
    "content",
    [
        {"type": "FeatureCollection", "features": []},
        [],
        5,
        "text",
        {"shapes": []},
        [{}],
        {"images": [], "annotations": []},
    ],
)
def test_other_json_is_left_to_others(content: Any) -> None:
    assert read(content) is None


def test_other_files_are_left_to_others() -> None:
    assert read({"boxes": []}, ".geojson") is None
    assert read_boxes(Path("a.json"), PICTURE, b"\xff{") is None
    assert read_boxes(Path("a.json"), PICTURE, b'{"boxes": [], "boxes": [[1, 2, 3, 4]]}') is None
    assert read_boxes(Path("a.json"), PICTURE, b'{"boxes": [' + b"[]," * 1_000_001) is None


class TestRectanglesOfOutlines:
    SQUARE = np.array([[1.0, 2.0], [5.0, 2.0], [5.0, 8.0], [1.0, 8.0]])

    def test_rectangles_along_the_axes_closed_or_not_from_any_corner(self) -> None:
        closed = np.concatenate([self.SQUARE, self.SQUARE[:1]])
        turned = np.roll(self.SQUARE[::-1], 1, axis=0)
        found = boxes_of_outlines([Outline((ring,)) for ring in (self.SQUARE, closed, turned)])
        np.testing.assert_array_equal(found, [[1, 2, 5, 8]] * 3)

    def test_a_hole_is_no_box(self) -> None:
        assert boxes_of_outlines([Outline((self.SQUARE,)), Outline((self.SQUARE,), is_hole=True)]) is None

    @pytest.mark.parametrize(
        "rings",
        [
            (SQUARE[:3],),
            (np.array([[1.0, 2.0], [5.0, 2.1], [5.0, 8.0], [1.0, 8.0]]),),
            (np.array([[1.0, 2.0], [5.0, 8.0], [5.0, 2.0], [1.0, 8.0]]),),  # crossed
            (SQUARE, SQUARE + 1),  # with a hole
        ],
    )
    def test_one_other_shape_makes_them_outlines(self, rings: tuple[np.ndarray, ...]) -> None:
        assert boxes_of_outlines([Outline((self.SQUARE,)), Outline(rings)]) is None
