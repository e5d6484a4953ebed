"""The chain that makes the targets of an unlabelled image, and what its steps know of the image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from scripts.images.targets import FULL, PixelTarget
from scripts.networks.outputs import pseudo_mask


@dataclass(frozen=True)
class DonorImage:
    """A labelled image of the same class.

    Attributes:
        id: the image.
        mask: its oracle mask, uint8 (H, W) with 0, 1, 255.
    """

    id: str
    mask: np.ndarray


@dataclass(frozen=True)
class PseudoCase:
    """An unlabelled image that gets a pseudo-mask.

    Attributes:
        id: the image.
        probs: (H, W) float32 in [0, 1], what the network says, at original size.
        threshold: probability from which a pixel is foreground, chosen on validation, in (0, 1).
        image: reads its pixels, uint8 (H, W, 3).
        donors: gives the labelled images of its class, in the order of the data list.
        truth: gives the image's true mask, uint8 (H, W) with 0, 1, 255, or None: for controls alone.
        features: gives the frozen features of an image by id, (D, h, w) float32.
    """

    id: str
    probs: np.ndarray
    threshold: float
    image: Callable[[], np.ndarray]
    donors: Callable[[], Sequence[DonorImage]]
    truth: Callable[[], np.ndarray | None]
    features: Callable[[str], np.ndarray]

    @cached_property
    def foreground(self) -> np.ndarray:
        """The probabilities with the odds scaled so that the threshold lies at one half, (H, W) float32."""
        odds = self.threshold / (1.0 - self.threshold)
        return (self.probs / (self.probs + (1.0 - self.probs) * odds)).astype(np.float32)


Step = Callable[[PseudoCase, PixelTarget], tuple[np.ndarray, np.ndarray]]
"""image, targets so far -> target and weight, both (H, W) uint8 in 255ths.

A step that needs a package has a method ``require`` that raises ``InputError`` where it is missing."""


def pseudo_target(case: PseudoCase, chain: Sequence[Step]) -> PixelTarget:
    """Return the targets of an image: those of its hard mask (Belharbi et al. 2021), passed through the chain.

    Args:
        case: the image.
        chain: steps in their order; none for the published pseudo-masks.
    """
    made = PixelTarget.of_mask(pseudo_mask(case.probs, case.threshold))
    for number, step in enumerate(chain, start=1):
        target, weight = step(case, made)
        changed = (target != made.target) | (weight != made.weight)
        made = replace(made, target=target, weight=weight, origin=np.where(changed, np.uint8(number), made.origin))
    return made


def in_255ths(shares: np.ndarray) -> np.ndarray:
    """Return numbers in [0, 1] as uint8, rounded to the nearest 255th."""
    return np.rint(np.asarray(shares, dtype=np.float32) * FULL).astype(np.uint8)
