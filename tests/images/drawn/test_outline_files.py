"""Files of outlines: told apart by what they hold, bounded, and their problems told in few lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scripts.core.errors import InputError
from scripts.images.drawn.outline_files import read_outlines
from tests.support.drawn import PICTURE, read

SQUARE = [[10, 5], [30, 5], [30, 25], [10, 25], [10, 5]]
POLYGON = {"type": "Polygon", "coordinates": [SQUARE]}
FILES = "scripts.images.drawn.outline_files"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "outlines are not JSON"),
        ("[" * 100_000, "outlines are not JSON"),
        ('{"type": "FeatureCollection", "features": [1], "features": []}', "a key stands twice"),
        ("<a>", "not XML"),
        ("", "outlines are not JSON"),
    ],
)
def test_what_cannot_be_parsed(content: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"a\.(json|xml): (outlines are not JSON.*)?{message}"):
        read(content)


@pytest.mark.parametrize("suffix", [".json", ".geojson", ".xml"])
def test_the_content_tells_the_form_not_the_suffix(suffix: str) -> None:
    xml = '<Annotation><Coordinate X="1" Y="1"/><Coordinate X="5" Y="1"/><Coordinate X="5" Y="5"/></Annotation>'
    for content in (xml, '\ufeff{"type": "Polygon", "coordinates": [[[1, 1], [5, 1], [5, 5]]]}'):
        found = read_outlines(Path(f"a{suffix}"), PICTURE, content.encode())
        assert [one.rings[0].tolist() for one in found] == [[[1, 1], [5, 1], [5, 5]]]


@pytest.mark.parametrize(
    "text",
    [
        '<ASAP_Annotations xmlns="x"><Annotations><Annotation/></Annotations></ASAP_Annotations>',
        '<shapes><image><polygon points="1,1;5,5;1,5"/></image></shapes>',
    ],
)
def test_xml_of_another_program_is_not_an_image_without_foreground(text: str) -> None:
    with pytest.raises(InputError, match=r"outlines of an unknown form.*GeoJSON"):
        read(text)


def test_every_refusal_can_be_sent_and_stored() -> None:
    with pytest.raises(InputError) as caught:
        read('[{"type": "\\ud800"}, {"type": "\\u0000"}]')
    assert str(caught.value).encode()


def test_equal_problems_are_told_once_with_the_places_of_some() -> None:
    content = [{"type": "Point"}, POLYGON, *[{"type": "Point"}] * 7, {"type": "LineString"}]
    with pytest.raises(InputError) as caught:
        read(content)
    told = [str(problem) for problem in caught.value.problems]
    assert [text.partition(";")[0] for text in told] == [
        "a.json shape 1, shape 3, shape 4 and 5 more: not a polygon", "a.json shape 10: not a polygon"
    ]  # fmt: skip


@pytest.mark.parametrize("kinds", [1, 10**6])
def test_only_the_first_of_very_many_problems_are_told(kinds: int) -> None:
    with pytest.raises(InputError) as caught:
        read([{"type": f"x{at % kinds}"} for at in range(5000)])
    assert len(caught.value.problems) <= 21
    if kinds == 1:
        assert "a.json: further shapes were not looked at" in str(caught.value)
    else:
        assert "a.json: has other problems too, 981" in str(caught.value)


def test_too_many_shapes_and_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{FILES}._MOST_SHAPES", 3)
    assert len(read([POLYGON] * 3)) == 3
    with pytest.raises(InputError, match=r"a.json: too many outlines.*4 shapes with 20 points"):
        read([POLYGON] * 4)
    monkeypatch.setattr(f"{FILES}._MOST_POINTS", 14)
    with pytest.raises(InputError, match=r"too many outlines.*3 shapes with 15 points, or more\. Simplify"):
        read([POLYGON] * 3)


@pytest.mark.parametrize("content", ["[" + "0," * 2_500_001, "[" + "[]," * 1_300_000, "[" + "{}," * 1_300_000])
def test_values_that_cannot_be_accepted_are_not_even_parsed(content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two bytes each, 16 MiB of them would take half a gigabyte and 20 seconds."""
    monkeypatch.setattr("scripts.images.drawn.outlines.json.loads", None)
    with pytest.raises(InputError, match=r"too many outlines.*values"):
        read(content)


def test_attributes_of_xml_are_values_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{FILES}.ElementTree.fromstring", None)
    with pytest.raises(InputError, match=r"too many outlines.*values"):
        read("<a " + 'a="" ' * 2_500_001 + "/>")


def test_missing_and_huge_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_outlines(tmp_path / "none.geojson", PICTURE)
    monkeypatch.setattr(f"{FILES}.MOST_BYTES", 3)
    with pytest.raises(InputError, match="too large"):
        read("[1,2]")


def test_other_bytes_than_text() -> None:
    content: Any = b"\xff\xfe{"
    with pytest.raises(InputError, match=r"outlines cannot be read.*UTF-8"):
        read_outlines(Path("a.json"), PICTURE, content)
