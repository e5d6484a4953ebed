"""Outlines of COCO, LabelMe, CVAT, Label Studio and ImageScope as these programs write them, to be spoiled.

For images of 32 pixels, the first of which is called train_00.
"""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from tests.support.fuzz_outlines import square

_SIDE = 32
_NAMES = ("train_00", "train_01", "train_02", "train_03")


def _flat(left: float, top: float, size: float) -> list[float]:
    return [value for point in square(left, top, size) for value in point]


def _png() -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.arange(48).reshape(6, 8) % 5 > 1).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _bits(*numbers: tuple[int, int]) -> list[int]:
    text = "".join(f"{value:0{count}b}" for value, count in numbers)
    text += "0" * (-len(text) % 8)
    return [int(text[at : at + 8], 2) for at in range(0, len(text), 8)]


def _strokes() -> list[int]:
    """Rows 10 to 19 painted, a run of equal values each, and one row of values that are not repeated."""
    head = ((4 * _SIDE**2, 32), (7, 5), (2, 4), (3, 4), (7, 4), (15, 4))
    runs = [((1, 1), (3, 2), (size - 1, 16), (value, 8)) for size, value in ((1280, 0), (1280, 255), (1408, 0))]
    last = [(0, 1), (2, 2), (127, 8), *[(255 * (at // 4 % 2), 8) for at in range(128)]]
    return _bits(*head, *(each for run in runs for each in run), *last)


def whole_json() -> list[Any]:
    """Contents of JSON that are taken, of COCO, LabelMe and Label Studio."""
    images = [{"id": at, "file_name": f"{name}.png", "width": _SIDE, "height": _SIDE} for at, name in enumerate(_NAMES)]
    shapes: list[Any] = [
        [_flat(4, 5, 20), _flat(8, 9, 5)],
        {"size": [_SIDE, _SIDE], "counts": [100, 20, 12, 20, _SIDE**2 - 152]},
        {"size": [_SIDE, _SIDE], "counts": _compressed([100, 20, 12, 20, _SIDE**2 - 152])},
    ]
    objects = [
        {"id": 9, "image_id": image["id"], "category_id": at % 2, "segmentation": shape, "iscrowd": at}
        for image in images for at, shape in enumerate(shapes)
    ]  # fmt: skip
    categories = [{"id": 0, "name": "gland"}, {"id": 1, "name": "Tumour"}]
    coco = {"images": images, "annotations": objects, "categories": categories}
    drawn = {"polygon": square(4, 5, 20), "rectangle": [[1, 1], [9, 9]], "circle": [[16, 16], [16, 28]]}
    labelme = [{"label": "gland", "shape_type": kind, "points": points} for kind, points in drawn.items()]
    labelme.append({"label": "ignore", "shape_type": "mask", "points": [[20, 20], [27, 25]], "mask": _png()})
    size = {"original_width": _SIDE, "original_height": _SIDE, "image_rotation": 0}
    results = [
        {"type": "polygonlabels", "value": {"points": square(10, 10, 50), "polygonlabels": ["gland"], "closed": True}},
        {"type": "rectanglelabels", "value": {"x": 5, "y": 5, "width": 9, "height": 9, "rotation": 12}},
        {"type": "ellipselabels", "value": {"x": 50, "y": 50, "radiusX": 20, "radiusY": 9, "rotation": 0}},
        {"type": "brushlabels", "value": {"format": "rle", "rle": _strokes(), "brushlabels": ["Ignore"]}},
    ]
    annotations = [{"result": [size | each for each in results]}]
    tasks = [
        {"data": {"image": f"/data/upload/1/0123abcd-{name}.png"}, "annotations": annotations}
        for name in _NAMES
    ]  # fmt: skip
    return [
        coco,
        {"shapes": labelme, "imagePath": "a.png", "imageHeight": _SIDE, "imageWidth": _SIDE, "imageData": None},
        tasks,
    ]


def _compressed(counts: list[int]) -> str:
    """Return run lengths as COCO's own library writes them."""
    text = ""
    for at, count in enumerate(counts):
        value = count - (counts[at - 2] if at > 2 else 0)
        while True:
            digit, value = value & 31, value >> 5
            is_last = value == (-1 if digit & 16 else 0)
            text += chr(48 + digit + (0 if is_last else 32))
            if is_last:
                break
    return text


def whole_xml() -> list[str]:
    """XML that is taken, of CVAT and ImageScope."""
    points = ";".join(f"{x:.2f},{y:.2f}" for x, y in square(4, 5, 20))
    shapes = (
        f'<polygon label="gland" points="{points}" z_order="0"/><box label="a" xtl="1" ytl="1" xbr="9" ybr="9" '
        'rotation="30.0"/><ellipse label="gland" cx="16" cy="16" rx="9" ry="5"/><mask label="Ignore" '
        'rle="1, 3, 1, 1, 3, 1" left="20" top="10" width="5" height="2"/><tag label="a"/>'
    )
    images = "".join(
        f'<image id="0" name="{name}.png" width="{_SIDE}" height="{_SIDE}">{shapes}</image>' for name in _NAMES
    )
    regions = "".join(
        f'<Region Type="{kind}" NegativeROA="{negative}" Text=""><Vertices>'
        + "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in ring)
        + "</Vertices></Region>"
        for kind, negative, ring in ((0, 0, square(4, 5, 20)), (0, 1, square(8, 9, 5)), (2, 0, square(1, 1, 30)[:3:2]))
    )
    layer = f'<Annotation Id="1" Name="gland"><Regions>{regions}</Regions></Annotation>'
    return [
        f'<?xml version="1.0"?>\n<annotations><version>1.1</version>{images}</annotations>',
        f'<Annotations MicronsPerPixel="0.25">{layer}</Annotations>',
    ]
