"""Which images stand in which batch of a training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, count, islice
from typing import Any

import torch
from torch.utils.data import Sampler

from scripts.core.errors import InputError, Problem
from scripts.core.torch_rng import torch_generator
from scripts.training.losses import LABELLED, PSEUDO, UNLABELLED


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
            both kinds this has no effect, since their passes end at different batches.

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
        short_last: bool = False,
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
