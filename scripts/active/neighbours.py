"""How alike two images of a class look: colour histograms, their Jensen-Shannon distance, and the neighbour graph.

Follows Belharbi et al. 2021 and its published code. The graph is built once per run. It holds N * k numbers; the
N * N distances never exist at once.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from scripts.core.errors import InputError, Problem, StateError

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
        fingerprint: of the features, classes and k it was built from; see :func:`graph_fingerprint`.
    """

    ids: tuple[str, ...]
    neighbours: np.ndarray
    distances: np.ndarray
    k: int
    fingerprint: str = ""

    def holds(self, k: int) -> bool:
        """Whether the k nearest of every image are known: k is no larger than asked for, or nobody has more."""
        return k <= self.k or self.neighbours.shape[1] < self.k

    def to_bytes(self) -> bytes:
        """Return the graph as the bytes of an ``.npz`` file; equal graphs give equal bytes."""
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            ids=np.array(self.ids, dtype=np.str_),
            neighbours=self.neighbours,
            distances=self.distances,
            k=np.int64(self.k),
            fingerprint=np.array(self.fingerprint, dtype=np.str_),
        )
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> NeighbourGraph:
        """Read what :meth:`to_bytes` wrote; nothing in ``data`` is executed.

        Raises:
            StateError: the bytes are not a whole neighbour graph.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                graph = cls(
                    ids=tuple(str(id_) for id_ in arrays["ids"]),
                    neighbours=arrays["neighbours"],
                    distances=arrays["distances"],
                    k=int(arrays["k"]),
                    fingerprint=str(arrays["fingerprint"]),
                )
        except (ValueError, KeyError, OSError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
            raise StateError(_broken(str(error))) from error
        shape = graph.neighbours.shape
        if len(shape) != 2 or shape != graph.distances.shape or shape[0] != len(graph.ids):
            raise StateError(_broken(f"{len(graph.ids)} ids, {shape}, {graph.distances.shape}"))
        if graph.neighbours.dtype != np.int32 or not ((graph.neighbours >= -1) & (graph.neighbours < shape[0])).all():
            raise StateError(_broken("a neighbour that is not among the ids"))
        return graph


def neighbour_graph(features: Mapping[str, np.ndarray], class_of: Mapping[str, str], k: int = 40) -> NeighbourGraph:
    """Build the graph of the k nearest images within each class.

    ``distance(u, v) = sum_c JSD_c(u, v) / z_c``, where ``z_c`` sums channel c over all ordered pairs of the class; it
    balances the channels. Ties are broken by id. The divergences are computed twice, once for z and once for the
    neighbours, which is what keeps the memory at O(N k): no n * n array of a class of n is ever kept.

    Args:
        features: (C, B) float histogram of each image, from :func:`colour_histogram`.
        class_of: class name of each id in ``features``.
        k: neighbours per image, >= 1; may exceed the size of a class.

    Raises:
        InputError: k < 1.
    """
    members: dict[str, list[str]] = {}
    for id_ in sorted(features):
        members.setdefault(class_of[id_], []).append(id_)
    blocks = []
    for name in sorted(members):
        stack = np.stack([features[id_] for id_ in members[name]])  # (n, C, B)
        blocks.append((members[name], partial(_distance_rows, stack)))
    return _build(blocks, k, graph_fingerprint(features, class_of, k))


def graph_from_distances(blocks: Sequence[tuple[Sequence[str], np.ndarray]], k: int) -> NeighbourGraph:
    """Build the graph from given distances.

    Args:
        blocks: of each class the ids (n,) and their distances (n, n); row i holds the distances from image i.
        k: neighbours per image, >= 1.

    Raises:
        InputError: k < 1, or an id twice.
    """
    return _build([(ids, partial(enumerate, [distances])) for ids, distances in blocks], k)


def graph_fingerprint(features: Mapping[str, np.ndarray], class_of: Mapping[str, str], k: int) -> str:
    """Return a SHA-256 of all that a graph depends on, so that a stored one is never used for other settings."""
    digest = hashlib.sha256(f"k={k}".encode())
    for id_ in sorted(features):
        digest.update(f"\x1e{id_}\x1f{class_of[id_]}\x1f{features[id_].shape}{features[id_].dtype}".encode())
        digest.update(np.ascontiguousarray(features[id_]).tobytes())
    return digest.hexdigest()


_Rows = Callable[[], Iterable[tuple[int, np.ndarray]]]
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


def _build(blocks: Sequence[tuple[Sequence[str], _Rows]], k: int, fingerprint: str = "") -> NeighbourGraph:
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
    return NeighbourGraph(tuple(ids), neighbours, distances, k, fingerprint)


def _broken(found: str) -> Problem:
    return Problem("not a neighbour graph", "stored graph", found=found, cure="Delete the stored graph to rebuild it.")
