"""From items to batches: stored pixels become tensors, and every random draw has its own seed.

The images of a training are only named here: :class:`scripts.training.criterion.PrepareJointBatch` takes their pixels
and changes them by their seeds once the batch is on the device. Transforms of one item at a time come before that.

A *draw* is (epoch, index). What a draw looks like depends on the seed, the image and the epoch alone, never on workers,
on batches or on what ran before, so a training can be repeated or taken up anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from typing import Any, TypeVar

import numpy as np
import torch
from monai.transforms import Compose, Transform
from torch.utils.data import Dataset, Sampler

from scripts.core.errors import InputError, Problem, listed
from scripts.core.seeds import derive_seed
from scripts.images.store import ImageStore
from scripts.images.targets import FULL
from scripts.images.values import FOREGROUND, IGNORE
from scripts.networks.feature_bank import FeatureBank
from scripts.training.losses import BACKGROUND, LABELLED, UNLABELLED

T = TypeVar("T")
_REMEMBERED_BYTES = 512 * 1024**2
"""Most bytes of resized masks that a data set remembers."""


class FromStored(Transform):
    """Turn an item into tensors with the pixels of an :class:`~scripts.images.store.ImageStore`.

    The result has ``image`` (3, h, w) float32 in [0, 1], ``mask`` (1, h, w) uint8 with 0, 1, 255 (all 255 without a
    mask), ``label`` int64 (-1 where unknown), ``kind`` int64 (0 oracle mask, 1 no mask, 2 pseudo-mask, 3 background
    class), ``id``. Where the item has targets and weights, ``mask`` is (2, h, w), both in 255ths
    (:mod:`scripts.images.targets`). An item with ``empty`` true and no kind of its own is of a background class.

    Args:
        store: where the pixels are; items that are new to it are added.
    """

    def __init__(self, store: ImageStore) -> None:
        self.store = store

    def __call__(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """Return the tensors of ``item``; its ``mask`` is None, a path, or at original size (H, W) or (2, H, W).

        An item with ``pixels`` false gets no ``image``.
        """
        label, mask = _label_and_mask(item)
        key = stored_key(item, self.store)
        empty = bool(item.get("empty")) and "kind" not in item
        array = self.store.true_mask(key) if isinstance(mask, str) or empty else mask
        kind = item.get("kind", BACKGROUND if empty else UNLABELLED if array is None else LABELLED)
        unknown = torch.full((1, *self.store.working_size(key)), IGNORE, dtype=torch.uint8)
        sample = {
            "id": key,
            "mask": unknown if array is None else self.store.resized_mask(array),
            "label": torch.tensor(-1 if label is None else int(label)),
            "kind": torch.tensor(int(kind)),
        }
        return {"image": self.store.image(key).float() / 255.0, **sample} if item.get("pixels", True) else sample


def stored_key(item: Mapping[str, Any], store: ImageStore) -> str:
    """Return the name under which the store has the image of an item; one that is new to it is added."""
    key = str(item.get("id", item["image"]))
    if key not in store:
        store.add({"id": key, "image": item["image"], "mask": _label_and_mask(item)[1]})
    return key


def _label_and_mask(item: Mapping[str, Any]) -> tuple[Any, Any]:
    label, mask = item.get("label"), item.get("mask")
    return (None, label) if isinstance(label, str) else (label, mask)  # other tools name the mask "label", no class


class DrawnDataset(Dataset):
    """Items seen through transforms, one seed per draw.

    Args:
        data: items (dicts).
        transform: MONAI transforms; they may be random.
        seed: of the augmentation.
        variants: how many different versions of an image there are; None for a new one each epoch, 0 for transforms
            without randomness. With a finite number, the frozen encoder's features of each version need computing
            only once.
        bank: where those features are kept: the image of a version that is there does not pass the transforms, only
            its mask does (they must allow missing keys), and an empty image of its size stands in for it.
        deferred: samples are for ``PrepareJointBatch`` to augment: they have a ``seed`` (None with ``variants`` 0),
            the ``index`` of their item, and no ``image`` where ``transform`` is :class:`FromStored` alone.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Compose,
        seed: int = 0,
        variants: int | None = None,
        bank: FeatureBank | None = None,
        deferred: bool = False,
    ) -> None:
        self.data, self.transform, self.seed = list(data), transform, seed
        self.variants, self.bank, self.deferred = variants, bank, deferred
        self._two_maps = any(
            getattr(item.get("mask"), "ndim", 0) == 3 for item in self.data
        )  # else masks alone, as they are
        # one sample per item is then the same in all epochs
        self._plain = deferred and all(isinstance(each, FromStored) for each in transform.transforms)
        self._remembered: dict[int, dict[str, Any]] = {}
        self._room = _REMEMBERED_BYTES

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, draw: tuple[int, int] | int) -> dict[str, Any]:
        """Return the sample of a draw; a bare index is the draw of epoch 0."""
        epoch, index = draw if isinstance(draw, tuple) else (0, draw)
        item = self.data[index]
        version = epoch if self.variants is None else epoch % max(self.variants, 1)
        seed = derive_seed(self.seed, "augment", str(item.get("id", item["image"])), version)
        name = item.get("id", str(item["image"]))
        key = "" if self.variants is None else f"{name}#{version if self.variants else 'plain'}"
        sample = self._unchanged(index) if self._plain else self._changed(item, key, seed)
        if self.deferred:
            sample |= {"seed": None if self.variants == 0 else seed, "index": index}
        return {**sample, "key": key}

    def _changed(self, item: Mapping[str, Any], key: str, seed: int) -> dict[str, Any]:
        self.transform.set_random_state(seed=seed)
        kept = bool(self.variants) and self.bank is not None and key in self.bank
        sample = self._transformed(item, not kept)
        if kept:
            sample["image"] = torch.zeros(1).expand(3, *sample["mask"].shape[1:])
        return sample

    def _unchanged(self, index: int) -> dict[str, Any]:
        """Return what :class:`FromStored` makes of an item, without pixels; masks are resized once."""
        if index in self._remembered:
            return dict(self._remembered[index])
        sample = self._transformed(self.data[index], False)
        self._room -= sample["mask"].numel()
        if self._room >= 0:
            self._remembered[index] = dict(sample)
        return sample

    def _transformed(self, item: Mapping[str, Any], pixels: bool) -> dict[str, Any]:
        """Return the sample of an item; the masks of a training are all of one or all of two maps."""
        sample: dict[str, Any] = self.transform({**item, "pixels": pixels})
        return {**sample, "mask": target_and_weight(sample["mask"])} if self._two_maps else sample


