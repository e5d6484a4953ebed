from __future__ import annotations

import random

import numpy as np
import pytest

from scripts.active.strategies.by_score import highest_score
from scripts.active.strategies.pool import Pool
from scripts.core.errors import InputError


def scored(**scores):
    return {id_: np.array([value]) for id_, value in scores.items()}


def test_highest_score_orders_by_score_then_id():
    scores = scored(d=0.5, b=0.9, a=0.5, c=0.1, other=9.0)
    for ids in (["d", "b", "a", "c"], ["a", "c", "d", "b"]):
        assert highest_score(Pool([], ids, scores), 3, random.Random(0)) == ["b", "a", "d"]


@pytest.mark.parametrize("scores", [{}, scored(a=0.5), scored(a=0.5, b=float("nan"))])
def test_missing_scores_are_refused(scores):
    with pytest.raises(InputError, match="no usable score"):
        highest_score(Pool([], ["a", "b"], scores), 1, random.Random(0))
