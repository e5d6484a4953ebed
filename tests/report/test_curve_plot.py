"""The picture of the curves: deterministic, and different where the runs differ."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from scripts.report.curve_plot import draw_curves


def _rows(*dices: float) -> list[dict]:
    return [{"masks": 8 + 2 * i, "dice": dice} for i, dice in enumerate(dices)]


def _pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_same_runs_give_the_same_bytes_and_a_legible_size() -> None:
    runs = {"random": [_rows(0.5, 0.6), _rows(0.4, 0.7)], "full_sup": [_rows(0.9)]}
    first = draw_curves(runs)
    assert first == draw_curves(runs)
    assert min(_pixels(first).shape[:2]) >= 600


def test_each_method_has_its_colour_and_an_unknown_one_too() -> None:
    starts = {"random": 0.3, "entropy": 0.5, "own": 0.7}
    runs = {name: [_rows(*np.linspace(low, 0.9, 5))] for name, low in starts.items()}
    seen = {tuple(colour) for colour in _pixels(draw_curves(runs)).reshape(-1, 3)}
    assert {(0x00, 0x72, 0xB2), (0x00, 0x9E, 0x73), (0xE6, 0x9F, 0x00)} <= seen


def test_a_band_is_drawn_for_several_seeds_only() -> None:
    one = _pixels(draw_curves({"random": [_rows(0.4, 0.6, 0.7)]}))
    two = _pixels(draw_curves({"random": [_rows(0.3, 0.5, 0.6), _rows(0.5, 0.7, 0.8)]}))

    def band(picture: np.ndarray) -> int:
        pale_blue = (picture[..., 2] > picture[..., 0].astype(int) + 25) & (picture.min(axis=2) > 180)
        return int(pale_blue.sum())

    assert band(one) < 4000 < band(two)


def test_seeds_of_unequal_length_and_no_runs_at_all() -> None:
    assert draw_curves({"random": [_rows(0.4, 0.6, 0.7), _rows(0.5), []]})
    assert draw_curves({}) == draw_curves({"random": [[]]})
