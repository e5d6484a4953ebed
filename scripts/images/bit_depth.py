"""Images with 16 bits per channel, of which a camera or scanner used fewer.

A file of 16-bit numbers does not say how many bits count: 12-bit images that are read as if 65535 were white show few
and dark greys. So the number is taken from the highest value over a data set (:func:`depth_of`), stored with the run
and its model, and used for every later image.
"""

from __future__ import annotations

from typing import Any

from PIL import Image

DEPTHS = (8, 10, 12, 14, 16)
"""Bits per channel that cameras and scanners use."""
FULL = 16
_OTHER_BYTE = {"16B": "16L", "16L": "16B", "16N": "16B"}  # of a channel's two bytes Pillow keeps the first it is told


def depth_of(highest: int) -> int:
    """Return the smallest of :data:`DEPTHS` that a value fits into: 4095 -> 12."""
    return next((bits for bits in DEPTHS if highest < 2**bits), FULL)


def is_deep_colour(picture: Image.Image) -> bool:
    """Tell whether an opened file, not decoded yet, has colours of 16 bits, of which Pillow would keep 8."""
    return picture.mode in ("RGB", "RGBA") and any(_raw_mode(tile)[-3:] in _OTHER_BYTE for tile in _tiles(picture))


def with_low_bytes(picture: Image.Image) -> Image.Image:
    """Return the same opened file, not decoded yet, so that it gives the low bytes of its colours."""
    picture.tile = [_swapped(tile) for tile in _tiles(picture)]  # type: ignore[attr-defined]
    return picture


def _tiles(picture: Image.Image) -> list[Any]:
    return list(getattr(picture, "tile", []))


def _raw_mode(tile: Any) -> str:
    args = tile.args
    return str(args[0] if isinstance(args, tuple) else args)


def _swapped(tile: Any) -> Any:
    mode = _raw_mode(tile)
    other = mode[:-3] + _OTHER_BYTE[mode[-3:]]
    return tile._replace(args=(other, *tile.args[1:]) if isinstance(tile.args, tuple) else other)
