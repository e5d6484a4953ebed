"""The results of a study as arrays: per method its seeds, its Dice and what was spent until each round.

A *flat* method has one round while others have several, or is ``wsl`` or ``full_sup``: it is a line to compare with,
not a curve. Areas are taken over a range of costs that all curves cover, so that methods are compared at equal cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scripts.core.run_names import Metric
from scripts.report.curve_plot import FLAT
from scripts.studies.curves import aubc
from scripts.studies.summary import by_method, dice_of

COSTS = {
    Metric.MASKS: "images (oracle masks)",
    Metric.PIXELS: "foreground pixels",
    "boundary_px": "boundary length, pixels",
    "annotation_seconds": "annotator seconds",
}
"""Cost in a row of a result -> its name for readers. The first is the one that methods are compared by."""
FULL, WEAK = "full_sup", "wsl"
_FIRST = ("label_prop", "label_prop_lambda_0", "random", "random_equal_steps", "entropy", "mc_dropout")
_LAST = (WEAK, FULL)
_WEIGHT_OF_PSEUDO_MASKS = "scale_seg_u"
_DROPOUT = ("network_def", "dropout")


@dataclass(frozen=True)
class MethodCurves:
    """All runs of one method, up to the last round that all of them have.

    Attributes:
        name: of the method, with its overlay after a ``+``.
        seeds: of the runs, ascending.
        dice: (S, R) float64 in [0, 1], mean over the test images.
        costs: cost -> (S, R) float64, what was spent until each round.
        test_dice: per seed and round: id of the test image -> Dice.
        settings: of the first run.
        flat: whether it is a line to compare with.
        has_pseudo: whether it made pseudo-masks.
    """

    name: str
    seeds: tuple[int, ...]
    dice: np.ndarray
    costs: Mapping[str, np.ndarray]
    test_dice: Sequence[Sequence[Mapping[str, float]]]
    settings: Mapping[str, Any]
    flat: bool
    has_pseudo: bool

    @property
    def base(self) -> str:
        """Name of the method without its overlay."""
        return self.name.partition("+")[0]

    @property
    def overlay(self) -> str:
        """Name of its overlay; empty for the config as it is."""
        return self.name.partition("+")[2]

    @property
    def images(self) -> frozenset[str]:
        """Ids of all test images that its results tell; empty where they tell none."""
        return frozenset(key for each in self.test_dice for one in each for key in one)

    @property
    def dropout(self) -> Any:
        """Dropout that its network is trained with, as the config writes it; None where the results do not tell."""
        overrides = self.preset.get("overrides") or {}
        own = {key.replace("::", "#"): value for key, value in overrides.items()}
        section, name = _DROPOUT
        return own.get("#".join(_DROPOUT), (self.settings.get(section) or {}).get(name))

    @property
    def preset(self) -> Mapping[str, Any]:
        """The method as the config writes it; empty where the results do not tell."""
        return (self.settings.get("active") or {}).get("preset") or {}

    @property
    def ignores_pseudo(self) -> bool:
        """Whether pseudo-masks weigh nothing in its loss: a lambda-0 control."""
        weight = (self.preset.get("overrides") or {}).get(
            _WEIGHT_OF_PSEUDO_MASKS, self.settings.get(_WEIGHT_OF_PSEUDO_MASKS)
        )
        return self.has_pseudo and weight == 0

    def is_control_of(self, other: MethodCurves) -> bool:
        """Tell whether this is the lambda-0 control of another: the same but for the weight of pseudo-masks."""
        if not self.ignores_pseudo or other.ignores_pseudo:
            return False
        return _without_weight(self.preset) == _without_weight(other.preset) and self.overlay == other.overlay


@dataclass(frozen=True)
class StudyCurves:
    """All methods of a study.

    Attributes:
        methods: in the order of the report, flat ones last.
    """

    methods: tuple[MethodCurves, ...]

    @property
    def curves(self) -> tuple[MethodCurves, ...]:
        """The methods that are curves."""
        return tuple(method for method in self.methods if not method.flat)

    @property
    def last(self) -> int:
        """The last round that all curves have; 0 where there is none."""
        return min((method.dice.shape[1] for method in self.curves), default=1) - 1

    @property
    def full(self) -> MethodCurves | None:
        """Full supervision, None where it was not run."""
        return self.named(FULL)

    def named(self, name: str) -> MethodCurves | None:
        """Return the method of a name, None where there is none."""
        return next((method for method in self.methods if method.name == name), None)

    def curve(self, name: str) -> MethodCurves | None:
        """Return the method of a name if it is a curve, else None."""
        return next((method for method in self.curves if method.name == name), None)

    def costs(self) -> tuple[str, ...]:
        """Return the costs that are not zero in all rounds of all curves."""
        return tuple(cost for cost in COSTS if any((method.costs[cost] > 0).any() for method in self.curves))


def study_curves(results: Sequence[Mapping[str, Any]]) -> StudyCurves:
    """Return the results of a study as arrays; runs without a round are left out.

    Args:
        results: records of :func:`scripts.studies.results.read_results`.
    """
    grouped = by_method(results)
    longest = max((min(len(one["rounds"]) for one in some) for some in grouped.values()), default=1)
    methods = [_method(name, some, longest) for name, some in grouped.items()]
    return StudyCurves(tuple(sorted(methods, key=_place)))


def common_range(methods: Sequence[MethodCurves], cost: str) -> tuple[float, float] | None:
    """Return from where to where all runs of some methods have been at a cost, None where they share no stretch."""
    spent = [row for method in methods for row in method.costs[cost]]
    if not spent:
        return None
    low, high = max(float(row[0]) for row in spent), min(float(row[-1]) for row in spent)
    return (low, high) if high > low else None


def areas(method: MethodCurves, cost: str, within: tuple[float, float]) -> np.ndarray:
    """Return the area under the curve of each seed over a range of a cost, (S,): the mean Dice there."""
    return np.array([area(*one, within) for one in zip(method.costs[cost], method.dice, strict=True)])


def area(cost: np.ndarray, values: np.ndarray, within: tuple[float, float]) -> float:
    """Return :func:`scripts.studies.curves.aubc` of the part of a curve within a range that the curve covers.

    Args:
        cost: (R,) float, not falling; rounds may have cost nothing.
        values: (R,) float.
        within: from where to where; between rounds the curve is taken as a straight line.
    """
    low, high = within
    first, last = int(np.searchsorted(cost, low, "right")) - 1, int(np.searchsorted(cost, high, "left"))
    inside = slice(first + 1, last)
    ends = _between(cost, values, first, low), _between(cost, values, last - 1, high)
    return aubc(np.array([low, *cost[inside], high]), np.array([ends[0], *values[inside], ends[1]]))


def _between(cost: np.ndarray, values: np.ndarray, at: int, wanted: float) -> float:
    """Return the value at a cost on the line from round ``at`` to the next."""
    if at + 1 >= len(cost) or cost[at + 1] == cost[at]:
        return float(values[at])
    part = (wanted - cost[at]) / (cost[at + 1] - cost[at])
    return float(values[at] + part * (values[at + 1] - values[at]))


def _method(name: str, results: Sequence[Mapping[str, Any]], longest: int) -> MethodCurves:
    dice = dice_of(results)
    rounds = dice.shape[1]
    costs = {
        cost: np.array([[float(row.get(cost) or 0) for row in one["rounds"][:rounds]] for one in results])
        for cost in COSTS
    }
    flat = name.partition("+")[0] in FLAT or (rounds == 1 and longest > 1)
    has_pseudo = any(row.get(Metric.PSEUDO_N) for one in results for row in one["rounds"])
    test_dice = [one["test_dice"][:rounds] for one in results]
    seeds = tuple(int(one["seed"]) for one in results)
    return MethodCurves(name, seeds, dice, costs, test_dice, results[0].get("settings") or {}, flat, has_pseudo)


def _place(method: MethodCurves) -> tuple[Any, ...]:
    known = {name: at for at, name in enumerate(_FIRST)} | {name: 1000 + at for at, name in enumerate(_LAST)}
    return method.flat, known.get(method.base, len(_FIRST)), method.base, method.overlay


def _without_weight(preset: Mapping[str, Any]) -> dict[str, Any]:
    overrides = {k: v for k, v in (preset.get("overrides") or {}).items() if k != _WEIGHT_OF_PSEUDO_MASKS}
    return {**preset, "overrides": overrides}
