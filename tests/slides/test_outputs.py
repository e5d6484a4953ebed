from __future__ import annotations

import numpy as np
import pytest

from scripts.slides.grid import Grid
from scripts.slides.outputs import Overview
from tests.support.slides import tissue


@pytest.mark.parametrize("side", [64, 100, 700])
@pytest.mark.parametrize(("longest", "size"), [(200, (150, 200)), (5000, (600, 800)), (37, (28, 37))])
def test_thumbnail_is_put_together(side: int, longest: int, size: tuple[int, int]) -> None:
    image = tissue(600, 800)
    overview = Overview(Grid((600, 800), (600, 800), side, 0), longest)
    assert overview.size == size
    for tile in overview.grid:
        overview.add(tile, image[tile.kept.slices()], tile.row + tile.column > 0)
    found = overview._pixels.astype(float)
    rows, columns = (-(-n * part // whole) for n, part, whole in zip((side, side), size, (600, 800), strict=True))
    if side < 600:
        assert found[rows:].mean() == pytest.approx(image[side:].mean(), abs=3)
    assert found[:rows, :columns].mean() == pytest.approx(0.85 * image[:side, :side].mean(), abs=8)


def test_outlines_of_the_foreground() -> None:
    overview = Overview(Grid((400, 400), (400, 400), 400, 0), 200)
    cover = np.zeros((50, 50), np.float32)
    cover[10:30, 10:30] = 1
    picture = np.asarray(overview.picture(cover, "a title " * 50, "gland", (255, 0, 0)))
    body = picture[34:234, 8:208]  # below the title, beside the margin
    ys, xs = np.nonzero((body == (255, 0, 0)).all(axis=2))
    assert (ys.min(), xs.min()) == pytest.approx((40, 40), abs=2)
    assert (ys.max(), xs.max()) == pytest.approx((120, 120), abs=2)
    assert (body[80, 80] == 255).all()  # inside, the thumbnail shows
    assert picture.shape == (34 + 200 + 8, 200 + 16, 3)
