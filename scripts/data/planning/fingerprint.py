"""A look at a data set for a plan: headers of its images and masks, a sample where there are many, no image decoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any, TypeVar

import numpy as np

from scripts.core.errors import InputError, Problem
from scripts.core.seeds import numpy_generator
from scripts.data.datalist import DataList, Item
from scripts.data.planning.plan import Fingerprint
from scripts.images.mask_files.fitting import fitting_rule, spelling
from scripts.images.mask_files.names import mask_paths
from scripts.images.mask_files.several import read_whole_mask
from scripts.images.masks import MaskRule
from scripts.images.reading import image_size
from scripts.images.regions import connected_components
from scripts.images.values import BACKGROUND, FOREGROUND

_HEADERS = 500
_MASKS, _LEAST_MASKS = 400, 12
_MASK_PIXELS = 2**25
"""Of all masks that are looked at, some seconds: 400 of 290 x 290, 128 of 512 x 512, 33 of 1,000 x 1,000."""
_SPECK = 9
"""Pixels; smaller components are no objects, but slips of the hand."""
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class _Look:
    """What is kept of a mask: its class, whether it has foreground and background, pixels of each object."""

    label: int
    has_foreground: bool
    has_background: bool
    objects: np.ndarray


def fingerprint_of(datalist: DataList, rule: MaskRule, skip: bool = False) -> Fingerprint:
    """Return what a plan needs to know of a data set.

    All is looked at in small data sets, else a sample that depends on nothing but the order of the table: the headers
    of 500 images, and as many masks as have 34 million pixels, but 12 to 400, the classes in turn.

    Args:
        datalist: its images; files need not be checked.
        rule: which mask values are foreground.
        skip: leave out what cannot be read, as long as something can.

    Raises:
        InputError: images or masks that were looked at cannot be read.
    """
    by_class: list[list[Item]] = [[] for _ in datalist.classes]
    for item in datalist.items:
        if item["split"] == "train":
            by_class[item["label"]].append(item)
    train = list(chain.from_iterable(by_class))
    headers = _sample(train, _HEADERS, "headers")
    sizes = np.array(_each(headers, lambda item: image_size(item["image"]), skip))
    drawn = [[item for item in items if item["mask"]] for items in by_class]
    most = max(_LEAST_MASKS, min(_MASKS, int(_MASK_PIXELS / np.median(sizes.prod(axis=1)))))
    masks = _in_turn([_sample(items, most, "masks") for items in drawn])[:most]
    known = _each(masks, lambda item: _look(item, rule), skip)
    is_hopeless = bool(known) and not (
        any(look.has_foreground for look in known) and any(look.has_background for look in known)
    )
    fitting = fitting_rule([mask_paths(item["mask"])[0] for item in masks]) if is_hopeless else None
    empty = {look.label for look in known} - {look.label for look in known if look.has_foreground}
    return Fingerprint(
        images={name: len(items) for name, items in zip(datalist.classes, by_class, strict=True)},
        size=_pair(np.median(sizes, axis=0)),
        smallest=_pair(sizes.min(axis=0)),
        largest=_pair(sizes.max(axis=0)),
        object_px=_object_px(known),
        empty_classes=() if is_hopeless else tuple(datalist.classes[label] for label in sorted(empty)),
        rule=None if fitting is None or fitting.rule is None else spelling(fitting.rule),
        has_patients=_has_patients(datalist.items),
        has_split=not datalist.is_drawn,
        headers=len(headers) if len(headers) < len(train) else None,
        masks=len(masks) if len(masks) < sum(map(len, drawn)) else None,
    )


def _look(item: Item, rule: MaskRule) -> _Look:
    mask = read_whole_mask(item["mask"], item["image"], rule)
    inside = mask == FOREGROUND
    sizes = np.bincount(connected_components(inside).ravel())[1:]
    return _Look(item["label"], bool(inside.any()), bool((mask == BACKGROUND).any()), sizes[sizes >= _SPECK])


def _each(items: Sequence[Item], look: Callable[[Item], R], skip: bool) -> list[R]:
    """Look at each item, and raise once with what cannot be read, or leave it out."""
    found: list[R] = []
    problems: list[Problem] = []
    for item in items:
        try:
            found.append(look(item))
        except InputError as error:
            problems += error.problems
    if problems and not (skip and found):
        raise InputError(problems)
    return found


def _object_px(known: Sequence[_Look]) -> float | None:
    """Return the diameter in pixels of a disc as large as the object below which a tenth of the foreground lies.

    Every mask counts the same, as in the mean of Dice over images. Specks beside large objects are many, but no tenth.
    """
    drawn = [look.objects for look in known if len(look.objects)]
    if not drawn:
        return None
    sizes, weights = np.concatenate(drawn), np.concatenate([objects / objects.sum() for objects in drawn])
    order = np.argsort(sizes)
    place = np.searchsorted(np.cumsum(weights[order]), 0.1 * len(drawn) - 1e-9)
    return float(np.sqrt(4 / np.pi * sizes[order][place]))


def _has_patients(items: Sequence[dict[str, Any]]) -> bool:
    patients = [item["patient_id"] for item in items if item["patient_id"]]
    return len(set(patients)) < len(patients)


def _sample(items: Sequence[T], most: int, purpose: str) -> list[T]:
    """Return at most so many items, shuffled by a seed of their own."""
    shuffled = numpy_generator(0, "plan", purpose).permutation(len(items))
    return [items[place] for place in shuffled[:most]]


def _in_turn(groups: Sequence[Sequence[T]]) -> list[T]:
    """Return the first of each group, then the second of each, and so on."""
    return [item for turn in zip_longest(*groups) for item in turn if item is not None]


def _pair(values: np.ndarray) -> tuple[int, int]:
    return int(values[0]), int(values[1])
