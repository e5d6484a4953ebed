from __future__ import annotations

import io
import json
import uuid
from typing import Any

import numpy as np
import pytest

from scripts.core.errors import InputError
from scripts.slides.contours import Polygon
from scripts.slides.geojson import FeatureWriter, PolygonRule
from scripts.slides.grid import Grid
from tests.support.slides import shapely

GRID = Grid((400, 600), (200, 200), 64, 0)  # 2 x 3 slide pixels per network pixel


def ring(left: float, top: float, right: float, bottom: float, hole: bool = False) -> np.ndarray:
    points = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    return np.array(points[::-1] if hole else points, float)


def collection(found: list[Polygon], rule: PolygonRule, mpp: tuple[float, float] | None = None) -> dict[str, Any]:
    file = io.BytesIO()
    writer = FeatureWriter(rule, GRID, mpp, "slide")
    writer.write(file, found)
    content = json.loads(file.getvalue())
    assert writer.count == len(content["features"])
    return content


def test_is_what_qupath_exports() -> None:
    square = Polygon(ring(10, 10, 50, 50), (ring(20, 20, 30, 30, hole=True),))
    content = collection([square, square], PolygonRule("Gland", (1, 2, 3)), (0.5, 0.25))
    assert content["type"] == "FeatureCollection" and set(content) == {"type", "features"}
    first, second = content["features"]
    assert first["type"] == "Feature" and first["geometry"]["type"] == "Polygon"
    assert uuid.UUID(first["id"]) != uuid.UUID(second["id"])
    properties = first["properties"]
    assert properties["objectType"] == "annotation"
    assert properties["classification"] == {"name": "Gland", "color": [1, 2, 3]}
    assert properties["measurements"] == {"Area px^2": 1500 * 6, "Area µm^2": 1500 * 6 / 8}
    outline, hole = first["geometry"]["coordinates"]
    assert outline[0] == outline[-1] and hole[0] == hole[-1]
    assert shapely.Polygon(outline).equals(shapely.box(30, 20, 150, 100))
    assert shapely.Polygon(hole).equals(shapely.box(60, 40, 90, 60))


def test_ids_are_the_same_each_time() -> None:
    found = [Polygon(ring(0, 0, 20, 20), ())]
    one, other = (collection(found, PolygonRule())["features"][0]["id"] for _ in range(2))
    assert one == other


def test_small_polygons_and_holes_are_left_out() -> None:
    found = [
        Polygon(ring(0, 0, 10, 10), ()),
        Polygon(ring(20, 0, 30, 9), ()),
        Polygon(ring(40, 0, 60, 20), (ring(41, 1, 45, 5, True), ring(50, 1, 53, 5, True))),
        Polygon(ring(70, 0, 81, 10), (ring(71, 1, 76, 6, True),)),
    ]
    features = collection(found, PolygonRule(min_area=100, min_hole=16))["features"]
    areas = [
        shapely.Polygon(f["geometry"]["coordinates"][0], f["geometry"]["coordinates"][1:]).area / 6 for f in features
    ]
    assert areas == [100, 400 - 16]


def test_simplified_outlines_stay_near_and_valid() -> None:
    rng = np.random.default_rng(0)
    turn = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    away = 60 + 12 * np.cos(5 * turn) + rng.normal(0, 0.1, turn.shape)
    points = np.stack([100 + away * np.cos(turn), 100 + away * np.sin(turn)], axis=1)
    one = Polygon(np.concatenate([points, points[:1]]), (ring(90, 90, 110, 110, hole=True),))
    exact = shapely.Polygon(one.outline, one.holes)
    sizes = []
    for tolerance in (0.0, 0.5, 3.0):
        (feature,) = collection([one], PolygonRule(tolerance=tolerance))["features"]
        rings = [np.array(part) / (3, 2) for part in feature["geometry"]["coordinates"]]
        shape = shapely.Polygon(rings[0], rings[1:])
        assert shape.is_valid
        assert shape.exterior.hausdorff_distance(exact.exterior) <= tolerance + 0.01
        assert feature["properties"]["measurements"]["Area px^2"] == pytest.approx(6 * shape.area, rel=1e-3)
        sizes.append(len(rings[0]))
    assert sizes[0] == 401 and sizes[0] > 3 * sizes[1] > 3 * sizes[2]


def test_polygons_with_many_holes_are_simplified_another_way() -> None:
    turn = np.linspace(0, -2 * np.pi, 41)
    circle = np.stack([4 * np.cos(turn), 4 * np.sin(turn)], axis=1)
    centres = [(10 * x + 10, 10 * y + 10) for x in range(19) for y in range(19)]
    one = Polygon(ring(0, 0, 200, 200), tuple(circle + centre for centre in centres))
    (feature,) = collection([one], PolygonRule())["features"]
    rings = feature["geometry"]["coordinates"]
    found = shapely.Polygon(rings[0], rings[1:])
    assert found.is_valid and len(rings) == 1 + 19 * 19
    assert sum(map(len, rings)) < 0.6 * 41 * len(centres)
    assert found.area == pytest.approx(6 * shapely.Polygon(one.outline, one.holes).area, rel=0.05)


def test_no_polygon_at_all() -> None:
    assert collection([], PolygonRule())["features"] == []


@pytest.mark.parametrize(
    "values",
    [{"name": ""}, {"colour": (1, 2)}, {"colour": (1, 2, 256)}, {"min_area": -1}, {"min_hole": -1}, {"tolerance": -1}],
)
def test_refuses_values_out_of_range(values: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"polygons#{next(iter(values))}"):
        PolygonRule(**values)
