"""The published geometry (Belharbi et al. 2021), as MONAI transforms, and its way back.

Small images are enlarged and get a reflected margin; a training takes a random crop, an evaluation the whole image,
both shrunk by a tenth. :class:`PublishedGeometry` stands in ``geometry`` of ``published.json``. It needs images at
their own size: ``image_size`` null.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Randomizable, Transform
from PIL import Image
from torch.nn import functional as F

from scripts.core.errors import InputError, Problem
from scripts.images.values import IGNORE

Size = tuple[int, int]
"""(height, width) in pixels."""


@dataclass(frozen=True)
class PublishedGeometry:
    """Geometry of the published code; the defaults are its settings.

    Sizes are truncated, not rounded, and computed as described there: the factor ``min_side / side`` first, in double
    precision, then both sides. For a few sizes this makes the smaller enlarged side ``min_side - 1``.

    Args:
        min_side: an image whose smaller side is shorter is enlarged to it, in pixels.
        pad_ratio: share of each side that is added at both its ends by reflection, in [0, 0.5).
        scale: factor from the padded image (or training crop) to the network's input, in (0, 1].
        crop: side of the square training crop, in pixels of the padded image.

    Raises:
        InputError: a value out of its range.
    """

    min_side: int = 432
    pad_ratio: float = 0.01
    scale: float = 0.9
    crop: int = 416

    def __post_init__(self) -> None:
        checks = (
            ("min_side", self.min_side >= 1, "at least 1"),
            ("pad_ratio", 0 <= self.pad_ratio < 0.5, "in [0, 0.5)"),
            ("scale", 0 < self.scale <= 1, "in (0, 1]"),
            ("crop", self.crop >= 1, "at least 1"),
        )
        problems = [
            Problem("value out of range", f"PublishedGeometry.{name}", expected, str(getattr(self, name)))
            for name, good, expected in checks
            if not good
        ]
        if problems:
            raise InputError(problems)

    def network_size(self, height: int, width: int) -> Size:
        """Return (h, w) of the network's input for an image of (height, width)."""
        padded_height, padded_width = self.padded_size(height, width)
        return self._scaled(padded_height), self._scaled(padded_width)

    def upscaled_size(self, height: int, width: int) -> Size:
        """Return (h, w) after small images have been enlarged."""
        if min(height, width) >= self.min_side:
            return height, width
        ratio = self.min_side / min(height, width)
        return int(height * ratio), int(width * ratio)

    def padding(self, height: int, width: int) -> Size:
        """Return the pixels added above and below, and left and right, of an already enlarged image."""
        return int(self.pad_ratio * height), int(self.pad_ratio * width)

    def padded_size(self, height: int, width: int) -> Size:
        """Return (h, w) after enlarging and padding an image of (height, width)."""
        height, width = self.upscaled_size(height, width)
        rows, columns = self.padding(height, width)
        return height + 2 * rows, width + 2 * columns

    @property
    def training_side(self) -> int:
        """Side of the square training input, in pixels."""
        return self._scaled(self.crop)

    def prepare(self, image: Image.Image | np.ndarray) -> np.ndarray:
        """Return the network's input pixels of a whole image.

        Args:
            image: RGB, uint8 (H, W, 3) or PIL.

        Returns:
            uint8 (h, w, 3), with (h, w) as :meth:`network_size` says.
        """
        padded = self._padded(_picture(image))
        size = self._scaled(padded.width), self._scaled(padded.height)
        return np.asarray(padded.resize(size, Image.Resampling.BICUBIC))

    def training_patch(
        self, image: Image.Image | np.ndarray | None, mask: np.ndarray, generator: random.Random
    ) -> tuple[np.ndarray | None, np.ndarray]:
        """Return a random training patch, before any flip.

        Args:
            image: RGB, uint8 (H, W, 3) or PIL; None for the patch of the mask alone, from the same place.
            mask: uint8 (H, W) with 0, 1 and 255 (ignored).
            generator: draws the place of the crop.

        Returns:
            uint8 (s, s, 3), or None without an image, and uint8 (s, s) with 0, 1, 255, where s is
            :attr:`training_side`.

        Raises:
            InputError: image and mask differ in size, or the padded image is smaller than the crop.
        """
        picture = None if image is None else _picture(image)
        if picture is not None and mask.shape != (picture.height, picture.width):
            expected = str((picture.height, picture.width))
            raise InputError(
                Problem("mask has another size than its image", "training_patch", expected, str(mask.shape))
            )
        height, width = self.padded_size(*mask.shape)
        if min(height, width) < self.crop:
            cure = "Lower crop or raise min_side."
            raise InputError(
                Problem("image below the crop", "training_patch", f"{self.crop} pixels", f"{min(height, width)}", cure)
            )
        top, left = generator.randint(0, height - self.crop), generator.randint(0, width - self.crop)
        box = (left, top, left + self.crop, top + self.crop)
        side = (self.training_side, self.training_side)

        def cut(layer: np.ndarray, resampling: Image.Resampling) -> np.ndarray:
            whole = self._padded(Image.fromarray(layer), resampling)
            return np.asarray(whole.crop(box).resize(side, resampling))

        # Lanczos on 0/1 in uint8 rounds back to 0/1; pixels to ignore must not mix into it, so they go by themselves
        patch_mask = cut((mask == 1).astype(np.uint8), Image.Resampling.LANCZOS).copy()
        if (mask == IGNORE).any():
            patch_mask[cut((mask == IGNORE).astype(np.uint8), Image.Resampling.NEAREST) == 1] = IGNORE
        if picture is None:
            return None, patch_mask
        return np.asarray(self._padded(picture).crop(box).resize(side, Image.Resampling.BICUBIC)), patch_mask

    def restore(self, logits: torch.Tensor, size: Size) -> torch.Tensor:
        """Return logits at the original size: enlarged by ``1 / scale``, margin cut off, resized (all bilinear).

        Args:
            logits: (h, w) float, the network's output for the whole image.
            size: (H, W) of the original image.

        Returns:
            (H, W) float32.

        Raises:
            InputError: (h, w) is not the network's size for an image of ``size``.
        """
        expected = self.network_size(*size)
        if tuple(logits.shape) != expected:
            raise InputError(
                Problem("logits of another size", f"image of {size}", str(expected), str(tuple(logits.shape)))
            )
        height, width = int(logits.shape[0] / self.scale), int(logits.shape[1] / self.scale)
        whole = _resized(logits, (height, width))
        rows, columns = self.padding(height, width)
        return _resized(whole[rows : height - rows, columns : width - columns], size)

    def training_transforms(self) -> list[Transform]:
        """Return a :class:`RandPatchd` of ``image`` and ``mask``."""
        return [RandPatchd(("image", "mask"), self, allow_missing_keys=True)]

    def evaluation_transforms(self) -> list[Transform]:
        """Return a :class:`Wholed` of ``image``."""
        return [Wholed("image", self)]

    def _scaled(self, side: int) -> int:
        return int(self.scale * side)

    def _padded(self, picture: Image.Image, resampling: Image.Resampling = Image.Resampling.LANCZOS) -> Image.Image:
        height, width = self.upscaled_size(picture.height, picture.width)
        if (width, height) != picture.size:
            picture = picture.resize((width, height), resampling)
        rows, columns = self.padding(height, width)
        pixels = np.asarray(picture)
        margins = [(rows, rows), (columns, columns)] + [(0, 0)] * (pixels.ndim - 2)
        return Image.fromarray(np.pad(pixels, margins, mode="reflect"))


