"""Asking for a part of an image: the window of a score map in which the oracle would tell the most.

Pure functions. Windows that were asked before are read from the state (:mod:`scripts.annotation.asked_windows`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scripts.active.scores.reductions import PixelMap
from scripts.core.errors import InputError, Problem
from scripts.images.windows import Window
from scripts.networks.outputs import ImageMaps


@dataclass(frozen=True)
class Windows:
    """The windows that can be asked of an image: all of one size, on a grid from edge to edge.

    Attributes:
        share: of the image's area, in (0, 1]; a window has its height and width times the root of it, rounded down.
        stride: most that one window is moved to the next, as a share of the image's height and width, in (0, 1].

    Raises:
        InputError: a number out of its range.
    """

    share: float = 0.25
    stride: float = 0.125

    def __post_init__(self) -> None:
        values = {"share": self.share, "stride": self.stride}
        bad = [(name, value) for name, value in values.items() if not 0 < value <= 1]
        if bad:
            raise InputError(
                [Problem("value out of range", f"region#{n}", "above 0, at most 1", str(v)) for n, v in bad]
            )

    def of(self, size: tuple[int, int]) -> list[Window]:
        """Return the windows of an image of ``size`` (H, W), row by row; each once, however small the image."""
        (tops, height), (lefts, width) = map(self._along, size)
        return [Window(top, left, height, width) for top in tops for left in lefts]

    def _along(self, length: int) -> tuple[list[int], int]:
        """Return the first pixels of the windows along a side of the image, and their length."""
        side = max(1, int(length * math.sqrt(self.share) + 1e-9))
        steps = math.ceil((length - side) / (self.stride * length) - 1e-9)
        starts = np.rint(np.linspace(0, length - side, steps + 1)).astype(int)
        return sorted(set(starts.tolist())), side

    def scores(self, maps: ImageMaps, score: PixelMap) -> np.ndarray:
        """Return the mean of a score map over each window of :meth:`of`, (S, N) float64.

        Args:
            maps: what the network says of the image.
            score: makes the map, (H, W) or (S, H, W).
        """
        found = score(maps).double().cpu().numpy()
        found = found if found.ndim == 3 else found[None]
        # Each window by itself: by differences of an integral image, zeros would not stay zero, nor equals equal.
        means = [found[:, *window.at].mean((1, 2)) for window in self.of((found.shape[1], found.shape[2]))]
        return np.stack(means, axis=1)

    def free(self, size: tuple[int, int], taken: Sequence[Window]) -> list[bool]:
        """Tell for each window of :meth:`of` whether it has no pixel in common with those taken."""
        return [not any(window.overlaps(other) for other in taken) for window in self.of(size)]

    def best(
        self, scores: np.ndarray, size: tuple[int, int], taken: Sequence[Window] = ()
    ) -> tuple[Window, np.ndarray] | None:
        """Return the free window of the highest score and its scores (S,); of equal ones the topmost, then leftmost.

        Args:
            scores: (S, N) float64, of :meth:`scores`; the first row decides.
            size: (H, W) of the image.
            taken: windows that were asked before.

        Returns:
            None where no window is free.
        """
        free = self.free(size, taken)
        if not any(free):
            return None
        place = int(np.argmax(np.where(free, scores[0], -np.inf)))
        return self.of(size)[place], scores[:, place]


def best_windows(
    region: Windows,
    scores: Mapping[str, np.ndarray],
    size_of: Callable[[str], tuple[int, int]],
    taken: Mapping[str, Sequence[Window]],
) -> tuple[dict[str, np.ndarray], dict[str, Window]]:
    """Return the scores (S,) and the window that :meth:`Windows.best` finds for each image that has a free one.

    Args:
        region: the windows that can be asked.
        scores: id -> (S, N) float64, of :meth:`Windows.scores`.
        size_of: (H, W) of an image.
        taken: id -> windows that were asked before.
    """
    found = {key: region.best(values, size_of(key), taken.get(key, ())) for key, values in scores.items()}
    best = {key: pair for key, pair in found.items() if pair is not None}
    return {key: pair[1] for key, pair in best.items()}, {key: pair[0] for key, pair in best.items()}
