"""Instances of COCO: polygons, run lengths as pycocotools 2.0 writes them, boxes alone, and the image that is meant."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from scripts.core.errors import InputError
from tests.support.drawn import box_mask, drawn, read

COCO: dict[str, Any] = {
    "info": {"description": "glands", "version": "1.0", "year": 2024, "contributor": "", "date_created": "2024-05-01"},
    "licenses": [{"id": 0, "name": "", "url": ""}],
    "images": [{"id": 1, "width": 60, "height": 40, "file_name": "a.png", "license": 0, "coco_url": ""}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 2, "segmentation": [[10.0, 5.0, 30, 5, 30, 25, 10, 25]],
         "area": 400.0, "bbox": [10.0, 5.0, 20.0, 20.0], "iscrowd": 0, "attributes": {"occluded": False}},
    ],
    "categories": [{"id": 2, "name": "Gland", "supercategory": ""}, {"id": 3, "name": "Ignore", "supercategory": ""}],
}  # fmt: skip
COUNTS = "e<d0d000000000AF0:0F0:0F0:0F0:0F0:?000000000000000000ii0DcVO00000000000000000RO"
LENGTHS = [405, *[20] * 10, 5, 10, 5, 20, 5, 10, 5, 20, 5, 10, 5, 20, 5, 10, 5, 20, 5, 10, 5, *[20] * 20,
           845, *[8, 32] * 9, 8, 2]  # fmt: skip
RING = box_mask((10, 5, 30, 25), (50, 30, 60, 38)) - box_mask((15, 10, 20, 20))


def coco(*objects: dict[str, Any], **more: Any) -> dict[str, Any]:
    plain = {"image_id": 1, "category_id": 2, "iscrowd": 0}
    return {
        **copy.deepcopy(COCO),
        "annotations": [{"id": at, **plain, **each} for at, each in enumerate(objects)],
        **more,
    }


def runs(counts: Any, size: Any = (40, 60)) -> dict[str, Any]:
    return {"segmentation": {"size": list(size), "counts": counts}}


def test_a_polygon_has_the_name_of_its_category() -> None:
    assert [one.name for one in read(COCO)] == ["Gland"]
    np.testing.assert_array_equal(drawn(COCO), box_mask((10, 5, 30, 25)))
    ignored = coco({"segmentation": COCO["annotations"][0]["segmentation"], "category_id": 3})
    np.testing.assert_array_equal(drawn(ignored), box_mask((10, 5, 30, 25)) * 255)


def test_parts_of_an_object_are_joined() -> None:
    parts = [[1, 1, 9, 1, 9, 9, 1, 9], [5, 5, 12, 5, 12, 12, 5, 12]]
    np.testing.assert_array_equal(drawn(coco({"segmentation": parts})), box_mask((1, 1, 9, 9), (5, 5, 12, 12)))


@pytest.mark.parametrize("counts", [COUNTS, LENGTHS])
def test_run_lengths_are_read_to_the_pixel(counts: Any) -> None:
    np.testing.assert_array_equal(drawn(coco(runs(counts))), RING)


def test_run_lengths_without_foreground_are_no_shape() -> None:
    assert read(coco(runs([2400]))) == []


def test_a_box_alone_is_a_rectangle() -> None:
    found = read(coco({"segmentation": [], "bbox": [3, 4, 5, 6]}, {"bbox": [10, 10, 1, 1]}))
    assert [one.rings[0].tolist()[0::2] for one in found] == [[[3, 4], [8, 10]], [[10, 10], [11, 11]]]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"segmentation": [[1, 1, 5, 1]]}, "annotation 1: coordinates are no outline"),
        ({"segmentation": [[1, 1, 5, 1, 5, 5, 1]]}, "no outline"),
        ({"segmentation": [1, 1, 5, 1, 5, 5]}, "no outline"),
        ({"segmentation": [[1, 1, 5, "1", 5, 5]]}, "no outline"),
        ({"segmentation": "abc"}, "no outline"),
        ({"keypoints": [1, 2, 2]}, "not a polygon.*keypoints"),
        ({"segmentation": [], "bbox": [3, 4, 0, 6]}, "not a polygon.*no segmentation"),
        (runs([2399]), r"not run lengths of the picture; expected size \[40, 60\]"),
        (runs([2401, -1]), "not run lengths"),
        (runs([0.5, 2399.5]), "not run lengths"),
        (runs([True, 2399]), "not run lengths"),
        (runs(LENGTHS, (60, 40)), "not run lengths"),
        (runs(COUNTS[:-1]), "not run lengths"),
        (runs(COUNTS + "o"), "not run lengths"),
        (runs("o" * 99), "not run lengths"),
        (runs(COUNTS.replace("?", "\u0661")), "not run lengths"),
        (runs("\ud800"), "not run lengths"),
        (runs(""), "not run lengths"),
        (runs(None), "not run lengths"),
        ({"image_id": 2, "segmentation": [[1, 1, 5, 1, 5, 5]]}, "annotation of no image"),
        ({"image_id": 2.0**60}, "annotation of no image"),
    ],
)
def test_what_is_refused(shape: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(coco(shape))


IMAGES = [
    {"id": 7, "width": 60, "height": 40, "file_name": "images/b.png"},
    {"id": "x", "width": 60, "height": 40, "file_name": "images/a.png"},
]
SHAPES = [
    {"image_id": 7, "segmentation": [[0, 0, 9, 0, 9, 9, 0, 9]]},
    {"image_id": "x", "segmentation": [[20, 20, 24, 20, 24, 24, 20, 24]]},
]


class TestSeveralImages:
    def test_the_one_of_the_picture_is_found_by_its_name(self) -> None:
        found = drawn(coco(*SHAPES, images=IMAGES))
        np.testing.assert_array_equal(found, box_mask((20, 20, 24, 24)))

    def test_a_single_image_is_the_picture_whatever_its_name(self) -> None:
        found = drawn(coco(SHAPES[0], images=IMAGES[:1]))
        np.testing.assert_array_equal(found, box_mask((0, 0, 9, 9)))

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            (["b.png", "c.png"], "no image of the file is the picture; expected a; found 2 images: b.png, c.png"),
            (["p/a.png", "q/a.tif"], "several images of the file have the picture's name.*p/a.png, q/a.tif"),
        ],
    )
    def test_none_or_several(self, names: list[str], message: str) -> None:
        images = [{"id": at, "file_name": name} for at, name in enumerate(names)]
        with pytest.raises(InputError, match=message):
            read(coco(images=images))

    def test_images_without_an_id_of_their_own(self) -> None:
        for images in ([{"file_name": "a.png"}], [{"id": 1}, {"id": 1.0}], ["a.png"], [{"id": 2.0**60}]):
            with pytest.raises(InputError, match="images without an id of their own"):
                read(coco(images=images))

    def test_no_image(self) -> None:
        with pytest.raises(InputError, match=r"no image of the file is the picture.*found no image"):
            read(coco(images=[]))

    def test_another_size(self) -> None:
        images = [{"id": 1, "width": 600, "height": 400, "file_name": "a.png"}]
        with pytest.raises(InputError, match=r"outlines of another picture; expected 60 x 40 pixels; found 600 x 400"):
            read(coco(images=images))
