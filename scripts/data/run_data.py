"""The data of a run, opened once: checked list, decoded images, colour histograms."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scripts.data.datalist import DataList, Item, read_datalist
from scripts.data.histograms import colour_histogram
from scripts.images.masks import NONZERO, MaskRule
from scripts.images.store import ImageStore

logger = logging.getLogger(__name__)


@dataclass
class RunData:
    """What a run knows of its images.

    Attributes:
        datalist: the checked list with splits and hashes.
        store: decoded images and true masks.
        histograms: id -> colour histogram (3, bins) float32 of each training image, at original resolution.
    """

    datalist: DataList
    store: ImageStore
    histograms: dict[str, np.ndarray] = field(default_factory=dict)

    def items(self, split: str) -> list[Item]:
        """Return the items of ``"train"``, ``"val"`` or ``"test"``."""
        return self.datalist.split(split)

    def native_size(self) -> tuple[int, int]:
        """Return the median (H, W) in pixels of the training images before they were resized."""
        sizes = [self.store.original_size(item["id"]) for item in self.items("train")]
        height, width = np.median(sizes, axis=0)
        return int(height), int(width)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the labels."""
        return self.datalist.classes


def open_data(
    dataset_dir: str,
    demo_dir: str = "",
    demo: Callable[[str], Any] | None = None,
    image_size: Sequence[int] | None = None,
    mask_rule: MaskRule = NONZERO,
    memory_limit_gb: float | None = 4.0,
    **reading: Any,
) -> RunData:
    """Read, check and decode a data set; every file is decoded once, here.

    Args:
        dataset_dir: folder, CSV or JSON (see :func:`scripts.data.datalist.read_datalist`).
        demo_dir: where demo data belong; if ``dataset_dir`` is this folder, they are generated first.
        demo: called with ``demo_dir`` to generate them.
        image_size: (H, W) pixels that the network works at; None for each image's own size.
        mask_rule: which mask values are foreground.
        memory_limit_gb: GiB of decoded images to keep in memory.
        reading: further arguments of :func:`scripts.data.datalist.read_datalist`.

    Raises:
        InputError: with everything that is wrong with the data.
    """
    if demo is not None and os.path.abspath(dataset_dir) == os.path.abspath(demo_dir):
        logger.info("generating the demo data set in %s", demo_dir)
        demo(demo_dir)
    size = None if image_size is None else (int(image_size[0]), int(image_size[1]))
    store = ImageStore(image_size=size, mask_rule=mask_rule, decode_limit_gb=memory_limit_gb)
    histograms: dict[str, np.ndarray] = {}

    def keep(item: Mapping[str, Any], image: np.ndarray, mask: np.ndarray | None) -> None:
        store.keep(item, image, mask)
        if item["split"] == "train":
            histograms[item["id"]] = colour_histogram(image)

    datalist = read_datalist(dataset_dir, mask_rule=mask_rule, on_read=keep, **reading)
    return RunData(datalist, store, histograms)
