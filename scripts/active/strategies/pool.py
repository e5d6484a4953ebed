"""What a strategy is, and what it chooses from: the images of one class.

A strategy is a pure function ``(pool, n, rng) -> ids``: it reads and writes nothing and keeps no state. With
``random.Random(seed)`` per round and the training list in a fixed order, the sequence of queries is a function of the
seed alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from scripts.core.errors import InputError, Problem

Features = Callable[[Sequence[str]], np.ndarray]
"""n ids -> (n, D) float32, the images' features, each row of length 1."""


def no_features(ids: Sequence[str]) -> np.ndarray:
    """Refuse: there are no features to choose by.

    Raises:
        InputError: always.
    """
    raise InputError(Problem("no image features here", "active#strategy", "features of the encoder", "none"))


@dataclass(frozen=True)
class Pool:
    """The images that a strategy looks at, of one class when it is asked.

    Attributes:
        labelled: ids that have an oracle mask.
        unlabelled: ids that may be asked about, in the order of the training list.
        scores: id -> (S,) float64, how much each unlabelled image would tell; one number but for methods whose score
            makes several maps. Empty for methods without a score.
        features: gives the features of ids, whose scalar products are cosines; computed when first asked for.
        round: number of the round, from 0.
        rounds: how many the run has.
    """

    labelled: Sequence[str]
    unlabelled: Sequence[str]
    scores: Mapping[str, np.ndarray] = field(default_factory=dict)
    features: Features = no_features
    round: int = 0
    rounds: int = 1

    def score(self, column: int = 0) -> np.ndarray:
        """Return (N,) float64, a number for each of ``unlabelled``.

        Args:
            column: which of the numbers of a score.

        Raises:
            InputError: images without one, or with NaN.
        """
        bad = [id_ for id_ in self.unlabelled if id_ not in self.scores or np.isnan(self.scores[id_][column])]
        if bad:
            cure = "Give the method a score in active#methods."
            raise InputError([Problem("no usable score", id_, "a number", "none or NaN", cure) for id_ in bad])
        return np.array([self.scores[id_][column] for id_ in self.unlabelled], dtype=np.float64)


Strategy = Callable[[Pool, int, random.Random], list[str]]
"""Pool of one class, how many, generator -> at most so many of its unlabelled ids, the most wanted first."""


def fresh_generator(pool: Pool, rng: random.Random) -> np.random.Generator:
    """Return a generator of its own for a class and round.

    ``rng`` is seeded by the run alone, anew in every round, as published: by itself it would repeat its draws.
    """
    return np.random.default_rng([rng.getrandbits(64), pool.round])
