"""The pool of one run as plain values: what the report draws of its images. It knows no run, network or file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scripts.core.errors import InputError, Problem

MOST_POINTS = 2000


@dataclass(frozen=True)
class Asked:
    """An image that was asked about.

    Attributes:
        id: the image.
        round: in which.
        rank: place in the order of asking, from 0.
        score: what the strategy gave it, None where it gives none.
        reason: why, for readers: ``"highest score 0.31"``, ``"by lot"``.
    """

    id: str
    round: int
    rank: int
    score: float | None
    reason: str


@dataclass(frozen=True)
class Contradiction:
    """An oracle mask and how little the model of the round before agrees.

    Attributes:
        id: the image.
        round: in which it was asked about.
        disagreement: 1 - soft IoU of mask and probabilities, in [0, 1].
        picture: JPEG of the image with the outlines of both.
    """

    id: str
    round: int
    disagreement: float
    picture: bytes


@dataclass(frozen=True)
class PoolView:
    """The training images of a run.

    Attributes:
        run: name of the run for readers.
        ids: images that are drawn, (N,).
        classes: class name of each.
        features: (N, D) float, by which images are compared.
        thumbnails: id -> JPEG, of all ids and of all that were asked about.
        asked: by round and rank.
        contradictions: the greatest first.
        images: how many training images there are, drawn or not.

    Raises:
        InputError: lengths differ, or features that are not finite.
    """

    run: str
    ids: Sequence[str]
    classes: Sequence[str]
    features: np.ndarray
    thumbnails: Mapping[str, bytes]
    asked: Sequence[Asked]
    contradictions: Sequence[Contradiction]
    images: int

    def __post_init__(self) -> None:
        shape = self.features.shape
        if (
            len(shape) != 2
            or not len(self.ids) == len(self.classes) == shape[0]
            or not np.isfinite(self.features).all()
        ):
            found = f"{len(self.ids)} ids, {len(self.classes)} classes, features {shape}"
            raise InputError(Problem("no pool", "PoolView", "as many ids, classes and finite features", found))


def drawn_ids(ids: Sequence[str], asked: Sequence[str], most: int = MOST_POINTS) -> list[str]:
    """Return at most so many of the images, in their order: those asked about first, the others evenly spaced.

    Args:
        ids: of all training images.
        asked: those that were asked about, in the order of asking.
        most: at least 1.
    """
    if len(ids) <= most:
        return list(ids)
    first = set(asked[:most])
    rest = [key for key in ids if key not in first]
    wanted = most - len(first)
    kept = first | {rest[i * len(rest) // wanted] for i in range(wanted)}
    return [key for key in ids if key in kept]


def soft_iou(mask: np.ndarray, probs: np.ndarray, ignore: int) -> float:
    """Return the sum of ``p m`` over that of ``p + m - p m``, in [0, 1]; 1 where there is neither mask nor probability.

    Args:
        mask: (H, W) with 0, 1 and ``ignore``, whose pixels do not count.
        probs: (H, W) float in [0, 1].
        ignore: value of pixels that nobody has judged.
    """
    known = mask != ignore
    m, p = (mask[known] == 1).astype(np.float64), probs[known].astype(np.float64)
    shared = float((m * p).sum())
    union = float(m.sum() + p.sum()) - shared
    return shared / union if union > 0 else 1.0
