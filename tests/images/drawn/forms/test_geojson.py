"""GeoJSON as QuPath writes it, and what is refused of it."""

from __future__ import annotations

from typing import Any

import pytest

from scripts.core.errors import InputError
from tests.support.drawn import read

SQUARE = [[10, 5], [30, 5], [30, 25], [10, 25], [10, 5]]
HOLE = [[15, 10], [20, 10], [20, 20], [15, 20], [15, 10]]


def feature(geometry: dict[str, Any], name: str = "") -> dict[str, Any]:
    properties = {"objectType": "annotation"} | ({"classification": {"name": name}} if name else {})
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def test_what_qupath_writes() -> None:
    polygon = {"type": "Polygon", "coordinates": [SQUARE, HOLE]}
    several = {"type": "MultiPolygon", "coordinates": [[[[0, 0], [4, 0], [4, 4]]], [[[50, 30], [55, 30], [55, 39]]]]}
    collection = {"type": "FeatureCollection", "features": [feature(polygon, "Gland"), feature(several)]}
    inner = feature({"type": "GeometryCollection", "geometries": [polygon]})
    for content, count, name in ((collection, 3, "Gland"), (collection["features"], 3, "Gland"), (inner, 1, "")):
        outlines = read(content)
        assert (len(outlines), outlines[0].name, len(outlines[0].rings)) == (count, name, 2)
    assert read({"type": "FeatureCollection", "features": []}) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("3", "not a polygon"),
        (feature({"type": "Point", "coordinates": [1, 2]}), "not a polygon.*Point.*draw polygons"),
        (feature({"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}), "coordinates are no outline"),
        (feature({"type": "Polygon", "coordinates": [[[0, 0], [1, float("nan")], [2, 2]]]}), "no outline"),
        (feature({"type": "Polygon", "coordinates": "x"}), "not a polygon"),
        (feature({"type": "Polygon", "coordinates": [[{}, {}, {}]]}), "no outline"),
        (feature({"type": "Polygon", "coordinates": [[[-1e308, -1e308], [1e308, 1e308], [1e308, 0]]]}), "no outline"),
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
        ("[" * 500 + "]" * 500, "nested more than 32 deep"),
        ('{"type":"Feature","geometry":' * 300 + "{}" + "}" * 300, "nested more than 32 deep"),
    ],
)
def test_what_is_no_outline(content: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(content)


def test_a_shape_with_very_many_bad_parts_is_named_once() -> None:
    with pytest.raises(InputError) as caught:
        read({"type": "MultiPolygon", "coordinates": [1] * 1000})
    assert [(problem.what, problem.where) for problem in caught.value.problems] == [
        ("coordinates are no outline", "a.json shape 1")
    ]


@pytest.mark.parametrize(
    ("said", "name"),
    [({"name": "Ignore"}, "Ignore"), ({"names": ["Ignore"]}, "Ignore"), ({"names": ["a", "b"]}, "a: b"),
     ("Ignore", "Ignore"), ({"names": [1]}, ""), (None, "")],
)  # fmt: skip
def test_class_in_all_forms_of_qupath(said: Any, name: str) -> None:
    geometry = {"type": "Polygon", "coordinates": [SQUARE]}
    content = {"type": "Feature", "geometry": geometry, "properties": {"classification": said}}
    assert [one.name for one in read(content)] == [name]


def test_shapes_keep_their_order_and_names_however_they_are_nested() -> None:
    a, b, c = ({"type": "Polygon", "coordinates": [[[i, 0], [i + 3, 0], [i, 3]]]} for i in range(3))
    inner = feature({"type": "GeometryCollection", "geometries": [a, [b]]}, "x")
    content = [[inner, {"type": "FeatureCollection", "features": feature(c, "y")}], a]
    found = [(one.name, one.rings[0][0][0]) for one in read(content)]
    assert found == [("x", 0), ("x", 1), ("y", 2), ("", 0)]
