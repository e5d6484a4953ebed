"""Bytes of PNG files: masks keep every value, and pictures every pixel."""

from __future__ import annotations

import numpy as np

from scripts.images.png import mask_to_png, png_to_mask


class TestPng:
    def test_round_trip_keeps_every_value(self) -> None:
        mask = np.array([[0, 1, 255], [255, 0, 1]], dtype=np.uint8)
        np.testing.assert_array_equal(png_to_mask(mask_to_png(mask)), mask)

    def test_other_memory_orders(self) -> None:
        mask = np.asfortranarray(np.arange(12, dtype=np.uint8).reshape(3, 4) % 2)
        np.testing.assert_array_equal(png_to_mask(mask_to_png(mask[:, ::2])), mask[:, ::2])
