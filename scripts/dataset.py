"""From items to batches: stored pixels become tensors, and every random draw has its own seed.

A *draw* is (epoch, index). What a draw looks like depends on the seed, the image and the epoch alone, never on workers,
on batches or on what ran before, so a training can be repeated or taken up anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose, Transform
from torch.utils.data import Dataset, Sampler

from scripts.errors import InputError, Problem
from scripts.features import FeatureBank
from scripts.image_store import ImageStore
from scripts.losses import IGNORE, LABELLED, PSEUDO, UNLABELLED
from scripts.rng import derive_seed, torch_generator


class FromStored(Transform):
    """Turn an item into tensors with the pixels of an :class:`~scripts.image_store.ImageStore`.

    The result has ``image`` (3, h, w) float32 in [0, 1], ``mask`` (1, h, w) uint8 with 0, 1, 255 (all 255 without a
    mask), ``label`` int64 (-1 where unknown), ``kind`` int64 (0 oracle mask, 1 no mask, 2 pseudo-mask), ``id``.

    Args:
        store: where the pixels are; items that are new to it are added.
    """

    def __init__(self, store: ImageStore) -> None:
        self.store = store

    def __call__(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """Return the tensors of ``item``; its ``mask`` is an array (H, W) at original size, a path, or None.

        An item with ``pixels`` false gets no ``image``.
        """
        label, mask = item.get("label"), item.get("mask")
        if isinstance(label, str):  # other tools name the mask file "label" and give no class
            label, mask = None, label
        key = item.get("id", str(item["image"]))
        if key not in self.store:
            self.store.add({"id": key, "image": item["image"], "mask": mask})
        array = self.store.true_mask(key) if isinstance(mask, str) else mask
        kind = item.get("kind", UNLABELLED if array is None else LABELLED)
        unknown = torch.full((1, *self.store.working_size(key)), IGNORE, dtype=torch.uint8)
        sample = {
            "id": key,
            "mask": unknown if array is None else self.store.resized_mask(array),
            "label": torch.tensor(-1 if label is None else int(label)),
            "kind": torch.tensor(int(kind)),
        }
        return {"image": self.store.image(key).float() / 255.0, **sample} if item.get("pixels", True) else sample


class DrawnDataset(Dataset):
    """Items seen through random transforms, one seed per draw.

    Args:
        data: items (dicts).
        transform: MONAI transforms.
        seed: of the augmentation.
        variants: how many different versions of an image there are; None for a new one each epoch, 0 for transforms
            without randomness. With a finite number, the frozen encoder's features of each version need computing
            only once.
        bank: where those features are kept: a version that is there is not drawn again, only its mask is (the
            transforms must allow missing keys), and an empty image of its size stands in for it.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Compose,
        seed: int = 0,
        variants: int | None = None,
        bank: FeatureBank | None = None,
    ) -> None:
        self.data, self.transform, self.seed = list(data), transform, seed
        self.variants, self.bank = variants, bank

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, draw: tuple[int, int] | int) -> dict[str, Any]:
        """Return the transformed item of a draw; a bare index is the draw of epoch 0."""
        epoch, index = draw if isinstance(draw, tuple) else (0, draw)
        item = self.data[index]
        version = epoch if self.variants is None else epoch % max(self.variants, 1)
        seed = derive_seed(self.seed, "augment", str(item.get("id", item["image"])), version)
        self.transform.set_random_state(seed=seed)
        name = item.get("id", str(item["image"]))
        key = "" if self.variants is None else f"{name}#{version if self.variants else 'plain'}"
        kept = bool(self.variants) and self.bank is not None and key in self.bank
        sample: dict[str, Any] = self.transform({**item, "pixels": not kept})
        if kept:
            sample["image"] = torch.zeros(1).expand(3, *sample["mask"].shape[1:])
        return {**sample, "key": key}


