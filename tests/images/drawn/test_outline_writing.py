"""Masks written as outlines and read again are the same masks, in every form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scripts.core.errors import InputError
from scripts.images.drawn.drawings import drawing_of
from scripts.images.drawn.outline_drawing import draw_outlines
from scripts.images.drawn.outline_files import read_outlines
from scripts.images.drawn.outline_writing import FORMS, files_of
from scripts.images.drawn.outlines import Picture


def masks() -> dict[str, np.ndarray]:
    """Masks of several objects: with holes, with objects within holes, touching at corners, ignored, empty, full."""
    rng = np.random.default_rng(0)
    rings = np.zeros((37, 53), np.uint8)
    rings[2:30, 3:40] = 1
    rings[5:20, 6:20] = rings[22:28, 30:33] = 0
    rings[8:15, 9:14] = 1
    rings[10:12, 10:12] = 0
    rings[30:35, 40:53] = 1
    rings[0:2, 45:53] = 255
    rings[24:26, 8:12] = 255  # within an object
    noise = rng.choice(np.array([0, 1, 255], np.uint8), (23, 31), p=(0.4, 0.5, 0.1))
    pixel = np.zeros((3, 4), np.uint8)
    pixel[1, 2] = 1
    return {"rings": rings, "noise": noise, "empty": np.zeros((9, 7), np.uint8), "full": np.ones((300, 290), np.uint8),
            "corners": np.eye(12, 9, dtype=np.uint8), "pixel": pixel}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_the_mask_that_is_read_is_the_one_that_was_written(form: str) -> None:
    known = masks()
    files = dict(files_of(form, [drawing_of(f"{name}.png", mask) for name, mask in known.items()]))
    assert len(files) == (1 if FORMS[form].holds_all else len(known))
    for name, mask in known.items():
        file = f"{form if FORMS[form].holds_all else name}{FORMS[form].suffix}"
        picture = Picture((mask.shape[0], mask.shape[1]), (name,))
        outlines = read_outlines(Path(file), picture, files[file])
        np.testing.assert_array_equal(draw_outlines(outlines, picture.size), mask, err_msg=name)


@pytest.mark.parametrize("form", [form for form in FORMS if form != "imagescope"])  # there holes are shapes
def test_an_object_is_one_shape(form: str) -> None:
    mask = masks()["rings"]
    ((name, content),) = files_of(form, [drawing_of("a.png", mask)])
    outlines = read_outlines(Path(name), Picture((mask.shape[0], mask.shape[1]), ("a",)), content)
    assert [outline.name for outline in outlines] == ["foreground"] * 3 + ["Ignore"] * 2


def test_an_unknown_form() -> None:
    with pytest.raises(InputError, match=r"unknown form of outlines.*geojson, coco"):
        list(files_of("yolo", []))
