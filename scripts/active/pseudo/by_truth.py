"""A control, and no method: what perfect pseudo-masks would give."""

from __future__ import annotations

import numpy as np

from scripts.active.pseudo.chain import PseudoCase
from scripts.images.targets import PixelTarget


def true_mask(case: PseudoCase, made: PixelTarget) -> tuple[np.ndarray, np.ndarray]:
    """Let the true mask be the target, where there is one: the most that better pseudo-masks could give."""
    truth = case.truth()
    if truth is None:
        return made.target, made.weight
    found = PixelTarget.of_mask(truth)
    return found.target, found.weight
