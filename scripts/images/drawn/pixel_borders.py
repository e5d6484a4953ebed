"""Borders of painted masks: rings that follow the edges of pixels, so that a mask drawn of them is the same mask."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from scripts.images.drawn.outlines import Outline


def runs_of_mask(mask: np.ndarray) -> np.ndarray:
    """Return the foreground (nonzero) of a mask (H, W) as int64 (N, 3): row, first column, column after the last."""
    padded = np.pad(np.asarray(mask) != 0, ((0, 0), (1, 1)))
    rows, columns = np.nonzero(padded[:, 1:] != padded[:, :-1])
    return np.stack([rows[::2], columns[::2], columns[1::2]], axis=1).astype(np.int64)


def runs_of_spans(spans: np.ndarray, line: int) -> np.ndarray:
    """Return the runs, int64 (N, 3), of spans that go on from one line to the next.

    Args:
        spans: int64 (N, 2): first pixel and pixel after the last, counted along the lines, none of them empty.
        line: length of a line.
    """
    first, last = spans[:, 0] // line, (spans[:, 1] - 1) // line
    count = last - first + 1
    lines = np.repeat(first - np.cumsum(count) + count, count) + np.arange(count.sum())
    begin = np.maximum(np.repeat(spans[:, 0], count), lines * line)
    end = np.minimum(np.repeat(spans[:, 1], count), (lines + 1) * line)
    return np.stack([lines, begin - lines * line, end - lines * line], axis=1)


def painted(runs: np.ndarray, corner: tuple[int, int] = (0, 0), name: str = "", are_columns: bool = False) -> Outline:
    """Return a painted mask as an outline.

    Args:
        runs: int64 (N, 3), see :func:`borders`.
        corner: (x, y) of its first pixel in the image.
        name: its class.
        are_columns: lines are columns of the mask, not rows.
    """
    rings = [ring[:, ::-1] if are_columns else ring for ring, _ in borders(runs)]
    return Outline(tuple(ring + np.array(corner, dtype=np.float64) for ring in rings), name)


def borders(runs: np.ndarray) -> list[tuple[np.ndarray, bool]]:
    """Return the borders of a mask as rings of their corners.

    Pixels that touch with a corner alone are apart, holes that do are one. So a ring around foreground has one object
    inside, which hangs together by the sides of its pixels.

    Args:
        runs: int64 (N, 3): row, first column, column after the last; in any order, over each other or not.

    Returns:
        rings, (N, 2) float64 of (x, y), not closed, from the first corner of their first row on; with each whether it
        is around foreground, else around a hole.
    """
    if not len(runs):
        return []
    width = int(runs[:, 2].max()) + 2  # so that the end of a row and the begin of the next are apart
    begins, ends = _merged(runs[:, 0] * width + runs[:, 1], runs[:, 0] * width + runs[:, 2])
    # Runs begin and end with a side that goes down from a corner above it, and up from one below.
    at = np.concatenate([begins, ends, begins + width, ends + width])
    is_begin = np.repeat([True, False, True, False], len(begins))
    goes_down = np.repeat([True, True, False, False], len(begins))
    order = np.lexsort((goes_down, at))
    at, is_begin = at[order], is_begin[order]
    first = np.flatnonzero(at[1:] == at[:-1])  # of two sides that meet, one up and one down
    straight = is_begin[first] == is_begin[first + 1]
    is_corner = np.ones(len(at), bool)
    is_corner[first[straight]] = is_corner[first[straight] + 1] = False
    # Others are two corners at one point, the first to the left. Down a column it is the second where it goes down.
    is_second = np.zeros(len(at), np.int64)
    is_second[first[~straight & is_begin[first]]] = 1
    y, x = np.divmod(at[is_corner], width)
    return _followed(x, y, is_second[is_corner], is_begin[is_corner])


def _merged(begins: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return spans that neither meet nor lie over each other."""
    order = np.argsort(begins, kind="stable")
    begins, ends = begins[order], np.maximum.accumulate(ends[order])
    is_first = np.concatenate([[True], begins[1:] > ends[:-1]])
    return begins[is_first], ends[np.concatenate([is_first[1:], [True]])]


def _followed(x: np.ndarray, y: np.ndarray, second: np.ndarray, is_begin: np.ndarray) -> list[tuple[np.ndarray, bool]]:
    """Join corners to rings: in a row, and in a column, each odd one and the next are the ends of a side."""
    across = _partners(np.arange(len(x)))
    down = _partners(np.lexsort((second, y, x)))
    seen, found = bytearray(len(x)), []
    for start in range(len(x)):
        at, ring = start, []
        while not seen[at]:
            other = across[at]
            seen[at] = seen[other] = 1
            ring += [at, other]
            at = down[other]
        if ring:
            found.append((np.stack([x[ring], y[ring]], axis=1).astype(np.float64), bool(is_begin[start])))
    return found


def _partners(order: np.ndarray) -> list[int]:
    partner = np.empty(len(order), np.int64)
    partner[order[::2]], partner[order[1::2]] = order[1::2], order[::2]
    found: list[int] = partner.tolist()
    return found


def counted(
    counts: Any,
    size: tuple[int, int],
    corner: tuple[int, int] = (0, 0),
    name: str = "",
    are_columns: bool = False,
) -> Outline | None:
    """Return the outline of run lengths: of background and foreground in turn, background first.

    Args:
        counts: whole numbers from 0 on, as a list.
        size: (H, W) of the mask, which they fill.
        corner: (x, y) of its first pixel in the image.
        name: its class.
        are_columns: they go down the columns, not along the rows.

    Returns:
        None where they are no such numbers, or fill another size; an outline without rings where nothing is foreground.
    """
    total = size[0] * size[1]
    if not isinstance(counts, list) or not all(type(each) in (int, float) and 0 <= each <= total for each in counts):
        return None
    numbers = np.array(counts, dtype=np.float64)
    if (numbers != np.floor(numbers)).any() or numbers.sum() != total:
        return None
    ends = np.cumsum(numbers.astype(np.int64))
    spans = np.stack([ends[: len(ends) // 2 * 2 : 2], ends[1::2]], axis=1)
    return painted(runs_of_spans(spans[spans[:, 1] > spans[:, 0]], size[are_columns - 1]), corner, name, are_columns)


def objects(mask: np.ndarray) -> list[tuple[np.ndarray, ...]]:
    """Return the objects of a mask (H, W), its foreground that hangs together by sides of pixels: border, then holes.

    Rings are as those of :func:`borders`; objects are in the order of their first pixel.
    """
    labels, _ = ndimage.label(np.asarray(mask) != 0)
    found: dict[int, list[np.ndarray]] = {}
    holes: list[tuple[int, np.ndarray]] = []
    for ring, is_border in borders(runs_of_mask(mask)):
        x, y = ring[0].astype(int)
        if is_border:
            found[int(labels[y, x])] = [ring]
        else:  # to the left of the first pixel of a hole is what is around it
            holes.append((int(labels[y, x - 1]), ring))
    for label, ring in holes:
        found[label].append(ring)
    return [tuple(rings) for rings in found.values()]


def counts_of(mask: np.ndarray) -> list[int]:
    """Return a mask (N,) as lengths of its runs: of background and foreground in turn, background first."""
    edges = np.flatnonzero(np.diff(mask != 0, prepend=False)).tolist()
    counts: list[int] = np.diff([0, *edges, len(mask)]).tolist()
    return counts
