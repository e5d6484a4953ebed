"""Active-learning methods: presets of the parts that a round is made of; a new method is a new entry of the config."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from scripts.active.propagation import Propagation
from scripts.active.pseudo.chain import Step
from scripts.active.regions import Windows
from scripts.active.scores.reductions import PixelMap, Reduction, image_score, mean
from scripts.active.strategies.at_random import random_order
from scripts.active.strategies.pool import Strategy
from scripts.core.errors import InputError, Problem
from scripts.networks.outputs import ImageMaps


@dataclass(frozen=True)
class Method:
    """One method.

    Attributes:
        strategy: picks the images to query, per class (:mod:`scripts.active.strategies`).
        start: picks those of round 0; None takes the run's (``active#start``).
        score: map of how much each pixel would tell (:mod:`scripts.active.scores.pixel_maps`); None where the strategy
            needs no score.
        reduction: makes one number of that map (:mod:`scripts.active.scores.reductions`).
        region: which part of an image is asked for, the best by the score (:mod:`scripts.active.regions`); the score of
            the image is the mean over it. None for whole images, as round 0 asks for in any case.
        passes: stochastic passes the score is made of; 0 for one plain pass.
        cycles: trainings per round: 2 for pseudo-labels that are made in mid-round (published Label_prop), 1 without
            or with those of the round before only, 0 for no segmentation training at all (WSL).
        propagation: pairs unlabelled images with labelled ones (:mod:`scripts.active.propagation`); None for no
            pseudo-masks.
        chain: steps that make the targets of a training from the network's masks of these images
            (:mod:`scripts.active.pseudo`); none takes the masks as they are (published).
        carry: train the first cycle on the pseudo-masks of the round before too (published). False trains it on oracle
            masks alone, so that errors in pseudo-masks are not taught from round to round; needs ``cycles`` 2.
        warm: begin the second training with the weights of the first, in place of theta0 (published).
        equal_steps: train as many steps in the one training of a round as methods of two trainings take in both: the
            control of methods with pseudo-masks.
        label_all: ask for all masks in the first round (full supervision).
        rounds: number of rounds where the method fixes it; None takes the run's.
        overrides: config values of its trainings by nested id.

    Raises:
        InputError: pseudo-masks that no training would see, a chain without pseudo-masks, a warm second training where
            there is none, equal steps for a method that has no single training, or regions without a score, with a
            reduction of their own, or of methods that ask for all masks at once.
    """

    strategy: Strategy = random_order
    start: Strategy | None = None
    score: PixelMap | None = None
    reduction: Reduction = mean
    region: Windows | None = None
    passes: int = 0
    cycles: int = 1
    propagation: Propagation | None = None
    chain: Sequence[Step] = ()
    carry: bool = True
    warm: bool = False
    equal_steps: bool = False
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
        if self.chain and self.propagation is None:
            cure = "Give the method a propagation, or take the chain out."
            raise InputError(Problem("a chain for no pseudo-masks", "active#methods", "a propagation", "none", cure))
        if self.warm and self.cycles < 2:
            raise InputError(
                Problem("no second training to begin warm", "active#methods", "cycles 2", f"cycles {self.cycles}")
            )
        if self.equal_steps and self.cycles != 1:
            raise InputError(
                Problem(
                    "equal steps double the one training of a round", "active#methods", "cycles 1", f"{self.cycles}"
                )
            )

        if self.region is not None and (self.score is None or self.reduction is not mean or self.label_all):
            found = "no score" if self.score is None else "label_all" if self.label_all else "another reduction"
            cure = "A region is where the mean of a score is highest, in the rounds after the first."
            expected = "a score, no reduction, no label_all"
            raise InputError(Problem("no region can be chosen", "active#methods", expected, found, cure))

    def image_score(self) -> Callable[[ImageMaps], np.ndarray] | None:
        """Return what scores an image, (S,) float64; None for methods without a score."""
        if self.score is None:
            return None
        return partial(image_score, score=self.score, reduction=self.reduction)

    def query_score(self) -> Callable[[ImageMaps], np.ndarray] | None:
        """Return what scores the queries: as :meth:`image_score`, or each window of an image, (S, N) float64."""
        if self.score is None or self.region is None:
            return self.image_score()
        return partial(self.region.scores, score=self.score)
