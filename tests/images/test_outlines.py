"""Outlines become masks pixel by pixel, and files that are none are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.path import Path as Curve

from scripts.core.errors import InputError
from scripts.images.outlines import Outline, draw_outlines, read_outlines, spoken_class

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


def inside(rings: list[np.ndarray], size: tuple[int, int] = SIZE) -> np.ndarray:
    """The same by matplotlib, ring by ring, even-odd."""
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    centres = np.stack([x.ravel(), y.ravel()], axis=1)
    return sum(Curve(ring).contains_points(centres).astype(int) for ring in rings).reshape(size) % 2 == 1  # type: ignore[union-attr]


class TestDrawing:
    def test_whole_pixels_of_a_rectangle(self) -> None:
        mask = draw_outlines([Outline((np.array(SQUARE, float),))], SIZE)
        expected = np.zeros(SIZE, np.uint8)
        expected[5:25, 10:30] = 1
        np.testing.assert_array_equal(mask, expected)

    def test_holes_stay_empty(self) -> None:
        mask = draw_outlines([Outline((np.array(SQUARE, float), np.array(HOLE, float)))], SIZE)
        assert mask.sum() == 20 * 20 - 5 * 10
        assert not mask[10:20, 15:20].any()

    @pytest.mark.parametrize("seed", range(20))
    def test_as_an_independent_point_test(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        rings = [rng.uniform(-10, 70, (n, 2)) for n in rng.integers(3, 9, rng.integers(1, 3))]
        mask = draw_outlines([Outline(tuple(rings))], SIZE)
        np.testing.assert_array_equal(mask == 1, inside(rings))

    def test_polygons_beside_and_beyond_the_image(self) -> None:
        far = Outline((np.array([[100, 100], [120, 100], [110, 120]], float),))
        over = Outline((np.array([[-9, -9], [5, -9], [5, 99], [-9, 99]], float),))
        mask = draw_outlines([far, over], SIZE)
        assert mask.sum() == mask[:, :5].sum() == 40 * 5

    def test_overlapping_polygons_join_and_ignore_wins(self) -> None:
        square = Outline((np.array(SQUARE, float),))
        ignored = Outline((np.array(HOLE, float),), "Ignore*")
        mask = draw_outlines([ignored, square, square], SIZE)
        assert ((mask == 1).sum(), (mask == 255).sum()) == (350, 50)


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
        ],
    )
    def test_what_is_no_outline(self, tmp_path: Path, content: Any, message: str) -> None:
        with pytest.raises(InputError, match=message):
            read_outlines(geojson(tmp_path, content))

    def test_missing_and_huge_files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(InputError, match="cannot be read"):
            read_outlines(tmp_path / "none.geojson")
        monkeypatch.setattr("scripts.images.outlines._MOST_BYTES", 3)
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
            ('Type="Polygon" PartOfGroup="None"', 'Type="Dot"', "annotation 2.*Dot"),
            ("<ASAP_", '<!DOCTYPE x [<!ENTITY a "b">]><ASAP_', "defines entities"),
        ],
    )
    def test_what_is_refused(self, tmp_path: Path, old: str, new: str, message: str) -> None:
        (tmp_path / "a.xml").write_text(self.XML.replace(old, new))
        with pytest.raises(InputError, match=message):
            read_outlines(tmp_path / "a.xml")


class TestSpokenClass:
    FRAME = Outline((np.array([[0, 0], [60, 0], [60, 40], [0, 40]], float),), "Benign")

    def test_a_frame_only_says_the_class(self) -> None:
        gland = Outline((np.array(SQUARE, float),), "Gland")
        assert spoken_class([self.FRAME, gland], ("benign", "malignant"), SIZE) == ("benign", [gland])
        assert spoken_class([self.FRAME], ("benign", "malignant"), SIZE) == ("benign", [])

    def test_a_smaller_shape_is_drawn_too(self) -> None:
        gland = Outline((np.array(SQUARE, float),), "malignant")
        assert spoken_class([gland], ("benign", "malignant"), SIZE) == ("malignant", [gland])

    def test_a_frame_of_another_name_is_drawn(self) -> None:
        frame = Outline(self.FRAME.rings, "Gland")
        assert spoken_class([frame], ("benign",), SIZE) == ("", [frame])

    def test_two_classes(self) -> None:
        other = Outline((np.array(SQUARE, float),), "malignant")
        with pytest.raises(InputError, match=r"several classes.*benign, malignant"):
            spoken_class([self.FRAME, other], ("benign", "malignant"), SIZE)
