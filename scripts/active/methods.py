"""Active-learning methods: presets of the parts that a round is made of; a new method is a new entry of the config."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from scripts.active.propagation import Propagation
from scripts.active.strategies import Strategy, random_order
from scripts.core.errors import InputError, Problem


@dataclass(frozen=True)
class Method:
    """One method.

    Attributes:
        strategy: picks the images to query, per class (:mod:`scripts.active.strategies`).
        score: how informative an image is (:mod:`scripts.active.scores`); None where the strategy needs no score.
        passes: stochastic passes the score is made of, (passes, B, 1, H, W) probabilities; 0 gives it the plain
            probabilities (B, 1, H, W).
        cycles: trainings per round: 2 for pseudo-labels that are made in mid-round (published Label_prop), 1 without
            or with those of the round before only, 0 for no segmentation training at all (WSL).
        propagation: pairs unlabelled images with labelled ones (:mod:`scripts.active.propagation`); None for no
            pseudo-masks.
        carry: train the first cycle on the pseudo-masks of the round before too (published). False trains it on oracle
            masks alone, so that errors in pseudo-masks are not taught from round to round; needs ``cycles`` 2.
        label_all: ask for all masks in the first round (full supervision).
        rounds: number of rounds where the method fixes it; None takes the run's.
        overrides: config values of its trainings by nested id.

    Raises:
        InputError: pseudo-masks that no training would see.
    """

    strategy: Strategy = random_order
    score: Callable[[torch.Tensor], torch.Tensor] | None = None
    passes: int = 0
    cycles: int = 1
    propagation: Propagation | None = None
    carry: bool = True
    label_all: bool = False
    rounds: int | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.propagation is not None and not self.carry and self.cycles < 2:
            raise InputError(
                Problem(
                    "pseudo-masks that no training would see",
                    "active#methods",
                    "cycles 2, or carry true",
                    f"cycles {self.cycles}, carry false",
                )
            )
