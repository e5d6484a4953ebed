"""The values that a mask file stores, before any rule says which of them are foreground.

Unlike images, masks are read raw: palette indices and grey values are kept as stored, nothing is stretched, and no
EXIF orientation is applied. One-bit files count as 0 and 255.

Forms whose pixels mean something else than a viewer shows are told by a note: a TIFF that stores white as 0, as ImageJ
writes masks with an inverted table of colours; and a layer of a drawing program, whose transparent pixels were never
drawn on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from scripts.images.files.tiff import numbers_of, type_of

WHITE_IS_ZERO = "stored with white as 0 (MinIsWhite) and read as stored: 0 is the ground"
GREY_PALETTE = "with a palette whose order is not that of its greys, read by its greys: black is the ground"
_PHOTOMETRIC, _BITS = 262, 258  # tags of TIFF


@dataclass(frozen=True)
class StoredMask:
    """What a mask file holds.

    Attributes:
        values: (H, W), or (H, W, 3) for colour, any real dtype; indices for a palette. Transparent pixels are 0, and
            where all others have one colour they are 255.
        colours: uint8 (H, W, 3) that the indices of a palette stand for; None for other files.
        lossy: whether compression has changed the values.
        notes: what a user should know, equal for masks with the same peculiarity.
    """

    values: np.ndarray
    colours: np.ndarray | None = None
    lossy: bool = False
    notes: tuple[str, ...] = ()

    @property
    def is_coloured(self) -> bool:
        """True where channels of a pixel differ."""
        return self.values.ndim == 3 and bool((self.values != self.values[..., :1]).any())

    def grey_by_colour(self) -> StoredMask:
        """Return the mask with the greys of its palette in place of their indices.

        A mask without a palette, with a coloured one, or with one of greys in the order of their indices is returned as
        it is; so is one in which indices that are used share a grey, since then only the indices part them.
        """
        if self.colours is None or (self.colours != self.colours[..., :1]).any():
            return self
        grey = self.colours[..., 0]
        used, first = np.unique(self.values, return_index=True)
        greys = grey.ravel()[first].astype(int)
        if len(set(greys.tolist())) < len(used) or ((np.diff(greys) > 0).all() and (used[0] == 0) == (greys[0] == 0)):
            return self
        return replace(self, values=grey, notes=(*self.notes, GREY_PALETTE))

    def by_colour(self) -> np.ndarray:
        """Return uint8 or wider (H, W, 3): the colour of each pixel; a grey one has three equal channels."""
        values = self.values if self.colours is None else self.colours
        return values if values.ndim == 3 else np.repeat(values[..., None], 3, axis=2)


def stored_in_array(values: np.ndarray) -> StoredMask:
    """Return the mask of values (H, W), or (H, W, C) with C 2 (grey, alpha), 3 or 4, any real dtype."""
    if values.ndim == 2 or values.shape[2] == 3:
        return StoredMask(values)
    colour = values[..., 0] if values.shape[2] == 2 else values[..., :3]
    return StoredMask(_without_transparent(colour, values[..., -1]))


def stored_in_picture(picture: Image.Image) -> StoredMask:
    """Return the mask of an opened picture of any mode; decoding it may raise as Pillow does."""
    if picture.mode in ("P", "PA"):
        return _of_palette(picture)
    if picture.mode == "1":
        picture = picture.convert("L")
    elif picture.mode not in ("L", "LA", "RGB", "RGBA", "F") and not picture.mode.startswith("I"):
        picture = picture.convert("RGB")
    stored = stored_in_array(numbers_of(picture, type_of(picture)))
    if picture.mode == "L" and _is_white_zero(picture):
        return StoredMask(255 - stored.values, notes=(WHITE_IS_ZERO,))  # Pillow has inverted it for viewing
    return replace(stored, lossy=picture.format in ("JPEG", "MPO"))


def _is_white_zero(picture: Image.Image) -> bool:
    tags = getattr(picture, "tag_v2", {})
    return tags.get(_PHOTOMETRIC) == 0 and tuple(tags.get(_BITS, ())) == (8,)


def _of_palette(picture: Image.Image) -> StoredMask:
    indices = np.asarray(picture.convert("P") if picture.mode == "PA" else picture)
    colours = np.asarray(picture.convert("RGB"))
    if picture.has_transparency_data:
        alpha = np.asarray(picture.convert("RGBA"))[..., 3]
        indices = _without_transparent(indices, alpha)
        colours = np.where((alpha == 0)[..., None], np.uint8(0), colours)
    return StoredMask(indices, colours)


def _without_transparent(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return (H, W[, 3]) where nobody drew on a transparent pixel, whatever its colour.

    Args:
        colour: (H, W) or (H, W, 3).
        alpha: (H, W), 0 for transparent; the same everywhere says nothing.
    """
    if (alpha == alpha[0, 0]).all():
        return colour
    drawn = colour[alpha > 0]
    if (drawn == drawn[0]).all():
        return alpha  # what was drawn may be black: only alpha parts it from the ground
    transparent = alpha == 0
    return np.where(transparent if colour.ndim == 2 else transparent[..., None], colour.dtype.type(0), colour)