class RandPatchd(Randomizable, MapTransform):
    """Cut a random training patch out of an image and, at the same place, out of its mask.

    Args:
        keys: of the image, float (3, H, W) in [0, 1], and of the mask, uint8 (1, H, W) with 0, 1, 255, in this order.
        geometry: makes the patch, see :meth:`PublishedGeometry.training_patch`.
        allow_missing_keys: the image may be missing, where its features are kept; then the mask alone is cut.
    """

    def __init__(
        self, keys: KeysCollection, geometry: PublishedGeometry | None = None, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.geometry = geometry or PublishedGeometry()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return ``data`` with image (3, s, s) and mask (1, s, s) of the patch.

        Raises:
            InputError: see :meth:`PublishedGeometry.training_patch`; or targets and weights in place of a mask.
        """
        d, (image_key, mask_key) = dict(data), self.keys
        if len(d[mask_key]) != 1:
            cure = "Choose a method whose chain gives hard masks, or leave the geometry out."
            raise InputError(Problem("patches are cut of masks only", "geometry", "0, 1, 255", "soft targets", cure))
        generator = random.Random(int(self.R.randint(2**31)))
        pixels = _pixels(d[image_key]) if image_key in self.key_iterator(d) else None
        image, mask = self.geometry.training_patch(pixels, d[mask_key][0].numpy(), generator)
        if image is not None:
            d[image_key] = _tensor(image)
        return {**d, mask_key: torch.from_numpy(mask)[None]}


class Wholed(MapTransform):
    """Turn whole images into the network's input, see :meth:`PublishedGeometry.prepare`.

    Args:
        keys: of images, float (3, H, W) in [0, 1].
        geometry: makes the input, and has the way back.
        allow_missing_keys: whether a key may be missing.
    """

    def __init__(
        self, keys: KeysCollection, geometry: PublishedGeometry | None = None, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.geometry = geometry or PublishedGeometry()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return ``data`` with images (3, h, w) as :meth:`PublishedGeometry.network_size` says."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = _tensor(self.geometry.prepare(_pixels(d[key])))
        return d


def _pixels(image: torch.Tensor) -> np.ndarray:
    """Return uint8 (h, w, 3) of an image (3, h, w) float in [0, 1]; exact for one that was uint8 before."""
    return (image * 255.0).round().to(torch.uint8).permute(1, 2, 0).numpy()


def _tensor(pixels: np.ndarray) -> torch.Tensor:
    """Return (3, h, w) float32 in [0, 1] of uint8 (h, w, 3)."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).float() / 255.0


def _picture(image: Image.Image | np.ndarray) -> Image.Image:
    if isinstance(image, Image.Image):
        return image.convert("RGB")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        found = f"{image.dtype} {image.shape}"
        raise InputError(Problem("not an RGB image", "prepare", "uint8 (H, W, 3)", found))
    return Image.fromarray(image)


def _resized(logits: torch.Tensor, size: Size) -> torch.Tensor:
    if tuple(logits.shape) == tuple(size):
        return logits.float()
    return F.interpolate(logits[None, None].float(), size=size, mode="bilinear", align_corners=False)[0, 0]
