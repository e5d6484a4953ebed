"""XML of ASAP, and what is refused of it."""

from __future__ import annotations

import pytest

from scripts.core.errors import InputError
from tests.support.drawn import drawn, read

XML = """<?xml version="1.0"?><ASAP_Annotations><Annotations>
<Annotation Name="a" Type="Polygon" PartOfGroup="Tumor" Color="#F4FA58"><Coordinates>
<Coordinate Order="2" X="30" Y="25"/><Coordinate Order="0" X="10" Y="5"/>
<Coordinate Order="1" X="30" Y="5"/><Coordinate Order="3" X="10" Y="25"/></Coordinates></Annotation>
<Annotation Name="b" Type="Polygon" PartOfGroup="None"><Coordinates>
<Coordinate Order="0" X="50" Y="0"/><Coordinate Order="1" X="54" Y="0"/><Coordinate Order="2" X="54" Y="0.1"/>
</Coordinates></Annotation></Annotations></ASAP_Annotations>"""


def test_points_in_their_order() -> None:
    assert [one.name for one in read(XML)] == ["Tumor", ""]
    assert drawn(XML).sum() == 400


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</Annotations>", "", "not XML"),
        ('X="30"', 'X="far"', "annotation 1.*no outline"),
        ('X="30"', 'X="1e308"', "annotation 1.*no outline"),
        ('X="30"', 'X="nan"', "annotation 1.*no outline"),
        ('Order="2"', 'Order="first"', "annotation 1.*no outline"),
        ('Order="2"', 'Order="nan"', "annotation 1.*no outline"),
        ('Order="2"', 'Order="1"', "annotation 1.*no outline.*each its own"),
        ('Order="2"', "", "annotation 1.*no outline"),
        ('X="30"', 'X="3_0"', "annotation 1.*no outline"),
        ('Type="Polygon" PartOfGroup="None"', 'Type="Dot"', "annotation 2.*Dot"),
        ("<ASAP_", '<!DOCTYPE x [<!ENTITY a "b">]><ASAP_', "defines entities"),
    ],
)
def test_what_is_refused(old: str, new: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(XML.replace(old, new))


def test_points_without_an_order_stay_as_they_stand() -> None:
    """They were sorted by x and y, which made another shape of them."""
    points = [(2, 2), (18, 2), (18, 18), (10, 4), (2, 18)]
    inner = "".join(f'<Coordinate X="{x}" Y="{y}"/>' for x, y in points)
    assert read(f"<Annotation>{inner}</Annotation>")[0].rings[0].tolist() == [list(point) for point in points]


def test_a_file_without_shapes_is_an_image_without_foreground() -> None:
    assert read("<ASAP_Annotations><Annotations/></ASAP_Annotations>") == []


def test_annotations_within_annotations_have_points_of_their_own() -> None:
    """Each had those of all inner ones, so that a file of 2 MB took a minute."""
    points = "".join(f'<Coordinate X="{x}" Y="{y}"/>' for x, y in ((0, 0), (4, 0), (4, 4)))
    begin, end = f"<Annotation><Coordinates>{points}</Coordinates>", "</Annotation>"
    assert {len(one.rings[0]) for one in read(begin * 2000 + end * 2000)} == {3}
