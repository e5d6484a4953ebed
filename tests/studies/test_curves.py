from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from scripts.core.errors import InputError
from scripts.evaluation.metrics import auc_over_rounds
from scripts.studies.curves import aubc, budget_for, foreground_efficiency, pareto_front

MASKS = np.array([8.0, 10, 12, 14, 18])
DICE = np.array([0.60, 0.70, 0.65, 0.80, 0.85])
FULL = np.array([0.0, 1.5, 3.0, 6.0, 9.0, 12.0]) * 1e6


def rising(b: float, a: float = 0.3, c: float = 0.86) -> np.ndarray:
    """Values over ``FULL`` that rise by b per megapixel."""
    return -a * np.exp(-b * (FULL - FULL[0]) / 1e6) + c


curves = st.lists(st.tuples(st.floats(0.01, 50), st.floats(0, 1)), min_size=1, max_size=12).map(
    lambda points: (np.cumsum([step for step, _ in points]), np.array([value for _, value in points]))
)


class TestAubc:
    def test_by_hand(self) -> None:
        # means of neighbours 0.65, 0.675, 0.725, 0.825 over 2, 2, 2 and 4 masks
        assert aubc(MASKS, DICE) == pytest.approx((2 * (0.65 + 0.675 + 0.725) + 4 * 0.825) / 10)

    @settings(deadline=None)
    @given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
    def test_even_budgets_give_the_area_over_rounds(self, values: list[float]) -> None:
        budget = 8 + 2 * np.arange(len(values))
        assert aubc(budget, np.array(values)) == pytest.approx(auc_over_rounds(values), abs=1e-12)

    @settings(deadline=None)
    @given(curves, st.floats(-5, 5), st.floats(0.1, 1e6))
    def test_a_mean_that_knows_no_unit_of_the_budget(
        self, curve: tuple[np.ndarray, np.ndarray], shift: float, scale: float
    ) -> None:
        budget, values = curve
        area = aubc(budget, values)
        assert values.min() - 1e-9 <= area <= values.max() + 1e-9
        assert aubc(scale * budget, values + shift) == pytest.approx(area + shift, abs=1e-6)

    def test_one_round(self) -> None:
        assert aubc(np.array([8]), np.array([0.6])) == 0.6

    def test_a_round_that_spent_nothing(self) -> None:
        assert aubc(np.array([0, 5, 5, 10]), np.array([0.0, 1, 0, 1])) == pytest.approx(0.5)

    def test_nothing_spent_at_all(self) -> None:
        with pytest.raises(InputError) as raised:
            aubc(np.array([8, 8]), np.array([0.6, 0.7]))
        text = (
            "aubc: the budget does not rise; expected a budget that rises over the rounds; found 2 rounds at budget 8"
        )
        assert str(raised.value) == text


class TestBudgetFor:
    @pytest.mark.parametrize(
        ("target", "expected"),
        [
            (0.5, 8.0),  # less was not tried
            (0.6, 8.0),
            (0.65, 9.0),
            (0.7, 10.0),
            (0.75, 12 + 2 * 0.10 / 0.15),  # the curve fell between
            (0.825, 16.0),
            (0.85, 18.0),
            (0.851, None),
        ],
    )
    def test_by_hand(self, target: float, expected: float | None) -> None:
        assert budget_for(MASKS, DICE, target) == (None if expected is None else pytest.approx(expected))

    @settings(deadline=None)
    @given(curves, st.floats(0, 1))
    def test_the_first_of_a_fine_walk_along_the_curve(
        self, curve: tuple[np.ndarray, np.ndarray], target: float
    ) -> None:
        budget, values = curve
        found = budget_for(budget, values, target)
        if found is None:
            assert (values < target).all()
            return
        walk = np.linspace(budget[0], budget[-1], 2001)
        at_or_above = walk[np.interp(walk, budget, values) >= target]
        assert budget[0] <= found <= budget[-1]
        assert len(at_or_above) == 0 or found <= at_or_above[0] + 1e-9
        assert np.interp(found, budget, values) == pytest.approx(target, abs=1e-6) or found == budget[0]

    def test_one_round(self) -> None:
        assert budget_for(np.array([8]), np.array([0.6]), 0.6) == 8.0
        assert budget_for(np.array([8]), np.array([0.6]), 0.61) is None

    def test_values_that_rise_without_a_budget(self) -> None:
        assert budget_for(np.array([8, 8]), np.array([0.6, 0.7]), 0.65) == 8.0

    def test_no_target(self) -> None:
        with pytest.raises(InputError, match="budget_for: no target; expected a finite number; found nan"):
            budget_for(MASKS, DICE, math.nan)


