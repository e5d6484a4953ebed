"""Files of outlines, read as the gate reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from scripts.images.drawn.outline_drawing import draw_outlines
from scripts.images.drawn.outline_files import read_outlines
from scripts.images.drawn.outlines import Outline, Picture

SIZE = (40, 60)
PICTURE = Picture(SIZE, ("a",))


def read(content: Any, picture: Picture = PICTURE) -> list[Outline]:
    """Return the outlines in a text, or in what is written as JSON."""
    is_xml = isinstance(content, str) and content.lstrip().startswith("<")
    text = content if isinstance(content, str) else json.dumps(content)
    return read_outlines(Path("a.xml" if is_xml else "a.json"), picture, text.encode())


def drawn(content: Any, picture: Picture = PICTURE) -> np.ndarray:
    """Return the mask of the outlines in a text, or in what is written as JSON."""
    return draw_outlines(read(content, picture), picture.size)


def box_mask(*boxes: tuple[int, int, int, int], size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return a mask with 1 in boxes (left, top, right, bottom)."""
    mask = np.zeros(size, np.uint8)
    for left, top, right, bottom in boxes:
        mask[top:bottom, left:right] = 1
    return mask
