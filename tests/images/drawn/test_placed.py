from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from scripts.images.drawn.outline_drawing import draw_outlines
from scripts.images.drawn.outlines import Outline
from scripts.images.drawn.placed import clipped, cut_to, put_back
from scripts.images.slide_files.box import Box

RNG = np.random.default_rng(0)
AREA = Box(40, 30, 140, 150)


def star(centre: tuple[float, float], radius: float, points: int = 24) -> np.ndarray:
    angle = np.arange(points) * 2 * np.pi / points
    length = radius * RNG.uniform(0.3, 1.0, points)
    return np.stack([centre[0] + length * np.cos(angle), centre[1] + length * np.sin(angle)], axis=1)


@pytest.mark.parametrize("seed", range(8))
def test_what_is_cut_out_is_the_part_of_what_was_drawn(seed: int) -> None:
    centres = np.random.default_rng(seed).uniform(0, 180, (6, 2))
    outlines = [Outline((star(tuple(c), 60), star(tuple(c), 15))) for c in centres]
    whole = draw_outlines(outlines, (200, 200))
    part = draw_outlines(cut_to(outlines, AREA, (100, 120)), (100, 120))
    assert (part != whole[40:140, 30:150]).sum() <= 3  # pixels whose centre lies on an edge


def test_at_another_scale() -> None:
    outlines = [Outline((star((90, 90), 60),))]
    half = draw_outlines(cut_to(outlines, AREA, (50, 60)), (50, 60))
    whole = Image.fromarray(draw_outlines(outlines, (200, 200))[40:140, 30:150] * np.uint8(255))
    mean = np.asarray(whole.resize((60, 50), Image.Resampling.BOX)) / 255
    assert (np.abs(half - mean) > 0.5).mean() < 0.01


def test_back_again() -> None:
    ring = star((30, 25), 20)
    back = put_back(Outline((ring,), "a"), AREA, (50, 60))
    (again,) = cut_to([back], AREA, (50, 60))
    np.testing.assert_allclose(again.rings[0], ring, atol=1e-9)
    assert again.name == "a"


def test_nothing_is_left_of_what_lies_beyond_or_only_touches() -> None:
    beside = np.array([[150, 40], [170, 40], [170, 90], [150, 90.0]])
    assert cut_to([Outline((beside,)), Outline((beside + 500,))], AREA, (100, 120)) == []
    assert len(clipped(np.array([[-9, -9], [-5, -9], [-5, -5.0]]), (10, 10))) == 0
    around = clipped(np.array([[-9, -9], [50, -9], [50, 50], [-9, 50.0]]), (10, 20))
    assert sorted(map(tuple, around.tolist())) == [(0, 0), (0, 10), (20, 0), (20, 10)]
