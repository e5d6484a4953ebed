"""Small slides and a network whose answers can be foretold, for the tests of whole slides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import nn
from torch.nn import functional as F

from scripts.images.slide_files.box import Box
from scripts.networks.model_file import ModelInfo, TrainedModel
from scripts.networks.pooling import WildcatPool
from scripts.slides.disk_plane import DiskPlane

tifffile = pytest.importorskip("tifffile")
openslide = pytest.importorskip("openslide")
shapely = pytest.importorskip("shapely")

CLASSES = ("benign", "malignant")
WHITE = 240


class LocalNet(nn.Module):
    """Foreground is what is dark on average over 9 x 9 pixels: no answer depends on what is farther away than that.

    Class maps are the mean red and the mean blue of 32 x 32 pixels.
    """

    stride, frozen = 32, True

    def __init__(self) -> None:
        super().__init__()
        self.dropout, self.pool = nn.Dropout(0.0), WildcatPool(0.3, 0.1)

    def has_fixed_features(self) -> bool:
        return True

    def encode(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [F.pad(x, [0, -x.shape[3] % 32, 0, -x.shape[2] % 32], mode="replicate")]

    def class_maps(self, features: list[torch.Tensor]) -> torch.Tensor:
        return F.avg_pool2d(features[0].float(), 32)[:, [0, 2]]

    def decode(self, features: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        dark = 0.5 - x.float().mean(1, keepdim=True)
        return 20 * F.avg_pool2d(F.pad(dark, [4] * 4, mode="replicate"), 9, 1)


def model(network: nn.Module | None = None, **changes: Any) -> TrainedModel:
    """A model that works at the slide's resolution."""
    values: dict[str, Any] = {
        "network": {"_target_": "x"},
        "classes": CLASSES,
        "image_size": (64, 64),
        "threshold": 0.4,
    }
    info = ModelInfo(**{**values, **changes})
    return TrainedModel((network or LocalNet()).eval(), torch.device("cpu"), info)


def tissue(height: int, width: int, seed: int = 0, glass: bool = False) -> np.ndarray:
    """Pink tissue with dark blobs that have light holes, uint8 (height, width, 3); the left fifth may be glass."""
    rng = np.random.default_rng(seed)
    ys, xs = np.mgrid[:height, :width].astype(np.float32)
    image = np.empty((height, width, 3), np.float32)
    image[:] = (215, 150, 190)
    for _ in range(max(6, height * width // 9000)):
        y, x = rng.uniform(0, height), rng.uniform(0, width)
        radius, turn = rng.uniform(9, 34), rng.uniform(0, np.pi)
        u, v = (xs - x) * np.cos(turn) + (ys - y) * np.sin(turn), (ys - y) * np.cos(turn) - (xs - x) * np.sin(turn)
        away = np.hypot(u / 1.4, v) / radius
        image[away < 1] = (95, 40, 120)
        if radius > 20:
            image[away < 0.45] = (225, 190, 215)
    if glass:
        image[:, : width // 5] = WHITE
    return np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)


def write_tiff(path: Path, image: np.ndarray, levels: int = 1, factor: int = 2, **options: Any) -> Path:
    """Write a tiled pyramid with zlib; further levels are means of ``factor`` x ``factor`` pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    settings = {"tile": (128, 128), "compression": "zlib", "metadata": None, **options}
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for level in range(levels):
            writer.write(image, subfiletype=int(level > 0), **settings)
            image = np.asarray(Image.fromarray(image).reduce(factor))
    return path


def disk(values: np.ndarray, folder: Path, fill: int = 0) -> DiskPlane:
    """A plane on the disk that holds ``values``."""
    plane = DiskPlane((values.shape[0], values.shape[1]), values.dtype, fill, folder)
    plane.write(Box(0, 0, *values.shape), values)
    return plane


def smooth(height: int, width: int, seed: int = 0, period: int = 16) -> np.ndarray:
    """Smooth noise with hills above and below 0, int16, never outside of -16000 to 16000."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(0, 6000, (height // period + 3, width // period + 3)).astype(np.float32)
    fine = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return np.clip(np.rint(np.asarray(fine)), -16000, 16000).astype(np.int16)


def filled(features: list[dict[str, Any]], size: tuple[int, int], fine: int = 4) -> np.ndarray:
    """The mask that GeoJSON polygons make, by Pillow: bool (H, W), a pixel is inside where its centre is."""
    canvas = Image.new("L", (size[1] * fine, size[0] * fine))
    for feature in features:
        outline, *holes = feature["geometry"]["coordinates"]
        one = Image.new("L", canvas.size)
        draw = ImageDraw.Draw(one)
        draw.polygon([(x * fine - 0.5, y * fine - 0.5) for x, y in outline], fill=1)
        for hole in holes:
            draw.polygon([(x * fine - 0.5, y * fine - 0.5) for x, y in hole], fill=0)
        canvas.paste(1, mask=one.point(lambda value: 255 * value))
    return np.asarray(canvas)[fine // 2 :: fine, fine // 2 :: fine] > 0
