from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from scripts.images.mask_files.stored import GREY_PALETTE, WHITE_IS_ZERO, stored_in_array, stored_in_picture

DISC = (np.hypot(*np.mgrid[-20:20, -20:20]) < 12).astype(np.uint8)


def reopened(picture: Image.Image, form: str, **options) -> Image.Image:
    content = io.BytesIO()
    picture.save(content, form, **options)
    return Image.open(content)


def with_palette(indices: np.ndarray, colours: list[tuple[int, int, int]], **options) -> Image.Image:
    picture = Image.fromarray(indices).convert("P")
    picture.putdata(indices.ravel().tolist())
    picture.putpalette([part for colour in colours for part in colour] + [0] * (768 - 3 * len(colours)))
    return reopened(picture, "PNG", **options)


class TestPalettes:
    def test_white_before_black_is_read_by_its_greys(self) -> None:
        stored = stored_in_picture(with_palette(1 - DISC, [(255, 255, 255), (0, 0, 0)]))
        assert np.array_equal(stored.values, 1 - DISC)
        by_colour = stored.grey_by_colour()
        assert np.array_equal(by_colour.values, DISC * 255)
        assert by_colour.notes == (GREY_PALETTE,)

    @pytest.mark.parametrize(
        "colours",
        [
            [(0, 0, 0), (255, 255, 255)],  # as a viewer and the indices have it
            [(0, 0, 0), (1, 1, 1)],
            [(0, 0, 0), (200, 0, 0)],  # coloured
            [(255, 255, 255), (200, 0, 0)],
            [(0, 0, 0), (0, 0, 0)],  # only the indices part them
        ],
    )
    def test_others_keep_their_indices(self, colours: list) -> None:
        stored = stored_in_picture(with_palette(DISC, colours)).grey_by_colour()
        assert np.array_equal(stored.values, DISC)
        assert stored.notes == ()

    def test_greys_that_begin_above_black_are_read_by_colour(self) -> None:
        stored = stored_in_picture(with_palette(DISC, [(255, 255, 255), (128, 128, 128), (0, 0, 0)])).grey_by_colour()
        assert set(np.unique(stored.values)) == {128, 255}

    def test_a_transparent_index_is_ground(self) -> None:
        indices = np.where(DISC == 1, 2, 5).astype(np.uint8)
        stored = stored_in_picture(with_palette(indices, [(9, 9, 9)] * 3 + [(200, 0, 0)] * 3, transparency=5))
        assert np.array_equal(stored.values != 0, DISC == 1)


class TestTiff:
    def test_white_as_zero_is_read_as_stored_and_told(self) -> None:
        content = io.BytesIO()
        Image.fromarray(DISC * 255).save(content, "TIFF")
        raw = bytearray(content.getvalue())
        flipped = minimum_is_white(raw)
        picture = Image.open(io.BytesIO(flipped))
        assert np.array_equal(np.asarray(picture), 255 - DISC * 255)  # as Pillow shows it
        stored = stored_in_picture(Image.open(io.BytesIO(flipped)))
        assert np.array_equal(stored.values, DISC * 255)
        assert stored.notes == (WHITE_IS_ZERO,)

    def test_black_as_zero_says_nothing(self) -> None:
        stored = stored_in_picture(reopened(Image.fromarray(DISC * 255), "TIFF"))
        assert np.array_equal(stored.values, DISC * 255)
        assert stored.notes == ()

    def test_one_bit_is_read_as_it_is_shown(self) -> None:
        content = io.BytesIO()
        Image.fromarray(DISC.astype(bool)).save(content, "TIFF")
        stored = stored_in_picture(Image.open(io.BytesIO(minimum_is_white(bytearray(content.getvalue())))))
        assert set(np.unique(stored.values)) == {0, 255}
        assert stored.notes == ()


def minimum_is_white(tiff: bytearray) -> bytes:
    """Set the tag PhotometricInterpretation of an uncompressed little-endian TIFF to 0."""
    assert tiff[:2] == b"II"
    start = int.from_bytes(tiff[4:8], "little")
    for entry in range(int.from_bytes(tiff[start : start + 2], "little")):
        at = start + 2 + 12 * entry
        if int.from_bytes(tiff[at : at + 2], "little") == 262:
            tiff[at + 8 : at + 10] = (0).to_bytes(2, "little")
    return bytes(tiff)


class TestAlpha:
    def layer(self, drawn: tuple, ground: tuple) -> np.ndarray:
        return np.where(DISC[..., None] == 1, np.array(drawn), np.array(ground)).astype(np.uint8)

    @pytest.mark.parametrize(
        ("drawn", "ground"),
        [
            ((200, 0, 0, 255), (255, 255, 255, 0)),
            ((0, 0, 0, 255), (255, 255, 255, 0)),  # black on what was never drawn on
            ((0, 0, 0, 255), (0, 0, 0, 0)),
            ((255, 255, 255, 255), (255, 255, 255, 0)),
            ((255, 255, 255, 128), (0, 0, 0, 0)),
            ((7, 255), (255, 0)),  # grey and alpha
            ((0, 255), (255, 0)),
        ],
    )
    def test_what_is_transparent_is_ground(self, drawn: tuple, ground: tuple) -> None:
        stored = stored_in_array(self.layer(drawn, ground))
        values = stored.values if stored.values.ndim == 2 else stored.values.max(axis=2)
        assert np.array_equal(values != 0, DISC == 1)

    def test_colours_that_were_drawn_stay(self) -> None:
        layer = self.layer((200, 0, 0, 255), (255, 255, 255, 0))
        layer[20, 20] = (0, 9, 0, 255)
        stored = stored_in_array(layer)
        assert stored.values[20, 20].tolist() == [0, 9, 0]
        assert stored.values[20, 21].tolist() == [200, 0, 0]
        assert stored.values[0, 0].tolist() == [0, 0, 0]

    @pytest.mark.parametrize("alpha", [0, 90, 255])
    def test_an_even_one_says_nothing(self, alpha: int) -> None:
        layer = self.layer((200, 0, 0, alpha), (0, 0, 0, alpha))
        assert np.array_equal(stored_in_array(layer).values.max(axis=2) != 0, DISC == 1)


def test_jpeg_is_lossy_and_png_is_not() -> None:
    picture = Image.fromarray(DISC * 255)
    assert stored_in_picture(reopened(picture, "JPEG")).lossy
    assert not stored_in_picture(reopened(picture, "PNG")).lossy
