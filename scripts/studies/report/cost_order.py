"""Whether methods change places when another cost is counted than images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from scripts.studies.report.method_curves import COSTS, MethodCurves, areas, common_range

_IMAGES = next(iter(COSTS))


@dataclass(frozen=True)
class Swap:
    """Two methods that change places.

    Attributes:
        by_images: the better one when images are counted.
        by_cost: the better one when the other cost is counted.
        lead_images: area of the first less the second by images, in Dice, > 0.
        lead_cost: area of the second less the first by the other cost, > 0.
    """

    by_images: str
    by_cost: str
    lead_images: float
    lead_cost: float


def swaps(methods: Sequence[MethodCurves], cost: str) -> tuple[list[Swap], int]:
    """Return the pairs whose order by area differs between images and a cost, and how many pairs could be compared.

    An area is the mean over all seeds, over the range of the cost that all runs of both methods cover.
    """
    found, compared = [], 0
    for a, b in combinations(methods, 2):
        by_images, by_cost = (_lead(a, b, name) for name in (_IMAGES, cost))
        if by_images is None or by_cost is None:
            continue
        compared += 1
        if by_images * by_cost < 0:
            first, second = (a, b) if by_images > 0 else (b, a)
            found.append(Swap(first.name, second.name, abs(by_images), abs(by_cost)))
    return found, compared


def _lead(a: MethodCurves, b: MethodCurves, cost: str) -> float | None:
    """Return how much larger the area of ``a`` is than that of ``b``, None where they share no range."""
    within = common_range((a, b), cost)
    if within is None:
        return None
    return float(areas(a, cost, within).mean() - areas(b, cost, within).mean())
