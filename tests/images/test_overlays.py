"""Overlays: contours where the border is, colours as captioned, holes named, wrong sizes refused."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.core.errors import InputError
from scripts.images.overlays import COLOURS, COLUMNS, LONG_SIDE, overlay_panel

SIZE = (60, 80)


@pytest.fixture
def maps() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = np.zeros(SIZE, np.uint8)
    truth[15:40, 20:50] = 1
    pred = np.roll(truth, 10, axis=1)
    return {
        "image": rng.integers(120, 240, (*SIZE, 3), dtype=np.uint8),
        "truth": truth,
        "cam": rng.normal(size=SIZE).astype(np.float32),
        "probs": pred.astype(np.float32) * 0.9,
        "pred": pred.astype(bool),
        "pseudo": np.roll(truth, -10, axis=1),
    }


def _columns(panel: np.ndarray) -> list[np.ndarray]:
    height = round(SIZE[0] * LONG_SIDE / SIZE[1])
    step = (panel.shape[1] - 6) // len(COLUMNS)
    return [panel[-height - 6 : -6, 6 + i * step : 6 + i * step + LONG_SIDE] for i in range(len(COLUMNS))]


def _has(field: np.ndarray, colour: str) -> np.ndarray:
    return (field == COLOURS[colour]).all(axis=2)


def test_each_column_shows_its_contours_and_no_others(maps: dict) -> None:
    fields = _columns(np.asarray(overlay_panel(**maps, title="t")))
    found = [{name for name in COLOURS if _has(field, name).any()} for field in fields]
    assert found == [set(), {"truth"}, {"truth"}, {"truth", "prediction"}, {"truth", "pseudo"}]


def test_a_contour_lies_on_the_border(maps: dict) -> None:
    drawn = _has(_columns(np.asarray(overlay_panel(**maps, title="t")))[1], "truth")
    scale = LONG_SIDE / SIZE[1]
    rows, columns = np.nonzero(drawn)
    box = (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1)
    assert np.allclose(np.array(box) / scale, (15, 40, 20, 50), atol=0.6)
    assert not drawn[int(20 * scale) : int(35 * scale), int(25 * scale) : int(45 * scale)].any()


def test_no_line_where_the_mask_leaves_the_picture(maps: dict) -> None:
    maps["truth"] = np.ones(SIZE, np.uint8)
    assert not _has(_columns(np.asarray(overlay_panel(**maps, title="t")))[1], "truth").any()


def test_ignored_pixels_are_grey_and_without_contour(maps: dict) -> None:
    maps["truth"] = np.full(SIZE, 255, np.uint8)
    field = _columns(np.asarray(overlay_panel(**maps, title="t")))[1]
    assert (field == 128).all()


def test_what_is_missing_is_an_empty_field_of_the_same_size(maps: dict) -> None:
    full = overlay_panel(**maps, title="t")
    only = overlay_panel(maps["image"], None, None, None, None, None, "x" * 500, {"image": "y" * 200})
    assert only.size == full.size
    fields = _columns(np.asarray(only))
    assert all((field[:20, :20] == 235).all() for field in fields[1:])
    assert np.array_equal(fields[0], _columns(np.asarray(full))[0])


def test_inputs_are_left_as_they_are(maps: dict) -> None:
    before = {name: values.copy() for name, values in maps.items()}
    first, second = (overlay_panel(**maps, title="t").tobytes() for _ in range(2))
    assert first == second
    assert all(np.array_equal(before[name], values) for name, values in maps.items())


def test_a_constant_map_is_no_division_by_zero(maps: dict) -> None:
    maps["cam"] = np.full(SIZE, 3.0, np.float32)
    with np.errstate(all="raise"):
        overlay_panel(**maps, title="t")


def test_wrong_sizes_and_columns_are_refused_together(maps: dict) -> None:
    maps["pred"], maps["cam"] = maps["pred"][1:], maps["cam"][:, 1:]
    with pytest.raises(InputError) as caught:
        overlay_panel(**maps, title="t", labels={"nose": "x"})
    assert all(name in str(caught.value) for name in ("pred", "cam", "nose"))
