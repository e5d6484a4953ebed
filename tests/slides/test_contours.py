from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scripts.images.regions import connected_components
from scripts.slides import contours
from scripts.slides.contours import Polygon, polygons, signed_area
from scripts.slides.disk_plane import DiskPlane
from tests.support.slides import disk, shapely, smooth


def of(values: np.ndarray, folder: Path, cut: float = 0.5) -> list[Polygon]:
    plane = disk(values.astype(np.int16), folder, fill=-9)
    found = list(polygons(plane, cut))
    plane.close()
    return found


def shape(polygon: Polygon) -> shapely.Polygon:
    return shapely.Polygon(polygon.outline, polygon.holes)


def as_mask(found: list[Polygon], size: tuple[int, int]) -> np.ndarray:
    """Which pixels have their centre inside, bool (H, W)."""
    ys, xs = np.mgrid[: size[0], : size[1]] + 0.5
    mask = np.zeros(size, bool)
    for polygon in found:
        inside = shapely.contains_xy(shape(polygon), xs, ys)
        assert not (mask & inside).any()  # polygons do not overlap
        mask |= inside
    return mask


@pytest.mark.parametrize("size", [(90, 130), (64, 64), (33, 200)])
@pytest.mark.parametrize("block", [7, 32, 64, 1024])
def test_polygons_enclose_the_foreground(
    size: tuple[int, int], block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contours, "BLOCK", block)
    values = smooth(*size, seed=size[0], period=7)
    found = of(values, tmp_path)
    np.testing.assert_array_equal(as_mask(found, size), values > 0.5)
    assert all(shape(polygon).is_valid for polygon in found)
    assert all(signed_area(p.outline) > 0 and all(signed_area(hole) < 0 for hole in p.holes) for p in found)


@pytest.mark.parametrize("block", [5, 16, 33])
def test_blocks_do_not_show(block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = smooth(101, 87, seed=3, period=6)
    whole = shapely.normalize(shapely.MultiPolygon([shape(p) for p in of(values, tmp_path)]))
    monkeypatch.setattr(contours, "BLOCK", block)
    parts = shapely.normalize(shapely.MultiPolygon([shape(p) for p in of(values, tmp_path)]))
    assert len(parts.geoms) == len(whole.geoms) > 5
    assert shapely.equals_exact(parts, whole, tolerance=1e-9)


def test_pieces_are_the_connected_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contours, "BLOCK", 16)
    blobs = np.kron(np.random.default_rng(0).random((20, 25)) < 0.3, np.ones((5, 5)))
    blobs[::5] = blobs[:, ::5] = 0  # 4 x 4 squares that do not touch
    assert len(of(np.where(blobs, 5, -5), tmp_path)) == connected_components(blobs).max()


def test_islands_in_holes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contours, "BLOCK", 8)
    values = np.full((60, 60), -5)
    for border in (5, 12, 19, 26):
        values[border:-border, border:-border] *= -1
    found = sorted(of(values, tmp_path), key=lambda polygon: -signed_area(polygon.outline))
    assert [len(polygon.holes) for polygon in found] == [1, 1]
    np.testing.assert_array_equal(as_mask(found, (60, 60)), values > 0)
    outer, inner = map(shape, found)
    assert outer.disjoint(inner) and shapely.Polygon(found[0].holes[0]).contains(inner)


def test_foreground_at_the_border_ends_there(tmp_path: Path) -> None:
    (polygon,) = of(np.full((20, 30), 5), tmp_path)
    assert shape(polygon).equals(shapely.box(0, 0, 30, 20))
    values = np.full((20, 30), -5)
    values[:10, :12] = 5
    (polygon,) = of(values, tmp_path)
    corner = shape(polygon)
    assert corner.bounds == pytest.approx((0, 0, 12, 10), abs=0.06) and corner.bounds[:2] == (0, 0)
    assert corner.area == pytest.approx(120, abs=1.3)  # the cut is 0.5, and the inner corner is cut off


def test_lines_lie_between_pixels_by_their_values(tmp_path: Path) -> None:
    values = np.tile(np.array([-9, -9, 1, 1, -2]), (6, 1))  # cut 0.5: at 9.5 / 10 and 0.5 / 3 of the ways between
    (polygon,) = of(values, tmp_path)
    left, _, right, _ = shape(polygon).bounds
    assert (left, right) == (pytest.approx(1.5 + 0.95), pytest.approx(3.5 + 0.5 / 3))


def test_nothing_and_everything_but_a_pixel(tmp_path: Path) -> None:
    assert of(np.full((9, 9), -5), tmp_path) == []
    assert list(polygons(DiskPlane((5000, 5000), np.int16, -9, tmp_path), 0.5)) == []
    values = np.full((9, 9), 5)
    values[4, 4] = -5
    (polygon,) = of(values, tmp_path)
    assert len(polygon.holes) == 1 and np.mean(polygon.holes[0][:-1], axis=0).tolist() == [4.5, 4.5]


def test_polygons_are_handed_on_when_they_are_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contours, "BLOCK", 10)
    values = np.full((1000, 10), -5)
    values[np.arange(1000) % 20 < 5] = 5
    rows: list[int] = []
    plane = disk(values.astype(np.int16), tmp_path)
    at = [row for row, _ in ((len(rows), polygon) for polygon in polygons(plane, 0.5, lambda: rows.append(0)))]
    assert len(at) == 50 and at == sorted(at) and at[0] <= 1 and at[-1] > 90


@pytest.mark.parametrize("most", [40, 300])
def test_what_hangs_together_for_too_long_is_cut(most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = smooth(200, 60, seed=4, period=6) + 1500
    whole = of(values, tmp_path)
    monkeypatch.setattr(contours, "BLOCK", 16)
    monkeypatch.setattr(contours, "MOST_POINTS", most)
    parts = of(values, tmp_path)
    assert len(parts) > len(whole)
    assert max(len(p.outline) for p in parts) < max(len(p.outline) for p in whole) / 2
    shapes = [shape(polygon) for polygon in parts]
    assert all(one.is_valid for one in shapes)
    union, expected = shapely.union_all(shapes), shapely.union_all([shape(polygon) for polygon in whole])
    assert union.symmetric_difference(expected).area < 1e-6
    assert sum(one.area for one in shapes) == pytest.approx(expected.area)  # and they do not overlap