class BatchPlan(Sampler[list[tuple[int, int]]]):
    """All batches of a training, as lists of draws, fixed by the seed.

    Images are taken in random order, each once per epoch; batches run over the end of an epoch, so all have the same
    size, also when there are fewer images than ``batch_size``.

    Args:
        kinds: kind of each image, see :class:`FromStored`.
        batch_size: images per batch.
        batches: number of batches.
        seed: of the order.
        labelled_share: share of images with an oracle mask in each batch, in (0, 1), while there are images of both
            kinds; None mixes all images alike, as published, and so do batches of one image.

    Attributes:
        start: batches that are left out at the beginning, for a training that is taken up.

    Raises:
        InputError: there is no image.
    """

    def __init__(
        self,
        kinds: Sequence[int],
        batch_size: int,
        batches: int,
        seed: int = 0,
        labelled_share: float | None = None,
    ) -> None:
        if not kinds:
            raise InputError(Problem("no image to train on", "train#dataset#data"))
        self.batch_size, self.batches, self.seed, self.start = batch_size, batches, seed, 0
        pseudo = [i for i, kind in enumerate(kinds) if kind == PSEUDO]
        others = [i for i, kind in enumerate(kinds) if kind != PSEUDO]
        if labelled_share is None or not pseudo or not others or batch_size < 2:
            self.groups = [(list(range(len(kinds))), batch_size)]
        else:
            first = min(max(round(labelled_share * batch_size), 1), batch_size - 1)
            self.groups = [(others, first), (pseudo, batch_size - first)]

    def __len__(self) -> int:
        return self.batches - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        streams = [self._stream(group, members) for group, (members, _) in enumerate(self.groups)]
        for number in range(self.batches):
            batch = [next(stream) for stream, (_, n) in zip(streams, self.groups, strict=True) for _ in range(n)]
            if number >= self.start:
                yield batch

    def _stream(self, group: int, members: Sequence[int]) -> Iterator[tuple[int, int]]:
        epoch = 0
        while True:
            order = torch.randperm(len(members), generator=torch_generator(self.seed, "order", group, epoch))
            yield from ((epoch, members[i]) for i in order.tolist())
            epoch += 1


def stratified_scale(scale: float, plan: BatchPlan) -> float:
    """Return the weight of pseudo-masks that makes batches with a fixed share of oracle masks stand for the whole set.

    A batch of n_L oracle masks and n_P pseudo-masks, drawn from N_L and N_P images, shows each oracle mask
    (n_L / N_L) / (n_P / N_P) times as often as each pseudo-mask. Multiplying the weight by that keeps the two sums of
    Equation 1 in proportion, so that the share chooses what a batch holds and not what counts.

    Args:
        scale: lambda of Equation 1, >= 0.
        plan: the batches of the training.
    """
    if len(plan.groups) < 2:
        return scale
    (labelled, n_labelled), (pseudo, n_pseudo) = plan.groups
    return scale * (n_labelled / len(labelled)) * (len(pseudo) / n_pseudo)


def kinds_of(data: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the kind of each item: its own, or by whether it has a mask."""
    return [
        int(
            item.get(
                "kind", LABELLED if item.get("mask") is not None or isinstance(item.get("label"), str) else UNLABELLED
            )
        )
        for item in data
    ]


def plan_batches(data: Sequence[Mapping[str, Any]], **arguments: Any) -> BatchPlan:
    """Return the :class:`BatchPlan` of a list of items; further arguments are its own."""
    return BatchPlan(kinds_of(data), **arguments)


def collate(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Stack samples to a batch: tensors along a new first axis, ids and keys as lists.

    Raises:
        ValueError: images of different sizes.
    """
    sizes = {tuple(sample["image"].shape) for sample in samples}
    if len(sizes) > 1:
        raise ValueError(
            f"images of one batch differ in size: {sorted(sizes)}. Set image_size to one (H, W), or add a random crop "
            "to train#random_transforms."
        )
    batch: dict[str, Any] = {}
    for name, value in samples[0].items():
        values = [sample[name] for sample in samples]
        batch[name] = torch.stack([torch.as_tensor(np.asarray(v)) for v in values]) if _is_array(value) else values
    return batch


def _is_array(value: Any) -> bool:
    return isinstance(value, torch.Tensor | np.ndarray)
