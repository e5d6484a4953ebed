"""Steps that know the network's probabilities alone: soft targets, and pixels of which it is sure."""

from __future__ import annotations

import numpy as np

from scripts.active.pseudo.chain import PseudoCase, in_255ths
from scripts.core.errors import InputError, Problem
from scripts.images.targets import PixelTarget


def soft(case: PseudoCase, made: PixelTarget) -> tuple[np.ndarray, np.ndarray]:
    """Let the probabilities be the targets, the threshold at one half; weights stay."""
    return in_255ths(case.foreground), made.weight


class Confident:
    """Leave out pixels of which the network is not sure (as in FixMatch, Sohn et al. 2020, per pixel).

    Args:
        least: the larger of both classes' probabilities, from which a pixel counts, in [0.5, 1].

    Raises:
        InputError: ``least`` is not in [0.5, 1].
    """

    def __init__(self, least: float = 0.9) -> None:
        if not 0.5 <= least <= 1.0:
            raise InputError(Problem("no confidence of two classes", "Confident#least", "0.5 to 1", f"{least}"))
        self.least = least

    def __call__(self, case: PseudoCase, made: PixelTarget) -> tuple[np.ndarray, np.ndarray]:
        """Return the targets as they are, and weight 0 where the network is not sure."""
        sure = np.maximum(case.foreground, 1.0 - case.foreground) >= self.least
        return made.target, made.weight * sure
