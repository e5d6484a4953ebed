"""Colour histograms: equal to the published numbers and to the formula as it stands."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from scripts.core.errors import InputError
from scripts.data.histograms import colour_histogram, normalise_histogram, smooth, soft_histogram


def _direct_histogram(values, bins, sharpness):
    """The formula as it stands: every value against every bin."""
    with np.errstate(over="ignore"):
        edges = np.arange(bins + 1) / bins
        above = 1.0 / (1.0 + np.exp(-sharpness * (values.reshape(-1, 1) - edges)))
    return (above[:, :-1] - above[:, 1:]).sum(axis=0)


def _dense(pairs, bins):
    rows = np.zeros((len(pairs), bins))
    for row, channel in zip(rows, pairs, strict=True):
        for index, value in channel:
            row[index] = value
    return rows


def test_fine_histogram_and_smoothing_equal_golden(golden):
    data = golden("histogram_jsd")
    values = np.array(data["image_uint8"], dtype=np.float64) / 255  # (3, 6, 7)
    counts = np.stack([soft_histogram(channel, 256, 1e5) for channel in values])
    np.testing.assert_allclose(counts, _dense(data["hist256_nonzero_bin_value"], 256), atol=1e-5)

    smoothed = smooth(values.transpose(1, 2, 0), 3, 0.9).transpose(2, 0, 1)
    np.testing.assert_allclose(smoothed, data["smoothed"], atol=1e-5)
    counts = np.stack([soft_histogram(channel, 256, 1e5) for channel in smoothed])
    np.testing.assert_allclose(counts, _dense(data["hist256_of_smoothed_nonzero"], 256), atol=1e-2)

    impulse = np.zeros((5, 5, 1))
    impulse[2, 2] = 1.0
    np.testing.assert_allclose(smooth(impulse, 3, 0.9)[1:4, 1:4, 0], data["gaussian_kernel_3x3"], atol=1e-6)


def test_image_steps_before_the_histogram_equal_golden(golden):
    data = golden("pairwise_similarity")
    for image, expected in zip(data["images"], data["after_resize"], strict=True):
        rgb = np.array(image["rgb_rows"], dtype=np.uint8).reshape(image["h"], image["w"], 3)
        # one bin of all values, smoothed by nothing: only the size of the resized image is left in the counts
        vivid = ImageEnhance.Color(Image.fromarray(rgb)).enhance(3.0)
        _, height, width = expected["shape"]
        values = np.asarray(vivid.resize((width, height), Image.Resampling.BICUBIC)) / 255
        np.testing.assert_allclose(values.mean(axis=(0, 1)), expected["channel_mean"], atol=1e-5)
        counts = np.stack([soft_histogram(channel, 256, 1e5) for channel in smooth(values, 3, 0.9).transpose(2, 0, 1)])
        np.testing.assert_allclose(colour_histogram(rgb), normalise_histogram(counts), rtol=1e-6)


@pytest.mark.parametrize(("bins", "sharpness"), [(16, 1e5), (256, 1e5), (256, 2e3), (32, 50.0), (8, 5.0), (1, 10.0)])
def test_counting_equals_the_formula(bins, sharpness):
    rng = np.random.default_rng(bins)
    edges = np.arange(bins + 1) / bins
    near = np.clip(edges + rng.normal(size=bins + 1) / sharpness, 0, 1)
    values = np.concatenate([rng.random(400), edges, near, [0.0, 1.0]])
    expected = _direct_histogram(values, bins, sharpness)
    np.testing.assert_allclose(soft_histogram(values, bins, sharpness), expected, atol=1e-9)


def test_a_value_on_an_outer_edge_counts_one_half():
    assert soft_histogram(np.array([0.0, 0.0, 1.0]), 4, 1e5).tolist() == pytest.approx([1.0, 0.0, 0.0, 0.5])


def test_colour_histogram_of_flat_and_tiny_images():
    for shape in ((1, 1, 3), (3, 300, 3), (300, 3, 3)):
        histogram = colour_histogram(np.full(shape, 100, dtype=np.uint8))
        assert histogram.shape == (3, 256)
        assert histogram.dtype == np.float32
        np.testing.assert_allclose(histogram[:, 100], 1.0, atol=1e-4)
        np.testing.assert_allclose(histogram.sum(axis=1), 1.0, atol=1e-5)
        assert histogram.min() > 0
    assert colour_histogram(np.zeros((4, 4, 3), dtype=np.uint8), bins=16, height=8).shape == (3, 16)


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)]
)
def test_other_images_are_refused(image):
    with pytest.raises(InputError, match="RGB"):
        colour_histogram(image)


def test_senseless_arguments_are_refused():
    with pytest.raises(InputError, match="kernel"):
        smooth(np.zeros((4, 4, 1)), 2, 0.9)
