"""The decoded images of a run: each file is decoded once, whatever the number of epochs, cycles and rounds."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from scripts.images.files.bit_depth import FULL
from scripts.images.mask_files.several import read_whole_mask
from scripts.images.masks import NONZERO, MaskRule
from scripts.images.reading import image_size as size_of_file
from scripts.images.reading import read_image
from scripts.images.values import IGNORE

GIB = 1024**3


class ImageStore:
    """Images at working size and masks at original size, by id; safe to use from several threads.

    Images are kept as uint8 after resizing (Pillow bicubic, which filters when it shrinks). Masks are kept bit-packed,
    an eighth of their size. What exceeds ``decode_limit_gb`` goes, still decoded, into an unnamed temporary file that
    the system removes with the process.

    Args:
        items: dicts with ``id``, ``image`` and ``mask`` (paths; None where there is no mask). More can follow
            through :meth:`keep`.
        image_size: (H, W) every image is resized to; None keeps each image's own size.
        mask_rule: how mask files are read.
        decode_limit_gb: GiB of images to hold in memory; None for no limit.
        bits: see :func:`scripts.images.reading.read_image`.

    Attributes:
        bits: of 16-bit images, as given.
        place: where those who compute keep copies, a word of theirs; None until somebody decides.
        copies: these copies, by id.
    """

    def __init__(
        self,
        items: Iterable[Mapping[str, Any]] = (),
        image_size: tuple[int, int] | None = None,
        mask_rule: MaskRule = NONZERO,
        decode_limit_gb: float | None = None,
        bits: int = FULL,
    ) -> None:
        self.image_size = None if image_size is None else (int(image_size[0]), int(image_size[1]))
        self._rule, self.bits = mask_rule, bits
        self._limit = None if decode_limit_gb is None else int(decode_limit_gb * GIB)
        self._paths: dict[str, tuple[str, str | None]] = {}
        self._images: dict[str, torch.Tensor | _Spilled] = {}
        self._sizes: dict[str, tuple[int, int]] = {}
        self._masks: dict[str, _PackedMask] = {}
        self.place: Any = None
        self.copies: dict[str, torch.Tensor] = {}
        self._bytes = 0
        self._spill: IO[bytes] | None = None
        self._lock = threading.Lock()  # guards the bookkeeping, never held while decoding
        self._locks: dict[str, threading.RLock] = {}  # one per id: two threads never decode the same file
        for item in items:
            self._register(item)

    def __len__(self) -> int:
        return len(self._paths)

    def __contains__(self, key: object) -> bool:
        return key in self._paths

    def add(self, item: Mapping[str, Any]) -> None:
        """Let the store know of one more image; it is decoded when first asked for."""
        self._register(item)

    def keep(self, item: Mapping[str, Any], image: np.ndarray, mask: np.ndarray | None) -> None:
        """Take over pixels that were decoded elsewhere, as ``on_read`` of :func:`scripts.data.checks.check_items`.

        Args:
            item: its ``id`` and paths; an id that is new to the store is added.
            image: uint8 (H, W, 3).
            mask: uint8 (H, W) with 0, 1, 255, or None.
        """
        self._register(item)
        with self._locks[item["id"]]:
            self._add_image(item["id"], image)
            if mask is not None:
                self._masks[item["id"]] = _PackedMask.pack(mask)

    def keep_empty_mask(self, key: str) -> None:
        """Take it that an image has no foreground, without a file that says so.

        Raises:
            KeyError: the id is unknown.
        """
        with self._locks[key]:
            self._masks[key] = _PackedMask.pack(np.zeros(self.original_size(key), np.uint8))

    def preload(self, progress: bool = False) -> None:
        """Decode every image that is not decoded yet.

        Raises:
            InputError: an image cannot be read.
        """
        for key in tqdm(list(self._paths), desc="decoding images", unit="image", disable=not progress):
            self._ensure_image(key)

    def image(self, key: str) -> torch.Tensor:
        """Return a copy of an image: uint8 (3, h, w), RGB, at working size.

        Raises:
            KeyError: the id is unknown.
            InputError: the file cannot be read.
        """
        return self.pixels(key).clone()

    def pixels(self, key: str) -> torch.Tensor:
        """Return :meth:`image` without a copy where it is in memory: not to be changed."""
        kept = self._ensure_image(key)
        return kept.load() if isinstance(kept, _Spilled) else kept

    def pixel_bytes(self) -> int:
        """Return the bytes of all images at working size, decoded or not."""
        sizes = (self.working_size(key) for key in self._paths)
        return sum(3 * height * width for height, width in sizes)

    def original_size(self, key: str) -> tuple[int, int]:
        """Return (H, W) of the file's image, from its header where it is not decoded yet."""
        if key not in self._sizes:
            self._sizes[key] = size_of_file(self._paths[key][0])
        return self._sizes[key]

    def working_size(self, key: str) -> tuple[int, int]:
        """Return (h, w) of :meth:`image`."""
        return self.image_size or self.original_size(key)

    def original_image(self, key: str) -> np.ndarray:
        """Return uint8 (H, W, 3) at original size, for reports: it is decoded anew and not kept."""
        return read_image(self._paths[key][0], self.bits)

    def true_mask(self, key: str) -> np.ndarray | None:
        """Return the mask at ORIGINAL size, uint8 (H, W) with 0, 1, 255; None where the item has no mask.

        Raises:
            KeyError: the id is unknown.
            InputError: the file cannot be read.
        """
        path = self._paths[key][1]
        with self._locks[key]:
            if path is not None and key not in self._masks:
                self._masks[key] = _PackedMask.pack(read_whole_mask(path, self._paths[key][0], self._rule))
            return self._masks[key].unpack() if key in self._masks else None

    def resized_mask(self, mask: np.ndarray) -> torch.Tensor:
        """Bring a mask, uint8 (H, W) or maps (N, H, W), to working size: uint8 (N, h, w).

        By nearest neighbour, so that no new values come up.
        """
        maps = mask if mask.ndim == 3 else mask[None]
        if self.image_size is not None and maps.shape[1:] != self.image_size:
            height, width = self.image_size
            small = [Image.fromarray(one).resize((width, height), Image.Resampling.NEAREST) for one in maps]
            return torch.from_numpy(np.stack([np.asarray(one) for one in small]))
        return torch.from_numpy(maps.copy())

    def _register(self, item: Mapping[str, Any]) -> None:
        with self._lock:
            self._paths[item["id"]] = (str(item["image"]), str(item["mask"]) if item.get("mask") else None)
            self._locks.setdefault(item["id"], threading.RLock())

    def _ensure_image(self, key: str) -> torch.Tensor | _Spilled:
        with self._locks[key]:
            if key not in self._images:
                self._add_image(key, read_image(self._paths[key][0], self.bits))
            return self._images[key]

    def _add_image(self, key: str, image: np.ndarray) -> None:
        """Resize and keep a freshly decoded image; the caller holds the id's lock."""
        self._sizes[key] = (image.shape[0], image.shape[1])
        pixels = self._resized(image)
        with self._lock:
            if key in self._images:
                return
            if self._limit is None or self._bytes + pixels.numel() <= self._limit:
                self._images[key] = pixels
                self._bytes += pixels.numel()
            else:
                self._images[key] = self._spilled(pixels)

    def _resized(self, image: np.ndarray) -> torch.Tensor:
        if self.image_size is not None and image.shape[:2] != self.image_size:
            height, width = self.image_size
            image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)).copy())  # (H, W, 3) -> (3, H, W)

    def _spilled(self, pixels: torch.Tensor) -> _Spilled:
        if self._spill is None:
            self._spill = tempfile.TemporaryFile(prefix="images-")  # noqa: SIM115 - lives as long as the store
        offset = self._spill.seek(0, os.SEEK_END)
        self._spill.write(pixels.numpy().tobytes())
        self._spill.flush()
        return _Spilled(self._spill, offset, tuple(pixels.shape))


@dataclass(frozen=True)
class _Spilled:
    """Where the pixels of one image lie in the temporary file."""

    stream: IO[bytes]
    offset: int
    shape: tuple[int, ...]

    def load(self) -> torch.Tensor:
        # pread moves no file position, so that threads do not disturb each other.
        data = os.pread(self.stream.fileno(), int(np.prod(self.shape)), self.offset)
        return torch.from_numpy(np.frombuffer(data, np.uint8).reshape(self.shape).copy())


@dataclass(frozen=True)
class _PackedMask:
    """A mask at one bit per pixel, two where some pixels are ignored."""

    shape: tuple[int, int]
    foreground: np.ndarray
    ignored: np.ndarray | None

    @classmethod
    def pack(cls, mask: np.ndarray) -> _PackedMask:
        ignored = mask == IGNORE
        return cls(
            (mask.shape[0], mask.shape[1]), np.packbits(mask == 1), np.packbits(ignored) if ignored.any() else None
        )

    def unpack(self) -> np.ndarray:
        count = self.shape[0] * self.shape[1]
        mask = np.unpackbits(self.foreground, count=count)
        if self.ignored is not None:
            mask[np.unpackbits(self.ignored, count=count) == 1] = IGNORE
        return mask.reshape(self.shape)
