"""Which images the oracle is asked next.

A strategy is a pure function ``(scores, histograms, labelled, unlabelled, n, rng) -> ids``: it reads and writes nothing
and keeps no state. It sees the images of one class; :func:`select_per_class` asks it class by class, which keeps the
labelled set balanced (Belharbi et al. 2021). With ``random.Random(seed)`` per round and the training list in a fixed
order, the sequence of queries is a function of the seed alone.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from scripts.core.errors import InputError, Problem

Strategy = Callable[
    [Mapping[str, float] | None, Mapping[str, np.ndarray] | None, Sequence[str], Sequence[str], int, random.Random],
    list[str],
]
"""scores {id: float}, histograms {id: array}, labelled ids, unlabelled ids, how many, generator -> at most n ids."""

_SHUFFLES = 100  # the published number; kept because the drawn ids depend on it


def random_order(
    scores: Mapping[str, float] | None,
    histograms: Mapping[str, np.ndarray] | None,
    labelled: Sequence[str],
    unlabelled: Sequence[str],
    n: int,
    rng: random.Random,
) -> list[str]:
    """Return the first ``n`` of ``unlabelled`` after 100 shuffles; its order on entry matters. Ignores all scores."""
    order = list(unlabelled)
    _shuffle(order, rng)
    return order[:n]


def highest_score(
    scores: Mapping[str, float] | None,
    histograms: Mapping[str, np.ndarray] | None,
    labelled: Sequence[str],
    unlabelled: Sequence[str],
    n: int,
    rng: random.Random,
) -> list[str]:
    """Return the ``n`` unlabelled ids of highest score, ties by id; the order of ``unlabelled`` does not matter.

    Raises:
        InputError: no scores, or an unlabelled id without a score or with NaN.
    """
    if scores is None:
        raise InputError(Problem("this strategy needs scores", "highest_score", "{id: float}", "None"))
    bad = [
        Problem("no usable score", id_, "a number", str(scores.get(id_, "none")))
        for id_ in unlabelled
        if math.isnan(scores.get(id_, math.nan))
    ]
    if bad:
        raise InputError(bad)
    return sorted(unlabelled, key=lambda id_: (-scores[id_], id_))[:n]


def initial_draw(ids: Sequence[str], class_of: Mapping[str, str], n_per_class: int, rng: random.Random) -> list[str]:
    """Return the images whose masks start the run: ``n_per_class`` of each class, in random order.

    Per class name in sorted order the class's ids, as ordered in ``ids``, are shuffled 100 times and the first ones
    taken; the result is shuffled 100 times. A smaller class gives all it has.

    Args:
        ids: training ids in list order.
        class_of: class name of each id.
        n_per_class: masks per class.
        rng: ``random.Random(run seed)`` draws the published sets.
    """
    drawn: list[str] = []
    for members in _by_class(ids, class_of):
        _shuffle(members, rng)
        drawn += members[:n_per_class]
    _shuffle(drawn, rng)
    return drawn


def query_pool(unlabelled: Sequence[str], pseudo: Collection[str], classes: int, protect: bool = True) -> list[str]:
    """Return the ids the oracle may be asked about, in the order of ``unlabelled``.

    Images with a pseudo-mask are left out while the others are at least as many as the classes, as published. With
    k = 40 every image has one on the published data sets, so there the pool is all of ``unlabelled``.

    Args:
        unlabelled: ids without an oracle mask.
        pseudo: ids with a pseudo-mask.
        classes: number of classes.
        protect: False asks about all of them, whatever their number.
    """
    rest = [id_ for id_ in unlabelled if id_ not in pseudo]
    return rest if protect and len(rest) >= classes else list(unlabelled)


def select_per_class(
    strategy: Strategy,
    scores: Mapping[str, float] | None,
    histograms: Mapping[str, np.ndarray] | None,
    labelled: Sequence[str],
    unlabelled: Sequence[str],
    class_of: Mapping[str, str],
    rng: random.Random,
    *,
    n_per_class: int,
) -> list[str]:
    """Ask ``strategy`` class by class, in sorted order of the class names, with one generator throughout.

    Args:
        strategy: e.g. :func:`random_order`; it gets the labelled and unlabelled ids of one class.
        scores: {id: float}, or None for strategies that need none.
        histograms: {id: array}, or None.
        labelled: ids which have an oracle mask.
        unlabelled: the pool, in list order.
        class_of: class name of each id.
        rng: a fresh ``random.Random(run seed)`` per round draws the published sets.
        n_per_class: images wanted per class, >= 0.

    Returns:
        distinct ids of the pool, class after class; a class smaller than its quota gives all it has. Empty for an
        empty pool or a quota of 0.

    Raises:
        InputError: a negative quota, or a strategy that returned ids which are not in the pool, or twice, or too many.
    """
    if n_per_class < 0:
        raise InputError(Problem("negative quota", "select_per_class", "n_per_class >= 0", f"{n_per_class}"))
    if n_per_class == 0:
        return []
    chosen: list[str] = []
    for pool in _by_class(unlabelled, class_of):
        same_class = [id_ for id_ in labelled if class_of[id_] == class_of[pool[0]]]
        picked = strategy(scores, histograms, same_class, pool, n_per_class, rng)
        _check_picked(picked, pool, n_per_class)
        chosen += picked
    return chosen


def _check_picked(picked: Sequence[str], pool: Sequence[str], n: int) -> None:
    if len(set(picked)) != len(picked) or len(picked) > n or not set(picked) <= set(pool):
        raise InputError(
            Problem(
                "a strategy returned ids it may not choose",
                "active#strategy",
                f"at most {n} distinct ids of the {len(pool)} unlabelled ones of a class",
                f"{picked}",
            )
        )


def _by_class(ids: Sequence[str], class_of: Mapping[str, str]) -> list[list[str]]:
    """Return the ids of each class, classes sorted by name, ids in their given order."""
    groups: dict[str, list[str]] = {}
    for id_ in ids:
        groups.setdefault(class_of[id_], []).append(id_)
    return [groups[name] for name in sorted(groups)]


def _shuffle(items: list[str], rng: random.Random) -> None:
    for _ in range(_SHUFFLES):
        rng.shuffle(items)
