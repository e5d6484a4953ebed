"""What holds in a study: methods against their controls and ``random``, overlays against none, in sentences.

Up to three families of comparisons, each on the area under the budget curve and on the Dice of the last round; the
p-values of a family are adjusted together (:mod:`scripts.studies.wording`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from scripts.studies.comparisons import Difference, holm, paired_difference
from scripts.studies.report.method_curves import COSTS, MethodCurves, StudyCurves, area, common_range
from scripts.studies.wording import FEWEST_SEEDS, Comparison, holds, sentence

RANDOM, EQUAL_STEPS = "random", "random_equal_steps"
_COST = next(iter(COSTS))

Pair = tuple[MethodCurves, MethodCurves]
"""A method, and what it is compared with."""


@dataclass(frozen=True)
class Family:
    """Comparisons that are made together.

    Attributes:
        title: heading.
        better: sentences of differences that hold, the first method being better.
        worse: likewise, it being worse.
        not_shown: sentences of those that do not hold.
        too_few: whether no comparison has the seeds to hold.
        notes: what could not be compared, and why.
    """

    title: str
    better: tuple[str, ...]
    worse: tuple[str, ...]
    not_shown: tuple[str, ...]
    too_few: bool
    notes: tuple[str, ...]


def findings(study: StudyCurves) -> list[Family]:
    """Return what holds of the methods of a study: pseudo-masks against their controls, then all against random.

    Both within one overlay: what an overlay does to all methods is no merit of any. Where there are overlays, they have
    a family of their own, the last.
    """
    pairs, notes = _controls(study)
    found = [_family("Pseudo-masks against their controls", study, pairs, notes)] if pairs or notes else []
    found.append(_family("Methods against random", study, *_against_random(study)))
    pairs, notes = _overlays(study)
    return [*found, _family("Overlays against the config as it is", study, pairs, notes)] if pairs or notes else found


def _controls(study: StudyCurves) -> tuple[list[Pair], list[str]]:
    """Return methods with pseudo-masks, each with what it must beat, and what is missing for that."""
    pairs, notes = [], []
    for method in study.curves:
        if not method.has_pseudo or method.ignores_pseudo:
            continue
        name = _with_overlay(EQUAL_STEPS, method)
        equal_steps = study.curve(name)
        control = next((other for other in study.curves if other.is_control_of(method)), None)
        pairs += [(method, other) for other in (equal_steps, control) if other is not None]
        if control is None:
            kind = f"lambda-0 control with the overlay {method.overlay}" if method.overlay else "lambda-0 control"
            notes.append(f"{method.name} has no {kind} here: whether its pseudo-masks do it is not tested.")
        if equal_steps is None:
            absent = _absence(study, name)
            notes.append(f"{method.name}: {name} {absent}, so the effect of more steps is not told apart.")
    return pairs, notes


def _against_random(study: StudyCurves) -> tuple[list[Pair], list[str]]:
    """Return all methods, each with random of the same overlay, and what is to be known of them."""
    names = [(method, _with_overlay(RANDOM, method)) for method in study.curves]
    pairs, notes = _pairs(study, [(method, name) for method, name in names if method.name != name])
    if not pairs and not notes:
        return [], ["Only random was run." if study.curves else "random was not run."]
    return pairs, [*notes, *_trained_otherwise(pairs)]


def _overlays(study: StudyCurves) -> tuple[list[Pair], list[str]]:
    """Return methods with an overlay, each with the same without, if both were measured on the same test images."""
    pairs, notes = _pairs(study, [(method, method.base) for method in study.curves if method.overlay])
    kept = []
    for method, plain in pairs:
        if method.images != plain.images:
            notes.append(f"{method.name} and {plain.name} do not have the same test images: not compared.")
        elif not method.images:
            notes.append(f"{method.name} and {plain.name}: their results do not tell the test images: not compared.")
        else:
            kept.append((method, plain))
    return kept, notes


def _pairs(study: StudyCurves, wanted: Iterable[tuple[MethodCurves, str]]) -> tuple[list[Pair], list[str]]:
    """Return methods with their references, and a note for each reference that is missing."""
    pairs: list[Pair] = []
    lacking: dict[str, list[str]] = {}
    for method, name in wanted:
        reference = study.curve(name)
        if reference is None:
            lacking.setdefault(name, []).append(method.name)
        else:
            pairs.append((method, reference))
    return pairs, [
        f"{name} {_absence(study, name)}; not compared with it: {', '.join(some)}." for name, some in lacking.items()
    ]


def _trained_otherwise(pairs: Iterable[Pair]) -> list[str]:
    """Return a note on the methods whose network is trained with another dropout than that of their reference."""
    found: dict[str, list[str]] = {}
    for method, reference in pairs:
        if method.dropout is not None and method.dropout != (reference.dropout or 0):
            found.setdefault(str(method.dropout), []).append(method.name)
    return [
        f"{', '.join(some)}: trained with dropout {dropout}, so the difference is of query and training together."
        for dropout, some in found.items()
    ]


def _with_overlay(name: str, method: MethodCurves) -> str:
    """Return the name of another method with the overlay of this one."""
    return f"{name}+{method.overlay}" if method.overlay else name


def _absence(study: StudyCurves, name: str) -> str:
    return "was not run" if study.named(name) is None else "has one round only"


def _family(title: str, study: StudyCurves, pairs: Sequence[Pair], notes: Iterable[str]) -> Family:
    told = list(notes)
    made: list[tuple[str, str, Difference, str]] = []
    for method, reference in pairs:
        differences = _differences(study, method, reference)
        if not differences:
            told.append(f"{method.name} and {reference.name} share no seed: not compared.")
        made += [(method.name, reference.name, difference, what) for what, difference in differences]
    adjusted = holm(np.array([difference.p for _, _, difference, _ in made])) if made else np.empty(0)
    all_of_them = [
        Comparison(name, reference, difference, float(p), what)
        for (name, reference, difference, what), p in zip(made, adjusted, strict=True)
    ]
    kept = [one for one in all_of_them if holds(one)]
    return Family(
        title,
        tuple(sentence(one) for one in kept if one.difference.mean > 0),
        tuple(sentence(one) for one in kept if one.difference.mean <= 0),
        tuple(sentence(one) for one in all_of_them if not holds(one)),
        bool(made) and all(difference.seeds < FEWEST_SEEDS for _, _, difference, _ in made),
        tuple(told),
    )


def _differences(study: StudyCurves, a: MethodCurves, b: MethodCurves) -> list[tuple[str, Difference]]:
    """Return the differences of area and of last Dice over the seeds and test images of both; none without a seed.

    Where results lack the Dice of single images, their mean stands for one image: the interval is then over seeds.
    """
    seeds = [seed for seed in a.seeds if seed in b.seeds]
    if not seeds:
        return []
    ids = _common_images(a, b)
    found = []
    within = common_range(study.curves, _COST)
    if within is not None:
        found.append(("AUBC", _compared(*(_image_areas(m, seeds, ids, within) for m in (a, b)))))
    found.append((f"Dice in round {study.last}", _compared(*(_last_dice(m, seeds, ids, study.last) for m in (a, b)))))
    return found


def _compared(a: np.ndarray, b: np.ndarray) -> Difference:
    """Compare with a generator of its own: no comparison depends on which others are made."""
    return paired_difference(a, b, np.random.default_rng(0))


def _image_areas(
    method: MethodCurves, seeds: Sequence[int], ids: Sequence[str], within: tuple[float, float]
) -> np.ndarray:
    """Return the area of each test image's own curve, (S, I): their mean is the area of the mean Dice."""
    rows = []
    for at in (method.seeds.index(seed) for seed in seeds):
        values = np.array([[one[key] for one in method.test_dice[at]] for key in ids])  # (I, R)
        curves = values if ids else method.dice[at : at + 1]
        rows.append([area(method.costs[_COST][at], curve, within) for curve in curves])
    return np.array(rows)


def _last_dice(method: MethodCurves, seeds: Sequence[int], ids: Sequence[str], last: int) -> np.ndarray:
    places = [method.seeds.index(seed) for seed in seeds]
    if not ids:
        return method.dice[places, last : last + 1]
    return np.array([[method.test_dice[at][last][key] for key in ids] for at in places])


def _common_images(a: MethodCurves, b: MethodCurves) -> list[str]:
    """Return the test images that were measured in all rounds of both methods."""
    rounds = [
        set(each[at]) if at < len(each) else set()
        for method in (a, b)
        for each in method.test_dice
        for at in range(method.dice.shape[1])
    ]
    return sorted(set.intersection(*rounds))
