"""Outlines become masks pixel by pixel, in a time that does not depend on who sends them."""

from __future__ import annotations

import time

import numpy as np
import pytest
from matplotlib.path import Path as Curve

from scripts.core.errors import InputError
from scripts.images.drawn.outline_drawing import draw_outlines, refuse_costly, spoken_class
from scripts.images.drawn.outlines import Outline

SIZE = (40, 60)
SQUARE = [[10, 5], [30, 5], [30, 25], [10, 25], [10, 5]]
HOLE = [[15, 10], [20, 10], [20, 20], [15, 20], [15, 10]]


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

    def test_numbers_far_outside(self) -> None:
        far = Outline((np.array([[-1e7, -1e7], [1e7, -1e7], [1e7, 1e7], [-1e7, 1e7]]),))
        assert draw_outlines([far], SIZE).all()

    def test_many_edges_are_drawn_by_parts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ring = np.random.default_rng(0).uniform(-5, 65, (300, 2))
        whole = draw_outlines([Outline((ring,))], SIZE)
        monkeypatch.setattr("scripts.images.drawn.outline_drawing._CROSSINGS_AT_ONCE", 50)
        np.testing.assert_array_equal(draw_outlines([Outline((ring,))], SIZE), whole)


class TestEffort:
    def test_a_drawing_by_hand_is_far_below(self) -> None:
        turn = np.linspace(0, 2 * np.pi, 2000)
        glands = [
            Outline((np.stack([np.cos(turn), np.sin(turn)], axis=1) * 200 + (300 * i, 300 * j),))
            for i in range(10) for j in range(7)
        ]  # fmt: skip
        refuse_costly(glands, (2000, 3000), "a.geojson")

    def test_shapes_over_each_other(self) -> None:
        frame = np.array([[0, 0], [3000, 0], [3000, 2000], [0, 2000]], float)
        with pytest.raises(InputError, match=r"a.geojson: outlines take too long to draw.*Simplify"):
            refuse_costly([Outline((frame,))] * 200, (2000, 3000), "a.geojson")

    def test_edges_up_and_down(self) -> None:
        zigzag = np.stack([np.tile([0.0, 60.0], 250_000), np.tile([0.0, 3000.0], 250_000)], axis=1)
        with pytest.raises(InputError, match="take too long to draw"):
            refuse_costly([Outline((zigzag,))], (3000, 60), "a.geojson")

    @pytest.mark.parametrize("points", [500_000])
    def test_as_many_points_as_a_file_may_have_take_seconds(self, points: int) -> None:
        ring = np.random.default_rng(0).uniform(0, 64, (points, 2))
        began = time.perf_counter()
        refuse_costly([Outline((ring,))], (64, 64), "a.geojson")
        draw_outlines([Outline((ring,))], (64, 64))
        assert time.perf_counter() - began < 10.0  # it was 23 s with a loop over the edges

    def test_named_shapes_are_not_drawn_one_by_one_to_see_their_area(self) -> None:
        small = Outline((np.array(SQUARE, float),), "benign")
        began = time.perf_counter()
        said, drawn = spoken_class([small] * 20_000, ("benign",), (1000, 1000))
        assert (said, len(drawn)) == ("benign", 20_000)
        assert time.perf_counter() - began < 5.0


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
