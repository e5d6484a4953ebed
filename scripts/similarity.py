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
from PIL import Image, ImageEnhance

from scripts.errors import InputError, Problem, StateError

_SATURATED = 40.0  # sigmoid(40) is 1 in float64
_CHUNK_BYTES = 8 * 2**20  # of one temporary array


def colour_histogram(
    image: np.ndarray,
    *,
    bins: int = 256,
    sharpness: float = 1e5,
    height: int = 128,
    colour_factor: float = 3.0,
    kernel_size: int = 3,
    kernel_sigma: float = 0.9,
) -> np.ndarray:
    """Return the soft colour histogram of an image; the defaults are the published settings.

    Colours are saturated (Pillow ``Color`` enhancement), the image is resized to a common height (bicubic), smoothed by
    a Gaussian with reflected borders, and each channel is counted into soft bins; see :func:`soft_histogram`.

    Args:
        image: (H, W, 3) uint8 RGB.
        bins: bins per channel over [0, 1].
        sharpness: slope of the bin edges; the larger, the harder.
        height: pixels after resizing; the width follows the aspect.
        colour_factor: 1 leaves the colours, 0 makes them grey.
        kernel_size: pixels, odd.
        kernel_sigma: pixels.

    Returns:
        (3, bins) float32 > 0, each channel sums to 1.

    Raises:
        InputError: another shape or dtype, an empty image, or an even kernel.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise InputError(
            Problem("not an RGB image", "colour_histogram", "(H, W, 3) uint8", f"{image.shape} {image.dtype}")
        )
    h, w = image.shape[:2]
    vivid = ImageEnhance.Color(Image.fromarray(image)).enhance(colour_factor)
    resized = vivid.resize((max(1, int(height / h * w)), height), Image.Resampling.BICUBIC)
    values = np.asarray(resized, dtype=np.float64) / 255.0
    values = smooth(values, kernel_size, kernel_sigma)
    counts = np.stack([soft_histogram(values[..., channel], bins, sharpness) for channel in range(3)])
    return normalise_histogram(counts)


def normalise_histogram(counts: np.ndarray) -> np.ndarray:
    """Return ``(counts + 1e-8)`` divided by its sum over the last axis, float32: no bin is empty, so no log of 0."""
    filled = counts + 1e-8
    return (filled / filled.sum(axis=-1, keepdims=True)).astype(np.float32)


def smooth(values: np.ndarray, kernel_size: int, sigma: float) -> np.ndarray:
    """Convolve (H, W, C) float with a normalised Gaussian of ``kernel_size`` (odd) pixels, borders reflected.

    Raises:
        InputError: an even or negative size, or sigma <= 0.
    """
    if kernel_size < 1 or kernel_size % 2 == 0 or sigma <= 0:
        raise InputError(Problem("not a kernel", "smooth", "odd size, sigma > 0", f"{kernel_size}, {sigma}"))
    radius = kernel_size // 2
    weights = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2.0 * sigma**2))
    weights /= weights.sum()
    for axis in (0, 1):  # the Gaussian is separable
        pad = [(radius, radius) if other == axis else (0, 0) for other in range(values.ndim)]
        padded = np.pad(values, pad, mode="reflect")
        size = values.shape[axis]
        values = sum(
            weight * np.take(padded, range(start, start + size), axis=axis) for start, weight in enumerate(weights)
        )
    return values


def soft_histogram(values: np.ndarray, bins: int, sharpness: float) -> np.ndarray:
    """Count values in [0, 1] into ``bins`` equal bins whose edges are sigmoids.

    ``h_b = sum_x sigmoid(s (x - e_b)) - sigmoid(s (x - e_{b+1}))`` with edges ``e_j = j / bins``. Only the edges near
    a value are soft for it: below them its sigmoid is 1, above it is 0. Those are counted, these are computed, so the
    cost is O(values) instead of O(values * bins). A value on an outer edge (0 or 1) counts one half.

    Args:
        values: float, any shape.
        bins: number of bins.
        sharpness: s > 0.

    Returns:
        (bins,) float64, not normalised.
    """
    flat = values.ravel().astype(np.float64)
    nearest = np.rint(flat * bins).astype(np.int64)  # index of the nearest edge
    reach = min(bins, int(0.5 + bins * _SATURATED / sharpness))  # edges on either side which are still soft
    # above[j]: sum over x of sigmoid(s (x - e_j))
    above = np.zeros(bins + 1)
    counted = np.bincount(np.clip(nearest - reach, 0, bins + 1), minlength=bins + 2)
    above += counted[::-1].cumsum()[::-1][1:]
    for offset in range(-reach, reach + 1):
        edge = nearest + offset
        inside = (edge >= 0) & (edge <= bins)
        x = sharpness * (flat[inside] - edge[inside] / bins)
        above += np.bincount(edge[inside], weights=0.5 * (1.0 + np.tanh(0.5 * x)), minlength=bins + 1)
    return above[:-1] - above[1:]


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
