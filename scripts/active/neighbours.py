"""How alike two images of a class look: colour histograms, their Jensen-Shannon distance, and the neighbour graph.

Follows Belharbi et al. 2021 and its published code. The graph is built once per run. It holds N * k numbers; the
N * N distances never exist at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from scripts.core.errors import InputError, Problem

_CHUNK_BYTES = 8 * 2**20  # of one temporary array


def jensen_shannon(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Jensen-Shannon divergence of all pairs, natural logarithm, clamped to [0, 1].

    Computed in float64 as ``H((p + q) / 2) - (H(p) + H(q)) / 2``, in chunks of rows.

    Args:
        a: (N, C, B) float > 0, each row sums to 1.
        b: (M, C, B) likewise.

    Returns:
        (N, M, C) float64.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    entropy_a, entropy_b = _entropy(a), _entropy(b)  # (N, C), (M, C)
    result = np.empty((len(a), len(b), a.shape[1]))
    step = max(1, _CHUNK_BYTES // max(1, b.nbytes))
    for start in range(0, len(a), step):
        rows = slice(start, start + step)
        mixed = _entropy(0.5 * (a[rows, None] + b[None]))  # (step, M, C)
        result[rows] = mixed - 0.5 * (entropy_a[rows, None] + entropy_b[None])
    return result.clip(0.0, 1.0)


def _entropy(p: np.ndarray) -> np.ndarray:
    """Entropy over the last axis in nats."""
    return -(p * np.log(p)).sum(axis=-1)


@dataclass(frozen=True)
class NeighbourGraph:
    """The nearest images of the same class, for every image.

    Attributes:
        ids: (N,) image ids.
        neighbours: (N, width) int32 positions in ``ids``, nearest first, the image itself left out; -1 where its
            class has no more images. ``width`` is the smaller of k and the size of the largest class less one.
        distances: (N, width) float32, ascending; infinity where there is no neighbour.
        k: how many neighbours were asked for.
    """

    ids: tuple[str, ...]
    neighbours: np.ndarray
    distances: np.ndarray
    k: int

    def has_neighbours(self, k: int) -> bool:
        """Whether the k nearest of every image are known: k is no larger than asked for, or nobody has more."""
        return k <= self.k or self.neighbours.shape[1] < self.k


def neighbour_graph(histograms: Mapping[str, np.ndarray], class_of: Mapping[str, str], k: int = 40) -> NeighbourGraph:
    """Build the graph of the k nearest images within each class.

    ``distance(u, v) = sum_c JSD_c(u, v) / z_c``, where ``z_c`` sums channel c over all ordered pairs of the class; it
    balances the channels. Ties are broken by id. The divergences are computed twice, once for z and once for the
    neighbours, which is what keeps the memory at O(N k): no n * n array of a class of n is ever kept.

    Args:
        histograms: (C, B) float histogram of each image, from :func:`colour_histogram`.
        class_of: class name of each id in ``histograms``.
        k: neighbours per image, >= 1; may exceed the size of a class.

    Raises:
        InputError: k < 1.
    """
    members: dict[str, list[str]] = {}
    for id_ in sorted(histograms):
        members.setdefault(class_of[id_], []).append(id_)
    blocks = []
    for name in sorted(members):
        stack = np.stack([histograms[id_] for id_ in members[name]])  # (n, C, B)
        blocks.append((members[name], partial(_distance_rows, stack)))
    return build_graph(blocks, k)


DistanceRows = Callable[[], Iterable[tuple[int, np.ndarray]]]
"""Yields (first row, distances (rows, n)) until all n rows of a class were given."""


def _distance_rows(stack: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the normalised distances of one class, a few rows at a time."""
    step = max(1, _CHUNK_BYTES // max(1, stack[:, :, 0].size * 8))
    starts = range(0, len(stack), step)
    z = np.zeros(stack.shape[1])
    for start in starts:
        z += jensen_shannon(stack[start : start + step], stack).sum(axis=(0, 1))
    # in a channel where all images are equal, every divergence is 0 and z only must not divide by 0
    weights = np.divide(1.0, z, out=np.zeros_like(z), where=z > 0)
    for start in starts:
        yield start, jensen_shannon(stack[start : start + step], stack) @ weights


def build_graph(blocks: Sequence[tuple[Sequence[str], DistanceRows]], k: int) -> NeighbourGraph:
    """Build the graph from distances that are computed a few rows at a time.

    Args:
        blocks: of each class the ids (n,) and what yields their distances; row i holds the distances from image i.
        k: neighbours per image, >= 1.

    Raises:
        InputError: k < 1, or an id twice.
    """
    if k < 1:
        raise InputError(Problem("no neighbours wanted", "k", ">= 1", f"{k}"))
    ids = [id_ for members, _ in blocks for id_ in members]
    if len(set(ids)) != len(ids):
        raise InputError(Problem("an id occurs twice", "neighbour graph", "distinct ids"))
    width = min(k, max((len(members) for members, _ in blocks), default=1) - 1)
    neighbours = np.full((len(ids), width), -1, dtype=np.int32)
    distances = np.full((len(ids), width), np.inf, dtype=np.float32)
    offset = 0
    for members, rows in blocks:
        name_rank = np.argsort(np.argsort(np.array(members, dtype=np.str_), kind="stable"), kind="stable")
        for start, chunk in rows():
            for row, line in enumerate(chunk, start):
                order = np.lexsort((name_rank, line))
                # published: drop the first entry, taken to be the image itself; a duplicate could stand there
                order = order[order != row][:width]
                neighbours[offset + row, : len(order)] = order + offset
                distances[offset + row, : len(order)] = line[order]
        offset += len(members)
    return NeighbourGraph(tuple(ids), neighbours, distances, k)
