"""Which images stand in which batch of a training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, count, islice
from typing import Any

import torch
from torch.utils.data import Sampler

from scripts.core.errors import InputError, Problem
from scripts.core.torch_rng import torch_generator
from scripts.training.losses import BACKGROUND, LABELLED, PSEUDO, UNLABELLED


class BatchPlan(Sampler[list[tuple[int, int]]]):
    """All batches of a training, as lists of draws, fixed by the seed.

    Images are taken in random order, each once per pass; batches run over the end of a pass, so all have the same
    size, also when there are fewer images than ``batch_size``.

    Args:
        kinds: kind of each image, see :class:`FromStored`.
        batch_size: images per batch.
        batches: number of batches.
        seed: of the order.
        labelled_share: share of images with an oracle mask in each batch, in (0, 1), while there are images of both
            kinds; None mixes all images alike, as published, and so do batches of one image.
        short_last: a pass ends with what is left of its images, as published. While each batch has a fixed share of
            some kind this has no effect, since their passes end at different batches.
        background_share: share of images of background classes in each batch, in (0, 1), at least one, while there are
            others; the rest of the batch is composed as without them. 0 leaves them out of the training. Batches of
            one image mix all alike.

    Attributes:
        groups: (images, how many of them stand in each batch); those of background classes come last.
        stratified: whether the first group holds those with an oracle mask and the second the pseudo-masks.
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
        short_last: bool = False,
        background_share: float = 0.125,
    ) -> None:
        used = [i for i, kind in enumerate(kinds) if kind != BACKGROUND or background_share > 0]
        if not used:
            raise InputError(Problem("no image to train on", "train#dataset#data"))
        self.batch_size, self.batches, self.seed, self.start = batch_size, batches, seed, 0
        empty = [i for i in used if kinds[i] == BACKGROUND]
        drawn = [i for i in used if kinds[i] != BACKGROUND]
        last = _at_least_one(background_share, batch_size) if empty and drawn and batch_size > 1 else 0
        rest, size = drawn if last else used, batch_size - last
        pseudo = [i for i in rest if kinds[i] == PSEUDO]
        others = [i for i in rest if kinds[i] != PSEUDO]
        if labelled_share is None or not pseudo or not others or size < 2:
            self.groups = [(rest, size)]
        else:
            first = _at_least_one(labelled_share, size)
            self.groups = [(others, first), (pseudo, size - first)]
        self.stratified = len(self.groups) == 2
        self.groups += [(empty, last)] if last else []
        self.short_last = short_last and len(self.groups) == 1

    def __len__(self) -> int:
        return self.batches - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        batches = self._passes() if self.short_last else self._full_batches()
        yield from islice(batches, self.start, self.batches)

    def _full_batches(self) -> Iterator[list[tuple[int, int]]]:
        streams = [chain.from_iterable(self._orders(group)) for group in range(len(self.groups))]
        while True:
            yield [next(stream) for stream, (_, n) in zip(streams, self.groups, strict=True) for _ in range(n)]

    def _passes(self) -> Iterator[list[tuple[int, int]]]:
        for order in self._orders(0):
            yield from (order[first : first + self.batch_size] for first in range(0, len(order), self.batch_size))

    def _orders(self, group: int) -> Iterator[list[tuple[int, int]]]:
        """Yield the draws of a group pass by pass, without end."""
        members = self.groups[group][0]
        for epoch in count():
            order = torch.randperm(len(members), generator=torch_generator(self.seed, "order", group, epoch))
            yield [(epoch, members[i]) for i in order.tolist()]


def _at_least_one(share: float, batch_size: int) -> int:
    """Return how many of two images or more the share is, with one at least on either side."""
    return min(max(round(share * batch_size), 1), batch_size - 1)


def background_share(share: float, scale: float) -> float:
    """Return the share of images of background classes in a batch: ``share``, or 0 where their loss has no weight."""
    return share if scale > 0 else 0.0


def stratified_scale(scale: float, plan: BatchPlan) -> float:
    """Return the weight of pseudo-masks that makes batches with a fixed share of oracle masks stand for the whole set.

    A batch of n_L oracle masks and n_P pseudo-masks, drawn from N_L and N_P images, shows each oracle mask
    (n_L / N_L) / (n_P / N_P) times as often as each pseudo-mask. Multiplying the weight by that keeps the two sums of
    Equation 1 in proportion, so that the share chooses what a batch holds and not what counts.

    Args:
        scale: lambda of Equation 1, >= 0.
        plan: the batches of the training.
    """
    if not plan.stratified:
        return scale
    (labelled, n_labelled), (pseudo, n_pseudo) = plan.groups[:2]
    return scale * (n_labelled / len(labelled)) * (len(pseudo) / n_pseudo)


def kinds_of(data: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the kind of each item: its own, or by whether its class has none, or by whether it has a mask."""
    return [int(item.get("kind", _kind_of(item))) for item in data]


def _kind_of(item: Mapping[str, Any]) -> int:
    if item.get("empty"):
        return BACKGROUND
    return LABELLED if item.get("mask") is not None or isinstance(item.get("label"), str) else UNLABELLED


def plan_batches(data: Sequence[Mapping[str, Any]], **arguments: Any) -> BatchPlan:
    """Return the :class:`BatchPlan` of a list of items; further arguments are its own."""
    return BatchPlan(kinds_of(data), **arguments)
