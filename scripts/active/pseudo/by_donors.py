"""A step that lets the labelled images of the class vote on each pixel, by the frozen features of their own pixels."""

from __future__ import annotations

import numpy as np

from scripts.active.pseudo.chain import DonorImage, PseudoCase
from scripts.core.errors import InputError, Problem
from scripts.core.seeds import numpy_generator
from scripts.images.targets import PixelTarget
from scripts.images.values import FOREGROUND, IGNORE

_BLOCK_BYTES = 64 * 2**20  # of similarities at once


class AgreeWithDonors:
    """Leave out pixels where the network and the nearest pixels of labelled images disagree, unless it is sure.

    Dense nearest neighbours, as in retrieval for segmentation in context (Balazevic et al., "Towards In-context Scene
    Understanding", 2023), with donors of the image's class alone: the published rule of who lends to whom, per pixel.
    Features are standardised over the donors' pixels and compared by their cosine; the vote is the mean of the donors'
    masks, weighted by the softmax of cosine / ``temperature`` over the ``k`` nearest.

    Args:
        k: pixels that vote.
        pixels: drawn at random of each donor, the same in all rounds.
        temperature: of the softmax, > 0.
        sure: pixels whose probability is farther than this from one half are not asked about, in [0, 0.5].
        seed: of the pixels that are drawn.

    Raises:
        InputError: a setting out of its range.
    """

    def __init__(
        self, k: int = 30, pixels: int = 1024, temperature: float = 0.05, sure: float = 0.4, seed: int = 0
    ) -> None:
        checks = {"k": (k, k >= 1, ">= 1"), "pixels": (pixels, pixels >= 1, ">= 1"),
                  "temperature": (temperature, temperature > 0, "> 0"),
                  "sure": (sure, 0.0 <= sure <= 0.5, "0 to 0.5")}  # fmt: skip
        problems = [
            Problem("out of range", f"AgreeWithDonors#{name}", expected, f"{value}")
            for name, (value, good, expected) in checks.items()
            if not good
        ]
        if problems:
            raise InputError(problems)
        self.k, self.pixels, self.temperature, self.sure, self.seed = k, pixels, temperature, sure, seed
        self._drawn: dict[str, tuple[np.ndarray, np.ndarray, tuple[int, ...]]] = {}

    def __call__(self, case: PseudoCase, made: PixelTarget) -> tuple[np.ndarray, np.ndarray]:
        """Return the targets as they are, and weight 0 where the vote is against them."""
        donors = case.donors()
        if not donors:
            return made.target, made.weight
        parts = [self._memory(case, donor) for donor in donors]
        memory, votes = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
        known = votes != IGNORE
        if not known.any():
            return made.target, made.weight
        features = case.features(case.id)
        vote = _vote(features, memory[known], votes[known] == FOREGROUND, self.k, self.temperature)
        whole = _enlarged(vote.reshape(features.shape[1:]), case.probs.shape)
        own = case.foreground
        agrees = (np.abs(own - 0.5) > self.sure) | ((own >= 0.5) == (whole >= 0.5))
        return made.target, made.weight * agrees

    def _memory(self, case: PseudoCase, donor: DonorImage) -> tuple[np.ndarray, np.ndarray]:
        """Return features (n, D) of some pixels of a donor, and what its mask says there, (n,) uint8."""
        if donor.id not in self._drawn:
            features = case.features(donor.id)
            rng = numpy_generator(self.seed, "agree", donor.id)
            chosen = rng.permutation(features[0].size)[: self.pixels]
            self._drawn[donor.id] = (features.reshape(len(features), -1).T[chosen], chosen, features.shape[1:])
        taken, chosen, (rows, columns) = self._drawn[donor.id]
        height, width = donor.mask.shape
        row = ((chosen // columns + 0.5) * height / rows).astype(np.int64)  # the mask's pixel at the middle of the cell
        column = ((chosen % columns + 0.5) * width / columns).astype(np.int64)
        return taken, donor.mask[row, column]


def _vote(
    features: np.ndarray, memory: np.ndarray, is_foreground: np.ndarray, k: int, temperature: float
) -> np.ndarray:
    """Return the weighted vote (n,) float32 in [0, 1] of the k nearest of ``memory`` (M, D), for each pixel.

    Args:
        features: (D, h, w), with h * w = n.
        memory: (M, D) features of donors' pixels.
        is_foreground: (M,) what their masks say.
        k: how many vote.
        temperature: of the softmax.
    """
    mean, spread = memory.mean(axis=0), memory.std(axis=0) + 1e-6

    def unit(rows: np.ndarray) -> np.ndarray:
        scaled = (rows - mean) / spread
        return scaled / np.maximum(np.linalg.norm(scaled, axis=1, keepdims=True), 1e-12)

    pixels, known = unit(features.reshape(len(features), -1).T), unit(memory).T
    k, votes = min(k, len(memory)), np.empty(len(pixels), np.float32)
    step = max(1, _BLOCK_BYTES // (8 * len(memory)))
    for start in range(0, len(pixels), step):
        cosine = pixels[start : start + step] @ known
        nearest = np.argpartition(cosine, len(memory) - k, axis=1)[:, len(memory) - k :]
        near = np.take_along_axis(cosine, nearest, axis=1) / temperature
        weight = np.exp(near - near.max(axis=1, keepdims=True))
        votes[start : start + step] = (weight * is_foreground[nearest]).sum(axis=1) / weight.sum(axis=1)
    return votes


def _enlarged(field: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Return ``field`` (h, w) at ``size`` (H, W), each pixel that of the cell it lies in."""
    rows = np.arange(size[0]) * field.shape[0] // size[0]
    columns = np.arange(size[1]) * field.shape[1] // size[1]
    return field[rows[:, None], columns]
