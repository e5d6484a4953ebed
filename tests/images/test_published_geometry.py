"""Geometry of network inputs: golden sizes and logits of the published code, and what must hold for any image."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from PIL import Image

from scripts.core.errors import InputError
from scripts.images.published_geometry import PublishedGeometry


def coloured(height: int, width: int) -> np.ndarray:
    """A smooth image that has another colour at each place."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([255 * x / width, 255 * y / height, 127 + 0 * x], axis=-1).astype(np.uint8)


def test_sizes_are_the_published_ones(golden):
    content = golden("eval_geometry")
    defaults = content["defaults"]
    geometry = PublishedGeometry()
    assert geometry == PublishedGeometry(
        defaults["up_scale_small_dim_to"], defaults["padding_ratio"], defaults["ratio_scale_patch"], defaults["crop"]
    )
    assert len(content["sizes"]) == 9
    for case in content["sizes"]:
        width, height = case["image_wh"]
        upscaled = geometry.upscaled_size(height, width)
        assert list(upscaled[::-1]) == case["upscaled_wh"]
        assert list(geometry.padding(*upscaled)[::-1]) == case["pad_wh"]
        assert list(geometry.network_size(height, width)) == case["eval_input_hw"]
        assert [geometry.training_side] * 2 == case["train_input_hw"] == case["train_mask_hw"]
        logits = torch.zeros(geometry.network_size(height, width))
        assert list(geometry.restore(logits, (height, width)).shape) == case["restored_hw"]


def test_restored_logits_are_the_published_ones(golden):
    case = golden("eval_geometry")["restore_example"]
    geometry = PublishedGeometry(case["up_scale_small_dim_to"], case["padding_ratio"], case["ratio_scale_patch"])
    width, height = case["image_wh"]
    assert list(geometry.network_size(height, width)) == case["net_input_hw"]
    restored = geometry.restore(torch.tensor(case["logits"]), (height, width))
    torch.testing.assert_close(restored, torch.tensor(case["restored_logits"]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(430, 567), (120, 121), (522, 775), (33, 50)])
def test_prepared_pixels_have_the_network_size(size):
    geometry = PublishedGeometry()
    pixels = coloured(*size)
    prepared = geometry.prepare(pixels)
    assert prepared.dtype == np.uint8
    assert prepared.shape == (*geometry.network_size(*size), 3)
    np.testing.assert_array_equal(prepared, geometry.prepare(Image.fromarray(pixels)))


def test_prepare_is_enlarge_reflect_and_shrink():
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    geometry = PublishedGeometry(min_side=60, pad_ratio=0.1, scale=1.0)
    prepared = geometry.prepare(pixels)  # nothing to enlarge and nothing to shrink: the margin alone
    np.testing.assert_array_equal(prepared[6:-6, 9:-9], pixels)
    np.testing.assert_array_equal(prepared[5, 9:-9], pixels[1])  # the edge itself is not repeated
    np.testing.assert_array_equal(prepared[6:-6, 8], pixels[:, 1])
    enlarged = PublishedGeometry(min_side=120, pad_ratio=0.0, scale=1.0).prepare(pixels)
    lanczos = Image.fromarray(pixels).resize((180, 120), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(enlarged, np.asarray(lanczos))
    shrunk = PublishedGeometry(min_side=60, pad_ratio=0.0, scale=0.5).prepare(pixels)
    bicubic = Image.fromarray(pixels).resize((45, 30), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(shrunk, np.asarray(bicubic))


def test_restore_puts_things_back_where_they_were():
    geometry = PublishedGeometry()
    height, width = 300, 450
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[90:150, 225:360] = 255
    prepared = geometry.prepare(pixels)
    assert prepared.shape[:2] == geometry.network_size(height, width)
    logits = torch.from_numpy(prepared[..., 0].astype(np.float32)) - 127.5
    back = geometry.restore(logits, (height, width)).numpy() > 0
    truth = pixels[..., 0] > 0
    assert 2 * (back & truth).sum() / (back.sum() + truth.sum()) > 0.97


def test_training_patch_keeps_image_and_mask_together():
    geometry = PublishedGeometry(min_side=100, pad_ratio=0.05, scale=0.9, crop=80)
    mask = np.zeros((120, 160), np.uint8)
    mask[30:90, 40:120] = 1
    image = np.repeat(mask[..., None] * 255, 3, axis=2)
    seen = set()
    for seed in range(5):
        patch, patch_mask = geometry.training_patch(image, mask, random.Random(seed))
        assert patch.shape == (72, 72, 3) and patch_mask.shape == (72, 72)
        assert set(np.unique(patch_mask)) <= {0, 1}
        assert ((patch[..., 0] > 127) != (patch_mask == 1)).mean() < 0.02
        seen.add(patch_mask.tobytes())
    assert len(seen) > 1  # the crop is random
    again = [geometry.training_patch(image, mask, random.Random(3))[0] for _ in range(2)]
    np.testing.assert_array_equal(*again)


def test_pixels_to_ignore_stay_pixels_to_ignore():
    mask = np.zeros((60, 60), np.uint8)
    mask[:, :20], mask[:, 40:] = 1, 255
    geometry = PublishedGeometry(min_side=90, pad_ratio=0.0, scale=0.9, crop=90)
    _, patch = geometry.training_patch(coloured(60, 60), mask, random.Random(0))
    assert set(np.unique(patch)) == {0, 1, 255}
    np.testing.assert_allclose([(patch == value).mean() for value in (0, 1, 255)], 1 / 3, atol=0.03)


@pytest.mark.parametrize(
    "values", [{"min_side": 0}, {"pad_ratio": 0.5}, {"pad_ratio": -0.1}, {"scale": 0.0}, {"scale": 1.1}, {"crop": 0}]
)
def test_values_out_of_range_are_refused(values):
    with pytest.raises(InputError, match=next(iter(values))):
        PublishedGeometry(**values)


def test_wrong_inputs_are_refused():
    geometry = PublishedGeometry()
    with pytest.raises(InputError, match="478, 710"):
        geometry.restore(torch.zeros(478, 711), (522, 775))
    with pytest.raises(InputError, match="RGB"):
        geometry.prepare(np.zeros((10, 10), np.uint8))
    with pytest.raises(InputError, match="mask"):
        geometry.training_patch(coloured(450, 450), np.zeros((449, 450), np.uint8), random.Random(0))
    with pytest.raises(InputError, match="crop"):
        PublishedGeometry(min_side=1).training_patch(coloured(50, 50), np.zeros((50, 50), np.uint8), random.Random(0))
