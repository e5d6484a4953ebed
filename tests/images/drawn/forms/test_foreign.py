"""Files of other programs are named, with a way to one that is read."""

from __future__ import annotations

from typing import Any

import pytest

from scripts.core.errors import InputError
from tests.support.drawn import read


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a.png123": {"filename": "a.png", "size": 123, "regions": []}}, "VGG Image Annotator. Export there as COCO"),
        ({"_via_settings": {}, "_via_img_metadata": {}}, "VGG Image Annotator. Export there as COCO"),
        ([{"image_id": 1, "category_id": 1, "segmentation": {}}], "results of COCO without their images. Put them"),
        ([{"image": "a", "annotation_id": 1, "lead_time": 2}], "the short form of Label Studio. Export there as JSON"),
        ([{"id": 1, "completions": []}], "Label Studio before version 1.0. Export with a newer version"),
        ([{"data_row": {}, "projects": {}}], "Labelbox. Save its masks as PNG"),
        ({"description": "", "tags": [], "size": {"height": 1}, "objects": []}, "Supervisely. Export there as COCO"),
        ({"version": "2.0", "item": {}, "annotations": []}, "V7 Darwin. Export there as COCO"),
        ({"metadata": {}, "instances": []}, "SuperAnnotate. Export there as COCO"),
        ({"info": {}, "categories": {}, "items": []}, "Datumaro. Export there as COCO"),
        ({"foo": 1, "bar": 2}, "JSON with foo, bar. Export one of these, or PNG"),
        ({}, "JSON with no keys. Export one of these"),
        ([{}], "JSON with no keys. Export one of these"),
        ("<annotation><object><bndbox/></object></annotation>", "Pascal VOC, boxes alone. Write them as JSON"),
        ("<annotations><track/></annotations>", "CVAT for video. Export there as CVAT for images 1.1"),
        ("<annotations><ndpviewstate/></annotations>", "NDP.view, in nanometres of a slide. Open it in QuPath"),
        ("<svg xmlns='http://www.w3.org/2000/svg'/>", "XML that begins with {http://www.w3.org/2000/svg}svg. Export"),
    ],
)
def test_what_it_looks_like_and_what_to_do(content: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read(content)
    assert "outlines of an unknown form; expected GeoJSON, JSON of COCO" in str(caught.value)
    assert f"found {message}" in str(caught.value)
