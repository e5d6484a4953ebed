"""The soft colour histogram of an image, by which images are compared."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageEnhance

from scripts.core.errors import InputError, Problem

_SATURATED = 40.0  # sigmoid(40) is 1 in float64


def colour_histogram(
    image: np.ndarray,
    *,
    bins: int = 256,
    sharpness: float = 1e5,
    height: int = 128,
    colour_factor: float = 3.0,
    kernel_size: int = 3,
    kernel_sigma: float = 0.9,
) -> np.ndarray:
    """Return the soft colour histogram of an image; the defaults are the published settings.

    Colours are saturated (Pillow ``Color`` enhancement), the image is resized to a common height (bicubic), smoothed by
    a Gaussian with reflected borders, and each channel is counted into soft bins; see :func:`soft_histogram`.

    Args:
        image: (H, W, 3) uint8 RGB.
        bins: bins per channel over [0, 1].
        sharpness: slope of the bin edges; the larger, the harder.
        height: pixels after resizing; the width follows the aspect.
        colour_factor: 1 leaves the colours, 0 makes them grey.
        kernel_size: pixels, odd.
        kernel_sigma: pixels.

    Returns:
        (3, bins) float32 > 0, each channel sums to 1.

    Raises:
        InputError: another shape or dtype, an empty image, or an even kernel.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise InputError(
            Problem("not an RGB image", "colour_histogram", "(H, W, 3) uint8", f"{image.shape} {image.dtype}")
        )
    h, w = image.shape[:2]
    vivid = ImageEnhance.Color(Image.fromarray(image)).enhance(colour_factor)
    resized = vivid.resize((max(1, int(height / h * w)), height), Image.Resampling.BICUBIC)
    values = np.asarray(resized, dtype=np.float64) / 255.0
    values = smooth(values, kernel_size, kernel_sigma)
    counts = np.stack([soft_histogram(values[..., channel], bins, sharpness) for channel in range(3)])
    return normalise_histogram(counts)


def normalise_histogram(counts: np.ndarray) -> np.ndarray:
    """Return ``(counts + 1e-8)`` divided by its sum over the last axis, float32: no bin is empty, so no log of 0."""
    filled = counts + 1e-8
    return (filled / filled.sum(axis=-1, keepdims=True)).astype(np.float32)


def smooth(values: np.ndarray, kernel_size: int, sigma: float) -> np.ndarray:
    """Convolve (H, W, C) float with a normalised Gaussian of ``kernel_size`` (odd) pixels, borders reflected.

    Raises:
        InputError: an even or negative size, or sigma <= 0.
    """
    if kernel_size < 1 or kernel_size % 2 == 0 or sigma <= 0:
        raise InputError(Problem("not a kernel", "smooth", "odd size, sigma > 0", f"{kernel_size}, {sigma}"))
    radius = kernel_size // 2
    weights = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2.0 * sigma**2))
    weights /= weights.sum()
    for axis in (0, 1):  # the Gaussian is separable
        pad = [(radius, radius) if other == axis else (0, 0) for other in range(values.ndim)]
        padded = np.pad(values, pad, mode="reflect")
        size = values.shape[axis]
        values = sum(
            weight * np.take(padded, range(start, start + size), axis=axis) for start, weight in enumerate(weights)
        )
    return values


def soft_histogram(values: np.ndarray, bins: int, sharpness: float) -> np.ndarray:
    """Count values in [0, 1] into ``bins`` equal bins whose edges are sigmoids.

    ``h_b = sum_x sigmoid(s (x - e_b)) - sigmoid(s (x - e_{b+1}))`` with edges ``e_j = j / bins``. Only the edges near
    a value are soft for it: below them its sigmoid is 1, above it is 0. Those are counted, these are computed, so the
    cost is O(values) instead of O(values * bins). A value on an outer edge (0 or 1) counts one half.

    Args:
        values: float, any shape.
        bins: number of bins.
        sharpness: s > 0.

    Returns:
        (bins,) float64, not normalised.
    """
    flat = values.ravel().astype(np.float64)
    nearest = np.rint(flat * bins).astype(np.int64)  # index of the nearest edge
    reach = min(bins, int(0.5 + bins * _SATURATED / sharpness))  # edges on either side which are still soft
    # above[j]: sum over x of sigmoid(s (x - e_j))
    above = np.zeros(bins + 1)
    counted = np.bincount(np.clip(nearest - reach, 0, bins + 1), minlength=bins + 2)
    above += counted[::-1].cumsum()[::-1][1:]
    for offset in range(-reach, reach + 1):
        edge = nearest + offset
        inside = (edge >= 0) & (edge <= bins)
        x = sharpness * (flat[inside] - edge[inside] / bins)
        above += np.bincount(edge[inside], weights=0.5 * (1.0 + np.tanh(0.5 * x)), minlength=bins + 1)
    return above[:-1] - above[1:]