class TestForegroundEfficiency:
    @pytest.mark.parametrize("b", [0.05, 0.2, 1.0, 3.0])
    def test_the_rate_is_found_again(self, b: float) -> None:
        assert foreground_efficiency(FULL, rising(b)) == pytest.approx(b, rel=1e-4)
        assert foreground_efficiency(FULL, rising(b), ceiling=0.86) == pytest.approx(b, rel=1e-4)

    def test_the_first_point_is_the_origin(self) -> None:
        assert foreground_efficiency(FULL + 7e6, rising(0.4)) == pytest.approx(0.4, rel=1e-4)

    def test_least_squares_under_a_known_ceiling(self) -> None:
        values = rising(0.3) + np.array([0.0, 0.01, -0.012, 0.008, -0.004, 0.002])

        def squares(b: float) -> float:
            model = -(0.9 - values[0]) * np.exp(-b * FULL / 1e6) + 0.9
            return float(((model - values) ** 2).sum())

        best = minimize_scalar(squares, bounds=(0.01, 5), method="bounded", options={"xatol": 1e-8}).x
        assert foreground_efficiency(FULL, values, ceiling=0.9) == pytest.approx(best, rel=1e-4)

    def test_noise_moves_it_little(self) -> None:
        noise = np.random.default_rng(0).normal(0, 0.003, 40)
        pixels = np.linspace(0, 12e6, 40)
        values = 0.86 - 0.3 * np.exp(-0.5 * pixels / 1e6) + noise
        assert foreground_efficiency(pixels, values) == pytest.approx(0.5, rel=0.1)

    @pytest.mark.parametrize(
        "values",
        [
            np.full(6, 0.7),  # constant
            rising(-0.1, a=-0.1),  # faster and faster
            rising(0.3)[::-1],  # falls
            0.5 + FULL / 1e8,  # a straight line has no plateau
            np.array([0.5, 0.9, 0.9, 0.9, 0.9, 0.9]),  # any high rate fits
            np.array([0.5, 0.9, 0.1, 0.8, 0.2, 0.6]),  # anything
        ],
    )
    def test_no_rate(self, values: np.ndarray) -> None:
        assert foreground_efficiency(FULL, values) is None

    def test_too_few_points_or_nothing_annotated(self) -> None:
        assert foreground_efficiency(FULL[:3], rising(0.3)[:3]) is None
        assert foreground_efficiency(np.full(6, 1e6), rising(0.3)) is None
        assert foreground_efficiency(FULL[:1], rising(0.3)[:1]) is None

    def test_a_ceiling_below_the_curve(self) -> None:
        assert foreground_efficiency(FULL, rising(0.3), ceiling=0.2) is None
        with pytest.raises(InputError, match="no ceiling"):
            foreground_efficiency(FULL, rising(0.3), ceiling=math.inf)


class TestParetoFront:
    def test_by_hand(self) -> None:
        costs = np.array([1.0, 2, 2, 3, 3, 5])
        values = np.array([0.5, 0.7, 0.6, 0.7, 0.8, 0.8])
        assert pareto_front(costs, values) == [0, 1, 4]

    def test_equals_stay(self) -> None:
        assert pareto_front(np.array([1.0, 1.0, 1.0]), np.array([0.5, 0.5, 0.4])) == [0, 1]

    def test_one(self) -> None:
        assert pareto_front(np.array([1.0]), np.array([0.5])) == [0]

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=15))
    def test_equals_the_definition(self, points: list[tuple[int, int]]) -> None:
        expected = [
            at
            for at, (cost, value) in enumerate(points)
            if not any(c <= cost and v >= value and (c < cost or v > value) for c, v in points)
        ]
        costs, values = np.array(points).T
        assert pareto_front(costs, values) == expected


@pytest.mark.parametrize("function", [aubc, foreground_efficiency, pareto_front, lambda x, y: budget_for(x, y, 0.5)])
class TestNoCurve:
    def test_empty_or_of_two_lengths(self, function) -> None:
        for first, second in (([], []), ([1.0, 2.0], [0.5]), ([[1.0]], [[0.5]])):
            with pytest.raises(InputError, match="no curve; expected two arrays of one length, at least 1; found"):
                function(np.array(first), np.array(second))

    def test_not_finite(self, function) -> None:
        for first, second in (([1, 2, 3], [0.5, math.nan, math.inf]), ([1, math.nan, math.inf], [0.1, 0.2, 0.3])):
            with pytest.raises(InputError, match=r"finite; .*found NaN or infinity at 2 of 3 points\. Leave out"):
                function(np.array(first), np.array(second))

    def test_a_budget_that_falls(self, function) -> None:
        if function is pareto_front:
            return
        with pytest.raises(InputError, match=r"the budget falls; .*found 3 and then 2"):
            function(np.array([1, 3, 2, 1]), np.array([0.1, 0.2, 0.3, 0.4]))