def target_and_weight(mask: torch.Tensor) -> torch.Tensor:
    """Return a mask (1, h, w) uint8 with 0, 1, 255 as target and weight, (2, h, w) in 255ths; two maps stay."""
    if mask.shape[0] == 2:
        return mask
    return torch.cat([mask == FOREGROUND, mask != IGNORE]).to(torch.uint8) * FULL


class EqualSizes(Sampler[list[int]]):
    """Batches of a pass over all images in their order: neighbours of one size pass together.

    Args:
        data: items.
        store: tells the size that each is worked at.
        batch_size: most images of a batch.
    """

    def __init__(self, data: Sequence[Mapping[str, Any]], store: ImageStore, batch_size: int = 4) -> None:
        sizes = [store.working_size(stored_key(item, store)) for item in data]
        self.batches = [list(some) for some in equal_sizes(range(len(sizes)), sizes.__getitem__, batch_size)]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)


def equal_sizes(things: Iterable[T], size_of: Callable[[T], object], most: int) -> Iterator[tuple[T, ...]]:
    """Yield runs of neighbours of equal size, at most ``most`` at a time."""
    for _, group in groupby(things, size_of):
        while some := tuple(islice(group, most)):
            yield some


def collate(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Stack samples to a batch: tensors along a new first axis, ids, keys and what is deferred as lists.

    Images and masks of deferred samples are lists of tensors: they are stacked where they are kept.

    Raises:
        InputError: images of different sizes.
    """
    sizes = {tuple(sample["image" if "image" in sample else "mask"].shape) for sample in samples}
    if len(sizes) > 1:
        found = listed([" x ".join(map(str, size[-2:])) for size in sorted(sizes)], 3)
        cure = 'Add --image_size "[H,W]" or --batch_size 1, or a random crop to train#random_transforms.'
        raise InputError(Problem("images of several sizes in one batch", "image_size", "one size", found, cure))
    batch: dict[str, Any] = {}
    apart = ("image", "mask") if "seed" in samples[0] else ()
    for name, value in samples[0].items():
        values = [sample[name] for sample in samples]
        stacked = _is_array(value) and name not in apart
        batch[name] = torch.stack([torch.as_tensor(np.asarray(v)) for v in values]) if stacked else values
    return batch


def _is_array(value: Any) -> bool:
    return isinstance(value, torch.Tensor | np.ndarray)
