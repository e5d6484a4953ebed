"""Outlines are read as drawing programs write them, and files that are none are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scripts.core.errors import InputError
from scripts.images.drawn.outline_drawing import draw_outlines
from scripts.images.drawn.outlines import read_outlines

SIZE = (40, 60)
SQUARE = [[10, 5], [30, 5], [30, 25], [10, 25], [10, 5]]
HOLE = [[15, 10], [20, 10], [20, 20], [15, 20], [15, 10]]


def feature(geometry: dict[str, Any], name: str = "") -> dict[str, Any]:
    properties = {"objectType": "annotation"} | ({"classification": {"name": name}} if name else {})
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def geojson(folder: Path, content: Any) -> Path:
    path = folder / "a.geojson"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


class TestGeoJson:
    def test_what_qupath_writes(self, tmp_path: Path) -> None:
        polygon = {"type": "Polygon", "coordinates": [SQUARE, HOLE]}
        several = {
            "type": "MultiPolygon",
            "coordinates": [[[[0, 0], [4, 0], [4, 4]]], [[[50, 30], [55, 30], [55, 39]]]],
        }
        collection = {"type": "FeatureCollection", "features": [feature(polygon, "Gland"), feature(several)]}
        for content in (
            collection,
            collection["features"],
            feature({"type": "GeometryCollection", "geometries": [polygon]}),
        ):
            outlines = read_outlines(geojson(tmp_path, content))
            assert len(outlines) in (1, 3)
            assert outlines[0].name in ("Gland", "")
            assert len(outlines[0].rings) == 2
        assert read_outlines(geojson(tmp_path, {"type": "FeatureCollection", "features": []})) == []

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("{", "not GeoJSON"),
            ("[" * 100_000, "not GeoJSON"),
            ("3", "not a polygon"),
            (feature({"type": "Point", "coordinates": [1, 2]}), "not a polygon.*Point.*draw polygons"),
            (feature({"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}), "coordinates are no outline"),
            (feature({"type": "Polygon", "coordinates": [[[0, 0], [1, float("nan")], [2, 2]]]}), "no outline"),
            (feature({"type": "Polygon", "coordinates": "x"}), "not a polygon"),
            (feature({"type": "Polygon", "coordinates": [[{}, {}, {}]]}), "no outline"),
            (
                feature({"type": "Polygon", "coordinates": [[[-1e308, -1e308], [1e308, 1e308], [1e308, 0]]]}),
                "no outline",
            ),
            (f'{{"type": "Polygon", "coordinates": [[[{"9" * 400}, 0], [1, 1], [2, 0]]]}}', "no outline"),
            (feature({"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [2e7, 0]]]}), "at most 10000000 pixels"),
            (feature({"type": "Polygon", "coordinates": [[["10", 0], [30, 1], [20, 9]]]}), "no outline"),
            (feature({"type": "Polygon", "coordinates": [[[True, False], [30, 1], [20, 9]]]}), "no outline"),
            (feature({"type": "Polygon", "coordinates": [["12", "34", "56"]]}), "no outline"),
            ('{"type": "\\ud800"}', "not a polygon.*ud800"),
            ({"type": "FeatureCollection", "features": 7}, "not a polygon"),
            ({"type": "FeatureCollection"}, "FeatureCollection without a list of features"),
            ({"type": "FeatureCollection", "features": None}, "FeatureCollection without a list of features"),
            ({"type": "GeometryCollection", "features": []}, "GeometryCollection without a list of geometries"),
            ('{"type": "FeatureCollection", "features": [1], "features": []}', "a key stands twice"),
            ("[" * 500 + "]" * 500, "nested more than 32 deep"),
            ('{"type":"Feature","geometry":' * 300 + "{}" + "}" * 300, "nested more than 32 deep"),
        ],
    )
    def test_what_is_no_outline(self, tmp_path: Path, content: Any, message: str) -> None:
        with pytest.raises(InputError, match=message):
            read_outlines(geojson(tmp_path, content))

    def test_every_refusal_can_be_sent_and_stored(self, tmp_path: Path) -> None:
        with pytest.raises(InputError) as caught:
            read_outlines(geojson(tmp_path, '[{"type": "\\ud800"}, {"type": "\\u0000"}]'))
        assert str(caught.value).encode()

    def test_only_the_first_of_many_problems_are_named(self, tmp_path: Path) -> None:
        with pytest.raises(InputError) as caught:
            read_outlines(geojson(tmp_path, [1] * 1000))
        assert len(caught.value.problems) == 21
        assert "a.geojson: further shapes were not looked at" in str(caught.value)

    def test_too_many_shapes_and_points(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        polygon = {"type": "Polygon", "coordinates": [SQUARE]}
        monkeypatch.setattr("scripts.images.drawn.outlines._MOST_SHAPES", 3)
        assert len(read_outlines(geojson(tmp_path, [polygon] * 3))) == 3
        with pytest.raises(InputError, match=r"too many outlines.*4 shapes with 20 points"):
            read_outlines(geojson(tmp_path, [polygon] * 4))
        monkeypatch.setattr("scripts.images.drawn.outlines._MOST_POINTS", 14)
        with pytest.raises(InputError, match=r"too many outlines.*3 shapes with 15 points\. Simplify"):
            read_outlines(geojson(tmp_path, [polygon] * 3))

    def test_values_that_cannot_be_accepted_are_not_even_parsed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of two bytes each, 16 MiB of them would take half a gigabyte and 20 seconds."""
        monkeypatch.setattr("scripts.images.drawn.outlines.json.loads", None)
        for content in ("[" + "0," * 2_500_001, "[" + "[]," * 1_300_000, "[" + "{}," * 1_300_000):
            with pytest.raises(InputError, match=r"too many outlines.*values"):
                read_outlines(geojson(tmp_path, content))

    def test_a_shape_with_very_many_bad_parts_is_named_once(self, tmp_path: Path) -> None:
        with pytest.raises(InputError) as caught:
            read_outlines(geojson(tmp_path, {"type": "MultiPolygon", "coordinates": [1] * 1000}))
        assert [problem.what for problem in caught.value.problems] == ["coordinates are no outline"]

    @pytest.mark.parametrize(
        ("said", "name"),
        [({"name": "Ignore"}, "Ignore"), ({"names": ["Ignore"]}, "Ignore"), ({"names": ["a", "b"]}, "a: b"),
         ("Ignore", "Ignore"), ({"names": [1]}, ""), (None, "")],
    )  # fmt: skip
    def test_class_in_all_forms_of_qupath(self, tmp_path: Path, said: Any, name: str) -> None:
        geometry = {"type": "Polygon", "coordinates": [SQUARE]}
        content = {"type": "Feature", "geometry": geometry, "properties": {"classification": said}}
        assert [one.name for one in read_outlines(geojson(tmp_path, content))] == [name]

    def test_shapes_keep_their_order_and_names_however_they_are_nested(self, tmp_path: Path) -> None:
        a, b, c = ({"type": "Polygon", "coordinates": [[[i, 0], [i + 3, 0], [i, 3]]]} for i in range(3))
        inner = feature({"type": "GeometryCollection", "geometries": [a, [b]]}, "x")
        content = [[inner, {"type": "FeatureCollection", "features": feature(c, "y")}], a]
        found = [(one.name, one.rings[0][0][0]) for one in read_outlines(geojson(tmp_path, content))]
        assert found == [("x", 0), ("x", 1), ("y", 2), ("", 0)]

    def test_missing_and_huge_files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(InputError, match="cannot be read"):
            read_outlines(tmp_path / "none.geojson")
        monkeypatch.setattr("scripts.images.drawn.outlines._MOST_BYTES", 3)
        with pytest.raises(InputError, match="too large"):
            read_outlines(geojson(tmp_path, "[1,2]"))


