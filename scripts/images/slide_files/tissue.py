"""Which pixels of a slide are empty: bare glass, or painted by the scanner where nothing was scanned."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

WHITE, BLACK = 220, 5


def empty_pixels(pixels: npt.NDArray[np.uint8], white: int = WHITE, black: int = BLACK) -> npt.NDArray[np.bool_]:
    """Return which pixels (H, W) of (H, W, 3) are empty.

    Args:
        pixels: RGB.
        white: least value of the darkest channel of an empty pixel.
        black: greatest value of the brightest channel of an empty pixel.
    """
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    darkest = np.minimum(np.minimum(red, green), blue)
    brightest = np.maximum(np.maximum(red, green), blue)
    return (darkest >= white) | (brightest <= black)
