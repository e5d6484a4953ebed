"""How a strategy is asked: class by class, which keeps the labelled set balanced (Belharbi et al. 2021)."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from scripts.active.strategies.at_random import shuffle
from scripts.active.strategies.pool import Pool, Strategy
from scripts.core.errors import InputError, Problem


def query_pool(unlabelled: Sequence[str], pseudo: Collection[str], classes: int, protect: bool = True) -> list[str]:
    """Return the ids the oracle may be asked about, in the order of ``unlabelled``.

    Images with a pseudo-mask are left out while the others are at least as many as the classes, as published. With
    k = 40 every image has one on the published data sets, so there the pool is all of ``unlabelled``. A class that
    lacks images by that is filled up with them, see :func:`select_per_class`.

    Args:
        unlabelled: ids without an oracle mask.
        pseudo: ids with a pseudo-mask.
        classes: number of classes.
        protect: False asks about all of them, whatever their number.
    """
    rest = [id_ for id_ in unlabelled if id_ not in pseudo]
    return rest if protect and len(rest) >= classes else list(unlabelled)


def initial_query(
    start: Strategy, pool: Pool, class_of: Mapping[str, str], rng: random.Random, *, n_per_class: int
) -> list[str]:
    """Return the images whose masks start the run: :func:`select_per_class` in random order.

    With :func:`~scripts.active.strategies.at_random.random_order` and ``random.Random(run seed)`` these are the
    published sets in the published order. Arguments and errors as for :func:`select_per_class`.
    """
    drawn = select_per_class(start, pool, class_of, rng, n_per_class=n_per_class)
    shuffle(drawn, rng)
    return drawn


def spare_images(
    unlabelled: Sequence[str], pool: Sequence[str], class_of: Mapping[str, str], n_per_class: int
) -> list[str]:
    """Return the ids outside of ``pool`` whose class has fewer than ``n_per_class`` in it, in the order given."""
    kept, held = set(pool), Counter(class_of[id_] for id_ in pool)
    return [id_ for id_ in unlabelled if id_ not in kept and held[class_of[id_]] < n_per_class]


def select_per_class(
    strategy: Strategy,
    pool: Pool,
    class_of: Mapping[str, str],
    rng: random.Random,
    *,
    n_per_class: int,
    spare: Collection[str] = (),
) -> list[str]:
    """Ask ``strategy`` class by class, in sorted order of the class names, with one generator throughout.

    Args:
        strategy: e.g. :func:`~scripts.active.strategies.at_random.random_order`.
        pool: images of all classes.
        class_of: class name of each id.
        rng: a fresh ``random.Random(run seed)`` per round draws the published sets.
        n_per_class: images wanted per class, >= 0.
        spare: ids of the pool that are asked about only where the others of their class are too few.

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
    for members in _by_class(pool.unlabelled, class_of):
        labelled = [id_ for id_ in pool.labelled if class_of[id_] == class_of[members[0]]]
        wanted = n_per_class
        for group in ([m for m in members if m not in spare], [m for m in members if m in spare]):
            if group and wanted:
                picked = strategy(replace(pool, labelled=labelled, unlabelled=group), wanted, rng)
                _check_picked(picked, group, wanted)
                chosen += picked
                labelled, wanted = [*labelled, *picked], wanted - len(picked)
    return chosen


def _check_picked(picked: Sequence[str], members: Sequence[str], n: int) -> None:
    if len(set(picked)) != len(picked) or len(picked) > n or not set(picked) <= set(members):
        raise InputError(
            Problem(
                "a strategy returned ids it may not choose",
                "active#strategy",
                f"at most {n} distinct ids of the {len(members)} unlabelled ones of a class",
                f"{picked}",
            )
        )


def _by_class(ids: Sequence[str], class_of: Mapping[str, str]) -> list[list[str]]:
    """Return the ids of each class, classes sorted by name, ids in their given order."""
    groups: dict[str, list[str]] = {}
    for id_ in ids:
        groups.setdefault(class_of[id_], []).append(id_)
    return [groups[name] for name in sorted(groups)]