class TestAsap:
    XML = """<?xml version="1.0"?><ASAP_Annotations><Annotations>
    <Annotation Name="a" Type="Polygon" PartOfGroup="Tumor" Color="#F4FA58"><Coordinates>
    <Coordinate Order="2" X="30" Y="25"/><Coordinate Order="0" X="10" Y="5"/>
    <Coordinate Order="1" X="30" Y="5"/><Coordinate Order="3" X="10" Y="25"/></Coordinates></Annotation>
    <Annotation Name="b" Type="Polygon" PartOfGroup="None"><Coordinates>
    <Coordinate Order="0" X="0" Y="0"/><Coordinate Order="1" X="4" Y="0"/><Coordinate Order="2" X="4" Y="4"/>
    </Coordinates></Annotation></Annotations></ASAP_Annotations>"""

    def test_points_in_their_order(self, tmp_path: Path) -> None:
        (tmp_path / "a.xml").write_text(self.XML)
        first, second = read_outlines(tmp_path / "a.xml")
        assert (first.name, second.name) == ("Tumor", "")
        assert draw_outlines([first], SIZE).sum() == 400

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
    def test_what_is_refused(self, tmp_path: Path, old: str, new: str, message: str) -> None:
        (tmp_path / "a.xml").write_text(self.XML.replace(old, new))
        with pytest.raises(InputError, match=message):
            read_outlines(tmp_path / "a.xml")

    def test_points_without_an_order_stay_as_they_stand(self, tmp_path: Path) -> None:
        """They were sorted by x and y, which made another shape of them."""
        points = [(2, 2), (18, 2), (18, 18), (10, 4), (2, 18)]
        inner = "".join(f'<Coordinate X="{x}" Y="{y}"/>' for x, y in points)
        (tmp_path / "a.xml").write_text(f"<Annotation>{inner}</Annotation>")
        assert read_outlines(tmp_path / "a.xml")[0].rings[0].tolist() == [list(point) for point in points]

    @pytest.mark.parametrize(
        "text",
        [
            '<ASAP_Annotations xmlns="x"><Annotations><Annotation/></Annotations></ASAP_Annotations>',
            '<annotations><image><polygon points="1,1;5,5;1,5"/></image></annotations>',
        ],
    )
    def test_xml_of_another_program_is_not_an_image_without_foreground(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "a.xml").write_text(text)
        with pytest.raises(InputError, match="not annotations of ASAP"):
            read_outlines(tmp_path / "a.xml")
        (tmp_path / "a.xml").write_text("<ASAP_Annotations><Annotations/></ASAP_Annotations>")
        assert read_outlines(tmp_path / "a.xml") == []

    def test_annotations_within_annotations_have_points_of_their_own(self, tmp_path: Path) -> None:
        """Each had those of all inner ones, so that a file of 2 MB took a minute."""
        points = "".join(f'<Coordinate X="{x}" Y="{y}"/>' for x, y in ((0, 0), (4, 0), (4, 4)))
        begin, end = f"<Annotation><Coordinates>{points}</Coordinates>", "</Annotation>"
        (tmp_path / "a.xml").write_text(begin * 2000 + end * 2000)
        assert {len(one.rings[0]) for one in read_outlines(tmp_path / "a.xml")} == {3}
