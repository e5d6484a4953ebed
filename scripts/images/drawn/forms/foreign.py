"""Files of drawing programs that are known and not read: what to do with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from xml.etree.ElementTree import Element

_COCO = "Export there as COCO."


def json_of(content: Any) -> tuple[str, str]:
    """Return what JSON looks like that no reader is for, and how to get from it to a form that is read."""
    first = content[0] if isinstance(content, list) and content else content
    found = first if isinstance(first, Mapping) else {}
    known = next((told for is_form, *told in _JSON if is_form(found)), None)
    if known is not None:
        return known[0], known[1]
    keys = ", ".join(str(key)[:20] for key in list(found)[:4])
    return f"JSON with {keys or 'no keys'}", ""


_JSON: tuple[tuple[Callable[[Mapping[str, Any]], bool], str, str], ...] = (
    (lambda f: "_via_img_metadata" in f or "_via_settings" in f or any(
        isinstance(each, Mapping) and "regions" in each and "filename" in each for each in f.values()
    ), "VGG Image Annotator", _COCO),
    (lambda f: {"image_id", "category_id"} <= set(f), "results of COCO without their images",
     "Put them as annotations into a file with images and categories."),
    (lambda f: {"annotation_id", "lead_time"} <= set(f), "the short form of Label Studio", "Export there as JSON."),
    (lambda f: "completions" in f, "Label Studio before version 1.0", "Export with a newer version."),
    (lambda f: "data_row" in f or "Labeled Data" in f, "Labelbox", "Save its masks as PNG."),
    (lambda f: {"objects", "size"} <= set(f), "Supervisely", _COCO),
    (lambda f: {"item", "annotations"} <= set(f), "V7 Darwin", _COCO),
    (lambda f: {"instances", "metadata"} <= set(f), "SuperAnnotate", _COCO),
    (lambda f: {"items", "categories"} <= set(f), "Datumaro", _COCO),
)  # fmt: skip
"""Whether the first object of a file is of a program, its name, and what to do."""


def xml_of(root: Element) -> tuple[str, str]:
    """Return what XML looks like that no reader is for, and how to get from it to a form that is read."""
    if root.tag == "annotation" and root.find("object") is not None:
        return "Pascal VOC, boxes alone", 'Write them as JSON, {"boxes": [[left, top, right, bottom], ...]}.'
    if root.tag == "annotations" and root.find("track") is not None:
        return "CVAT for video", "Export there as CVAT for images 1.1."
    if root.find("ndpviewstate") is not None:
        return "NDP.view, in nanometres of a slide", "Open it in QuPath, and export GeoJSON."
    return f"XML that begins with {ascii(root.tag)[1:-1]:.80}", ""
