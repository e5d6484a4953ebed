"""XML "CVAT for images 1.1": polygons, boxes, ellipses, painted masks, and the image that is meant."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.core.errors import InputError
from tests.support.drawn import box_mask, drawn, read

META = "<meta><job><id>3</id><size>2</size><labels><label><name>gland</name></label></labels></job></meta>"
POLYGON = (
    '<polygon label="gland" source="manual" occluded="0" points="10.00,5.00;30.00,5.00;30.00,25.00;10.00,25.00" '
    'z_order="0"><attribute name="kind">a</attribute></polygon>'
)
BOX = '<box label="Ignore" source="manual" occluded="0" xtl="50.0" ytl="30.0" xbr="55.0" ybr="38.0" z_order="0"></box>'
ELLIPSE = '<ellipse label="gland" source="manual" occluded="0" cx="25.3" cy="18.1" rx="14.0" ry="6.0" rotation="90.0"/>'
MASK = (
    '<mask label="gland" source="manual" occluded="0" rle="1, 3, 1, 1, 3, 1" left="20" top="10" width="5" height="2" '
    'z_order="0"></mask>'
)


def cvat(*shapes: str, name: str = "a.png", size: str = 'width="60" height="40"', more: str = "") -> str:
    image = f'<image id="0" name="{name}" {size}>{"".join(shapes)}</image>'
    return (
        f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>{META}{more}{image}</annotations>'
    )


def test_polygons_and_boxes() -> None:
    content = cvat(POLYGON, '<tag label="benign" source="manual"></tag>', BOX)
    assert [one.name for one in read(content)] == ["gland", "Ignore"]
    np.testing.assert_array_equal(drawn(content), box_mask((10, 5, 30, 25)) + 255 * box_mask((50, 30, 55, 38)))
    assert read(cvat()) == []


def test_a_box_is_turned_around_its_centre() -> None:
    turned = '<box label="gland" xtl="10" ytl="14" xbr="30" ybr="18" rotation="90.00"/>'
    np.testing.assert_array_equal(drawn(cvat(turned)), box_mask((18, 6, 22, 26)))
    tilted = '<box label="gland" xtl="20" ytl="10" xbr="40" ybr="12" rotation="30.00"/>'  # clockwise, as it is seen
    rows = np.argwhere(drawn(cvat(tilted)))[:, 0]
    columns = np.argwhere(drawn(cvat(tilted)))[:, 1]
    assert np.corrcoef(rows, columns)[0, 1] > 0.9


def test_an_ellipse_is_turned_too() -> None:
    y, x = np.mgrid[:40, :60] + 0.5
    distance = ((x - 25.3) / 6) ** 2 + ((y - 18.1) / 14) ** 2
    clear = abs(distance - 1) > 0.005  # it is a polygon, a hundredth of a pixel off at most
    np.testing.assert_array_equal(drawn(cvat(ELLIPSE))[clear], (distance <= 1)[clear])


def test_a_painted_mask_lies_in_its_box_row_after_row() -> None:
    expected = box_mask()
    expected[10, 21:24] = expected[11, 20] = expected[11, 24] = 1
    np.testing.assert_array_equal(drawn(cvat(MASK)), expected)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (cvat('<polyline label="a" points="1,1;5,5"/>'), "shape 1: not a polygon.*polyline.*draw polygons"),
        (cvat('<points label="a" points="1,1"/>'), "not a polygon.*points"),
        (cvat('<cuboid label="a"/>'), "not a polygon.*cuboid"),
        (cvat('<polygon label="a" points="1,1;5,5"/>'), "no outline.*3 or more"),
        (cvat('<polygon label="a" points="1,1;5;5,5"/>'), "no outline"),
        (cvat('<polygon label="a" points="1,1;5,1e9;5,5"/>'), "no outline"),
        (cvat('<polygon label="a"/>'), "no outline"),
        (cvat(BOX.replace('ybr="38.0"', "")), "no outline.*xtl, ytl"),
        (cvat(BOX.replace("38.0", "nan")), "no outline.*xtl, ytl"),
        (cvat(ELLIPSE.replace("14.0", "1_4")), "no outline.*rx"),
        (cvat(MASK.replace("1, 3, 1", "1, 3, 2")), "no outline.*rle that fills"),
        (cvat(MASK.replace("1, 3, 1", "1, 3.5, 0.5")), "no outline.*rle that fills"),
        (cvat(MASK.replace('left="20"', 'left="56"')), "no outline.*within the picture"),
        (cvat(MASK.replace('width="5"', 'width="5000000"')), "no outline.*within the picture"),
        (cvat(POLYGON, size='width="61" height="40"'), "another picture; expected 60 x 40 pixels; found 61 x 40"),
        (cvat(POLYGON, size='width="x" height="40"'), "another picture"),
        (
            cvat(POLYGON, name="c.png", more='<image id="1" name="b.png"/>'),
            "no image of the file is the picture.*b.png",
        ),
        (cvat(POLYGON, more='<image id="1" name="d/a.jpg"/>'), "several images of the file"),
        (cvat(POLYGON, more='<track id="0" label="a"/>'), "unknown form.*CVAT for video.*CVAT for images 1.1"),
    ],
)
def test_what_is_refused(content: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(content)


def test_the_image_of_the_picture_is_found_by_its_name() -> None:
    other = f'<image id="1" name="train/b.png" width="60" height="40">{BOX}</image>'
    np.testing.assert_array_equal(drawn(cvat(POLYGON, name="train/a.png", more=other)), box_mask((10, 5, 30, 25)))
