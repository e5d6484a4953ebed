"""By lot, as published."""

from __future__ import annotations

import random

from scripts.active.strategies.pool import Pool

_SHUFFLES = 100  # the published number; kept because the drawn ids depend on it


def random_order(pool: Pool, n: int, rng: random.Random) -> list[str]:
    """Return the first ``n`` of the unlabelled ids after 100 shuffles; their order on entry matters.

    Belharbi et al. 2021, as the published code draws. Cost: none.
    """
    order = list(pool.unlabelled)
    shuffle(order, rng)
    return order[:n]


def shuffle(items: list[str], rng: random.Random) -> None:
    """Shuffle in place, 100 times."""
    for _ in range(_SHUFFLES):
        rng.shuffle(items)
