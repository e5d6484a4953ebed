"""Bytes of PNG files: masks keep every value, and pictures every pixel."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from scripts.images.png import mask_to_png, png_bytes, png_to_mask, quick_png


class TestPng:
    def test_round_trip_keeps_every_value(self) -> None:
        mask = np.array([[0, 1, 255], [255, 0, 1]], dtype=np.uint8)
        np.testing.assert_array_equal(png_to_mask(mask_to_png(mask)), mask)

    def test_other_memory_orders(self) -> None:
        mask = np.asfortranarray(np.arange(12, dtype=np.uint8).reshape(3, 4) % 2)
        np.testing.assert_array_equal(png_to_mask(mask_to_png(mask[:, ::2])), mask[:, ::2])


class TestPictures:
    @pytest.fixture
    def picture(self) -> Image.Image:
        rows, columns = np.mgrid[:120, :160]
        return Image.fromarray(np.stack([rows, columns, rows ^ columns], axis=2).astype(np.uint8))

    @pytest.mark.parametrize("encode", [png_bytes, quick_png])
    def test_round_trip_keeps_every_pixel(self, encode: Callable[[Image.Image], bytes], picture: Image.Image) -> None:
        data = encode(picture)
        with Image.open(io.BytesIO(data)) as found:
            assert found.format == "PNG"
            np.testing.assert_array_equal(np.asarray(found), np.asarray(picture))
        assert encode(picture) == data  # the same bytes again

    def test_small_is_not_larger_than_quick(self, picture: Image.Image) -> None:
        assert len(png_bytes(picture)) <= len(quick_png(picture))
