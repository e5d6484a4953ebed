"""The data of a run, opened once: checked list, decoded images, colour histograms."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scripts.data.checks import MaskShape, background_labels, refuse_hopeless_masks
from scripts.data.datalist import DataList, Item, read_datalist
from scripts.data.histograms import colour_histogram
from scripts.images.masks import NONZERO, MaskRule
from scripts.images.store import ImageStore
from scripts.images.values import NO_BACKGROUND, BackgroundClasses

logger = logging.getLogger(__name__)


@dataclass
class RunData:
    """What a run knows of its images.

    Attributes:
        datalist: the checked list with splits and hashes.
        store: decoded images and true masks.
        histograms: id -> colour histogram (3, bins) float32 of each training image, at original resolution.
        background: classes whose images have no foreground.
        shapes: id -> what the mask on disk looks like, of images that have one.
    """

    datalist: DataList
    store: ImageStore
    histograms: dict[str, np.ndarray] = field(default_factory=dict)
    background: BackgroundClasses = NO_BACKGROUND
    shapes: dict[str, MaskShape] = field(default_factory=dict)

    def items(self, split: str) -> list[Item]:
        """Return the items of ``"train"``, ``"val"`` or ``"test"``; those of background classes have ``empty`` true."""
        return [
            {**item, "empty": True} if item["label"] in self.background.labels else item
            for item in self.datalist.split(split)
        ]

    def drawable(self, split: str) -> list[Item]:
        """Return the items of a split that can have foreground: all but those of background classes."""
        return [item for item in self.datalist.split(split) if item["label"] not in self.background.labels]

    def native_size(self) -> tuple[int, int]:
        """Return the median (H, W) in pixels of the training images before they were resized."""
        sizes = [self.store.original_size(item["id"]) for item in self.items("train")]
        height, width = np.median(sizes, axis=0)
        return int(height), int(width)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the labels."""
        return self.datalist.classes

    @property
    def background_names(self) -> tuple[str, ...]:
        """Names of the background classes."""
        return tuple(self.classes[label] for label in self.background.labels)

    @property
    def drawable_classes(self) -> tuple[str, ...]:
        """Names of the other classes, whose images can have foreground."""
        return tuple(name for label, name in enumerate(self.classes) if label not in self.background.labels)

    def empty_classes(self) -> tuple[str, ...]:
        """Return the names of drawable classes that have masks on disk, all of them without foreground."""
        return tuple(
            name
            for name in self.drawable_classes
            if (known := self._known(item["id"] for item in self.datalist.items if self.classes[item["label"]] == name))
            and not any(known)
        )

    def _known(self, ids: Iterable[str]) -> list[bool]:
        return [self.shapes[key].has_foreground for key in ids if key in self.shapes]


def open_data(
    dataset_dir: str,
    demo_dir: str = "",
    demo: Callable[[str], Any] | None = None,
    image_size: Sequence[int] | None = None,
    mask_rule: MaskRule = NONZERO,
    memory_limit_gb: float | None = 4.0,
    background_classes: Sequence[str] = (),
    background_gate: bool = True,
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
        background_classes: names of the classes whose images have no foreground; those without a mask on disk get
            their empty one.
        background_gate: see :class:`scripts.images.values.BackgroundClasses`.
        reading: further arguments of :func:`scripts.data.datalist.read_datalist`.

    Raises:
        InputError: with everything that is wrong with the data, or with the background classes.
    """
    if demo is not None and os.path.abspath(dataset_dir) == os.path.abspath(demo_dir):
        logger.info("generating the demo data set in %s", demo_dir)
        demo(demo_dir)
    size = None if image_size is None else (int(image_size[0]), int(image_size[1]))
    store = ImageStore(image_size=size, mask_rule=mask_rule, decode_limit_gb=memory_limit_gb)
    histograms: dict[str, np.ndarray] = {}
    shapes: dict[str, MaskShape] = {}

    def keep(item: Mapping[str, Any], image: np.ndarray, mask: np.ndarray | None) -> None:
        store.keep(item, image, mask)
        if mask is not None:
            shapes[item["id"]] = MaskShape.of(mask)
        if item["split"] == "train":
            histograms[item["id"]] = colour_histogram(image)

    datalist = read_datalist(dataset_dir, mask_rule=mask_rule, on_read=keep, **reading)
    store.bits = datalist.bits
    has_foreground = {key: shape.has_foreground for key, shape in shapes.items()}
    labels = background_labels(background_classes, datalist.classes, datalist.items, has_foreground)
    drawable = {item["id"]: item["mask"] for item in datalist.items if item["mask"] and item["label"] not in labels}
    refuse_hopeless_masks(drawable, shapes, mask_rule)
    for item in datalist.items:
        if item["label"] in labels and not item["mask"]:
            store.keep_empty_mask(item["id"])
    return RunData(datalist, store, histograms, BackgroundClasses(labels, bool(background_gate)), shapes)
