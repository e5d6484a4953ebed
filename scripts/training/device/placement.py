"""Where the pixels of a training wait: on the device that computes, in pinned memory of the host, or in the store.

Decided once per run by what is free. On the CPU nothing is copied: the store's own pixels are used.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Hashable
from typing import Literal

import torch

from scripts.images.store import GIB, ImageStore

logger = logging.getLogger(__name__)

Place = Literal["device", "pinned", "store"]

_SHARE = 0.5
"""Most of the free memory that pixels may take: network, features and steps need the rest."""

_TOLD: dict[Place, str] = {
    "device": "in the memory of %s",
    "pinned": "in pinned memory, since they do not fit on %s",
    "store": "in the memory or the temporary file of the run, since pinned memory for %s does not hold them",
}


def choose_place(needed: int, free_on_device: int, free_on_host: int) -> Place:
    """Return the nearest place that holds the pixels.

    Args:
        needed: bytes of all images and masks.
        free_on_device: bytes free on the device; 0 where nothing can be kept on it.
        free_on_host: bytes of the host's memory that can be pinned for it; 0 where none can.
    """
    if needed <= _SHARE * free_on_device:
        return "device"
    return "pinned" if needed <= _SHARE * free_on_host else "store"


class Placement:
    """The pixels of one training, copied to their place when they are first asked for.

    Copies of images are shared by all trainings of a run, through the store; those of masks belong to one training.

    Args:
        store: the images.
        device: where the training computes.
        place: decided by what is free if None; the first decision holds for the run.
    """

    def __init__(self, store: ImageStore, device: torch.device | str, place: Place | None = None) -> None:
        self.store, self.device = store, torch.device(device)
        if store.place is None:
            store.place = place or self._chosen()
        self.place = store.place
        self._masks: dict[Hashable, torch.Tensor] = {}

    def images(self, ids: list[str]) -> torch.Tensor:
        """Return stored images on the device, (B, 3, h, w) uint8.

        Raises:
            InputError: a file cannot be read.
        """
        return self._stacked([self._image(key) for key in ids])

    def masks(self, masks: list[torch.Tensor], names: list[Hashable]) -> torch.Tensor:
        """Return masks, each (1, h, w) uint8, on the device, (B, 1, h, w); equal names stand for equal masks."""
        if self.place == "store":
            return self._stacked(masks)
        for mask, name in zip(masks, names, strict=True):
            if name not in self._masks:
                self._masks[name] = self._put(mask)
        return self._stacked([self._masks[name] for name in names])

    def _image(self, key: str) -> torch.Tensor:
        if self.place == "store":
            return self.store.pixels(key)
        if key not in self.store.copies:
            self.store.copies[key] = self._put(self.store.pixels(key))
        return self.store.copies[key]

    def _put(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.to(self.device) if self.place == "device" else pixels.pin_memory()

    def _stacked(self, parts: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack([part.to(self.device, non_blocking=True) for part in parts])

    def _chosen(self) -> Place:
        if self.device.type == "cpu":
            return "store"
        needed = self.store.pixel_bytes() * 5 // 3  # an image has three channels, targets and weights two
        cuda = self.device.type == "cuda"
        place = choose_place(
            needed, torch.cuda.mem_get_info(self.device)[0] if cuda else 0, _free_on_host() if cuda else 0
        )
        logger.info("images and masks (%.1f GiB) are kept " + _TOLD[place], needed / GIB, self.device)
        return place


def _free_on_host() -> int:
    """Return the bytes of the host's memory that nobody uses; 0 where the system does not tell."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return 0
