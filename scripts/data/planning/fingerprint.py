"""A look at a data set for a plan: headers of its images and a sample of its masks, without decoding an image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

from scripts.data.datalist import DataList, Item
from scripts.data.planning.plan import Fingerprint
from scripts.images.mask_files.fitting import fitting_rule, spelling
from scripts.images.mask_files.names import mask_paths
from scripts.images.mask_files.several import read_whole_mask
from scripts.images.masks import MaskRule
from scripts.images.reading import image_size
from scripts.images.regions import connected_components
from scripts.images.values import BACKGROUND, FOREGROUND

_HEADERS, _MASKS_PER_CLASS = 500, 24
_SPECK = 9
"""Pixels; smaller components are no objects, but slips of the hand."""
T = TypeVar("T")


def fingerprint_of(datalist: DataList, rule: MaskRule) -> Fingerprint:
    """Return what a plan needs to know of a data set.

    Args:
        datalist: its images; files need not be checked.
        rule: which mask values are foreground.

    Raises:
        InputError: an image or mask that was looked at cannot be read.
    """
    train = datalist.split("train")
    sizes = np.array([image_size(item["image"]) for item in _spread(train, _HEADERS)])
    by_class = [[item for item in train if item["label"] == label] for label in range(len(datalist.classes))]
    masks = [_masks(items, rule) for items in by_class]
    known = [mask for of_class in masks for mask in of_class]
    is_hopeless = known and not (
        any((mask == FOREGROUND).any() for mask in known) and any((mask == BACKGROUND).any() for mask in known)
    )
    fitting = fitting_rule([mask_paths(item["mask"])[0] for item in train if item["mask"]]) if is_hopeless else None
    empty = tuple(
        name
        for name, of_class in zip(datalist.classes, masks, strict=True)
        if of_class and not any((mask == FOREGROUND).any() for mask in of_class)
    )
    return Fingerprint(
        images={name: len(items) for name, items in zip(datalist.classes, by_class, strict=True)},
        size=_pair(np.median(sizes, axis=0)),
        smallest=_pair(sizes.min(axis=0)),
        largest=_pair(sizes.max(axis=0)),
        object_px=_object_px(known),
        empty_classes=() if is_hopeless else empty,
        rule=None if fitting is None or fitting.rule is None else spelling(fitting.rule),
        has_patients=_has_patients(datalist.items),
        has_split=not datalist.is_drawn,
    )


def _masks(items: Sequence[Item], rule: MaskRule) -> list[np.ndarray]:
    masked = _spread([item for item in items if item["mask"]], _MASKS_PER_CLASS)
    return [read_whole_mask(item["mask"], item["image"], rule) for item in masked]


def _object_px(masks: Iterable[np.ndarray]) -> float | None:
    """Return the diameter in pixels of a disc as large as the object that nine in ten objects exceed."""
    areas = [np.bincount(connected_components(mask == FOREGROUND).ravel())[1:] for mask in masks]
    objects = np.concatenate([np.zeros(0, int), *areas])
    objects = objects[objects >= _SPECK]
    return float(np.sqrt(4 / np.pi * np.quantile(objects, 0.1))) if len(objects) else None


def _has_patients(items: Sequence[dict[str, Any]]) -> bool:
    patients = [item["patient_id"] for item in items if item["patient_id"]]
    return len(set(patients)) < len(patients)


def _spread(items: Sequence[T], most: int) -> Sequence[T]:
    """Return at most so many items, evenly spread over all."""
    return items[:: max(1, -(-len(items) // most))]


def _pair(values: np.ndarray) -> tuple[int, int]:
    return int(values[0]), int(values[1])
