"""XML of Aperio ImageScope: layers, kinds of regions, and holes."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.core.errors import InputError
from tests.support.drawn import box_mask, drawn, read


def region(points: list[tuple[float, float]], kind: str = "0", negative: str = "0", text: str = "") -> str:
    inner = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in points)
    return (
        f'<Region Id="1" Type="{kind}" Zoom="0.5" Selected="0" ImageLocation="" ImageFocus="-1" Length="80.0" '
        f'Area="400.0" LengthMicrons="20.0" AreaMicrons="25.0" Text="{text}" NegativeROA="{negative}" '
        f'InputRegionId="0" Analyze="1" DisplayId="1"><Attributes/><Vertices>{inner}</Vertices></Region>'
    )


def layers(*regions: str, name: str = "", description: str = "") -> str:
    return (
        '<Annotations MicronsPerPixel="0.2500"><Annotation Id="1" '
        f'Name="{name}" ReadOnly="0" NameReadOnly="0" LineColorReadOnly="0" Incremental="0" Type="4" LineColor="65280" '
        'Visible="1" Selected="1" MarkupImagePath="" MacroName=""><Attributes><Attribute Name="Description" Id="0" '
        f'Value="{description}"/></Attributes><Regions><RegionAttributeHeaders><AttributeHeader Id="9999" '
        f'Name="Region" ColumnWidth="-1"/></RegionAttributeHeaders>{"".join(regions)}</Regions><Plots/></Annotation>'
        "</Annotations>"
    )


def box(left: float, top: float, right: float, bottom: float) -> list[tuple[float, float]]:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def test_a_layer_names_its_regions() -> None:
    for content, name in (
        (layers(region(box(10, 5, 30, 25), text="b"), name="Gland"), "Gland"),
        (layers(region(box(10, 5, 30, 25), text="b"), description="Ignore"), "Ignore"),
        (layers(region(box(10, 5, 30, 25), text="b")), "b"),
    ):
        assert [one.name for one in read(content)] == [name]
    np.testing.assert_array_equal(drawn(layers(region(box(10, 5, 30, 25)))), box_mask((10, 5, 30, 25)))
    assert read(layers()) == read("<Annotations/>") == []


def test_rectangles_and_ellipses_by_their_frames() -> None:
    for points in (box(10, 5, 30, 25), [(30.0, 5.0), (10.0, 25.0)]):
        np.testing.assert_array_equal(drawn(layers(region(points, "1"))), box_mask((10, 5, 30, 25)))
        y, x = np.mgrid[:40, :60] + 0.5
        np.testing.assert_array_equal(drawn(layers(region(points, "2"))), np.hypot(x - 20, y - 15) <= 10)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)])
def test_negative_regions_are_holes_whatever_their_order(order: tuple[int, ...]) -> None:
    """A hole takes off what is around it, also where it crosses its border, and leaves what lies in it."""
    shapes = [
        region(box(10, 5, 40, 35)),
        region(box(15, 10, 35, 30), negative="1"),
        region(box(20, 15, 25, 20)),
        region(box(38, 6, 44, 9), negative="1"),
    ]
    expected = box_mask((10, 5, 40, 35)) - box_mask((15, 10, 35, 30)) + box_mask((20, 15, 25, 20))
    expected[6:9, 38:44] = 0
    np.testing.assert_array_equal(drawn(layers(*(shapes[at] for at in order))), expected)


def test_a_hole_of_an_ignored_layer_is_not_ignored_and_takes_nothing_else_off() -> None:
    ignored = layers(region(box(0, 0, 20, 20)), region(box(5, 5, 10, 10), negative="1"), name="Ignore")
    glands = layers(region(box(3, 3, 30, 30)), name="Gland")
    content = ignored.replace("</Annotations>", "") + glands.partition('"0.2500">')[2]
    expected = box_mask((3, 3, 30, 30))
    expected[:20, :20] = 255
    expected[5:10, 5:10] = 1
    np.testing.assert_array_equal(drawn(content), expected)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (layers(region(box(1, 1, 5, 5)), region([(1, 1), (5, 5)], "4")), "region 2: not a polygon.*region of type 4"),
        (layers(region([(1, 1)], "5")), "region 1: not a polygon.*type 5"),
        (layers(region([(1, 1), (5, 5)])), "region 1: coordinates are no outline"),
        (layers(region([(1, 1)], "2")), "no outline.*ellipse 2 or more"),
        (layers(region([(1, 1), (float("nan"), 2), (3, 3)])), "no outline"),
        (layers(region(box(1, 1, 5, 5))).replace('X="5"', ""), "no outline"),
    ],
)
def test_what_is_refused(content: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(content)
