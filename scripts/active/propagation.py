"""Which images without an oracle mask get a pseudo-mask, and from which labelled image the right to it comes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scripts.active.neighbours import NeighbourGraph
from scripts.core.errors import InputError, Problem


@dataclass(frozen=True)
class Donor:
    """The labelled image an unlabelled one is paired with.

    Attributes:
        id: the labelled image.
        distance: between the two, as in the graph, >= 0.
        rank: its place among all images of the class by distance from the unlabelled one, from 1.
    """

    id: str
    distance: float
    rank: int


Propagation = Callable[[NeighbourGraph, Collection[str], Sequence[str]], dict[str, Donor]]
"""graph, labelled ids, unlabelled ids -> {unlabelled id: donor} of those that get a pseudo-mask."""


class NearestNeighbours:
    """An image is paired when a labelled one is among its k nearest of the same class, with the nearest such one.

    The k nearest are counted among all images of the class, labelled or not; images with a pseudo-mask do not pass it
    on (Belharbi et al. 2021). With k at or above the size of every class, all unlabelled images of a class with any
    label are paired.

    Args:
        k: neighbours looked at, >= 1; 40 as published.

    Raises:
        InputError: k < 1.
    """

    def __init__(self, k: int = 40) -> None:
        if k < 1:
            raise InputError(Problem("no neighbours to look at", "propagation k", ">= 1", f"{k}"))
        self.k = k

    def __call__(self, graph: NeighbourGraph, labelled: Collection[str], unlabelled: Sequence[str]) -> dict[str, Donor]:
        """Return the donor of each paired id, in the order of ``unlabelled``.

        Args:
            graph: built with at least k neighbours, or with all there are.
            labelled: ids with an oracle mask.
            unlabelled: ids without.

        Raises:
            InputError: an id which is not in the graph or is in both lists, or a graph of fewer than k neighbours.
        """
        position = {id_: row for row, id_ in enumerate(graph.ids)}
        self._check(graph, position, labelled, unlabelled)
        is_labelled = np.zeros(len(graph.ids) + 1, dtype=bool)  # the last entry is that of "no neighbour", -1
        is_labelled[[position[id_] for id_ in labelled]] = True
        pairs = {}
        for id_ in unlabelled:
            row = position[id_]
            nearest = graph.neighbours[row, : self.k]
            hits = np.flatnonzero(is_labelled[nearest])
            if len(hits):
                rank = int(hits[0])
                donor = graph.ids[nearest[rank]]
                pairs[id_] = Donor(donor, float(graph.distances[row, rank]), rank + 1)
        return pairs

    def _check(
        self,
        graph: NeighbourGraph,
        position: Mapping[str, int],
        labelled: Collection[str],
        unlabelled: Sequence[str],
    ) -> None:
        problems = [
            Problem("not in the neighbour graph", id_, "an image of the training split")
            for id_ in (*labelled, *unlabelled)
            if id_ not in position
        ]
        problems += [Problem("both labelled and unlabelled", id_) for id_ in sorted(set(labelled) & set(unlabelled))]
        if not graph.has_neighbours(self.k):
            problems.append(Problem("graph has too few neighbours", "propagation k", f"at most {graph.k}", f"{self.k}"))
        if problems:
            raise InputError(problems)


def pseudo_pool(
    previous: Mapping[str, Donor], pairs: Mapping[str, Donor], labelled: Collection[str]
) -> dict[str, Donor]:
    """Return the images that have a pseudo-mask from now on: those before and those paired now.

    A new donor replaces the one before. An oracle mask always wins, so labelled ids are never in the pool.

    Args:
        previous: {id: donor} at the end of the last round.
        pairs: {id: donor} found in this round.
        labelled: ids with an oracle mask.
    """
    oracle = set(labelled)
    return {id_: donor for id_, donor in {**previous, **pairs}.items() if id_ not in oracle}
