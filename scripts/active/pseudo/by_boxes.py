"""A step that asks a second model, which makes masks of boxes, about the objects that the network found."""

from __future__ import annotations

import numpy as np

from scripts.active.pseudo.chain import PseudoCase, in_255ths
from scripts.core.errors import InputError, Problem
from scripts.images.drawn.boxes import BoxModel
from scripts.images.regions import component_boxes
from scripts.images.targets import PixelTarget


class RefineWithBoxes:
    """Mix the network's probabilities with the masks that a model of boxes makes of the network's own objects.

    target = (1 - share) p + share s, with p the network's probabilities and s the largest of the model's over the
    frames of the connected regions of p >= 1/2. What lies in no frame has s = 0.

    Args:
        model: from boxes to masks.
        share: of the model in the target, in [0, 1].
        least_share: regions below this share of the image are not asked about.
        hard: cut the mixture at one half, in place of soft targets.

    Raises:
        InputError: a share that is none.
    """

    def __init__(self, model: BoxModel, share: float = 0.5, least_share: float = 0.001, hard: bool = False) -> None:
        shares = {"share": share, "least_share": least_share}
        problems = [
            Problem("no share", f"RefineWithBoxes#{name}", "0 to 1", f"{value}")
            for name, value in shares.items()
            if not 0.0 <= value <= 1.0
        ]
        if problems:
            raise InputError(problems)
        self.model, self.share, self.least_share, self.hard = model, share, least_share, hard

    def require(self) -> None:
        """Raise ``InputError`` where the model cannot be used."""
        self.model.require()

    def __call__(self, case: PseudoCase, made: PixelTarget) -> tuple[np.ndarray, np.ndarray]:
        """Return the mixture as target; weights stay."""
        own = case.foreground
        boxes = component_boxes(own >= 0.5, max(1, round(self.least_share * own.size)))
        mixed = (1.0 - self.share) * own + self.share * self.model.foreground(case.id, case.image, boxes)
        return in_255ths(mixed >= 0.5 if self.hard else mixed), made.weight
