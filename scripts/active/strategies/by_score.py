"""By how much an image would tell."""

from __future__ import annotations

import random

from scripts.active.strategies.pool import Pool


def highest_score(pool: Pool, n: int, rng: random.Random) -> list[str]:
    """Return the ``n`` unlabelled ids of highest score, ties by id; their order on entry does not matter.

    Cost: none besides the score.

    Raises:
        InputError: an image without a score.
    """
    score = dict(zip(pool.unlabelled, pool.score(), strict=True))
    return sorted(score, key=lambda id_: (-score[id_], id_))[:n]
