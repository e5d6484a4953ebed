from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.core.errors import InputError
from scripts.core.seeds import numpy_generator
from scripts.studies.comparisons import Difference, holm, paired_difference
from scripts.studies.wording import Comparison, comparisons_with, holds, sentence

BETTER = Difference(0.012, 0.004, 0.020, 0.008, 0.016, 0.004, 0.95, 5, 80)


def compared(adjusted_p: float = 0.012, quantity: str = "Dice", **changes: float) -> Comparison:
    difference = dataclasses.replace(BETTER, **changes)  # type: ignore
    return Comparison("label_prop", "random_equal_steps", difference, adjusted_p, quantity)


def said(*arguments: float, **changes: float) -> str:
    return sentence(compared(*arguments, **changes))


def test_it_holds() -> None:
    assert said() == (
        "label_prop over random_equal_steps: +0.012 Dice (95 % interval +0.004 to +0.020 over seeds and images, "
        "5 seeds): holds (Holm-adjusted p 0.012)."
    )


def test_worse_holds_too() -> None:
    assert said(mean=-0.012, low=-0.02, high=-0.004) == (
        "label_prop below random_equal_steps: -0.012 Dice (95 % interval -0.020 to -0.004 over seeds and images, "
        "5 seeds): holds (Holm-adjusted p 0.012)."
    )


@pytest.mark.parametrize(
    ("p", "changes", "end"),
    [
        (0.012, {"low": -0.001}, "not shown: the interval contains 0."),
        (0.012, {"low": 0.0}, "not shown: the interval contains 0."),
        (0.2, {"low": -0.001}, "not shown: the interval contains 0."),
        (0.13, {}, "not shown: Holm-adjusted p 0.130, not below 0.05."),
        (0.05, {}, "not shown: Holm-adjusted p 0.050, not below 0.05."),
        (0.0501, {}, "not shown: Holm-adjusted p 0.0501, not below 0.05."),
        (0.04999, {}, "holds (Holm-adjusted p 0.04999)."),
        (1e-7, {}, "holds (Holm-adjusted p < 0.001)."),
        (0.0, {"seeds": 3}, "3 seeds): holds (Holm-adjusted p < 0.001)."),
        (0.0, {"seeds": 2}, "2 seeds): too few seeds (at least 3 are needed)."),
        (0.0, {"seeds": 1}, "over images, 1 seed): too few seeds (at least 3 are needed)."),
        (
            math.nan,
            {"seeds": 1, "low": math.nan, "high": math.nan},
            "(no interval, 1 seed): too few seeds (at ",
        ),
        (math.nan, {}, "not shown: there is no test."),
        (0.01, {"low": math.nan, "high": math.nan}, "(no interval, 5 seeds): not shown: there is no interval."),
        (0.01, {"images": 1}, "to +0.020 over seeds, 5 seeds): holds (Holm-adjusted p 0.010)."),
        (0.01, {"level": 0.995}, "holds (Holm-adjusted p 0.010)."),
    ],
)
def test_what_decides(p: float, changes: dict[str, float], end: str) -> None:
    text = said(p, **changes)
    assert end in text and text.endswith(".")
    assert holds(compared(p, **changes)) == ("holds (" in text)


def test_no_number_is_rounded_onto_the_border() -> None:
    assert "+0.0120 Dice (95 % interval +0.0004 to +0.0200" in said(low=0.0004)
    assert "interval -0.00002 to +0.02000" in said(low=-0.00002)
    assert "interval +0.000000 to +0.020000" in said(low=1e-9)  # more digits would be noise
    assert "interval +0.000 to +0.020" in said(low=0.0)


def test_a_difference_of_nothing() -> None:
    text = said(1.0, mean=-0.0, low=0.0, high=0.0)
    assert text == (
        "label_prop over random_equal_steps: +0.000 Dice (95 % interval +0.000 to +0.000 over seeds and images, "
        "5 seeds): not shown: the interval contains 0."
    )


def test_level_and_quantity_are_named() -> None:
    text = sentence(compared(quantity="points of AUBC", level=0.9))
    assert "+0.012 points of AUBC (90 % interval" in text
    assert "(99.5 % interval" in said(level=0.995)


@settings(deadline=None)
@given(st.floats(-1, 1), st.floats(0, 0.5), st.floats(0, 1), st.integers(1, 6))
def test_the_rule(mean: float, half: float, p: float, seeds: int) -> None:
    comparison = compared(p, mean=mean, low=mean - half, high=mean + half, seeds=seeds)
    assert holds(comparison) == (seeds >= 3 and p < 0.05 and (mean - half > 0 or mean + half < 0))
    assert ("holds (" in sentence(comparison)) == holds(comparison)


class TestComparisonsWith:
    def test_p_is_adjusted_over_all(self) -> None:
        rng = np.random.default_rng(0)
        reference = rng.normal(0.8, 0.05, (5, 40))
        gains = {"entropy": 0.0, "label_prop": 0.05, "dropout": -0.05}
        differences = {
            name: paired_difference(
                reference + gain + rng.normal(0, 0.03, (5, 40)), reference, numpy_generator(0, name), 1000
            )
            for name, gain in gains.items()
        }
        found = comparisons_with("random", differences)
        assert [(c.method, c.reference, c.quantity) for c in found] == [(name, "random", "Dice") for name in gains]
        assert [c.adjusted_p for c in found] == holm(np.array([d.p for d in differences.values()])).tolist()
        assert [holds(c) for c in found] == [False, True, True]

    def test_no_difference(self) -> None:
        with pytest.raises(InputError, match="nothing to compare; expected a difference per method; found none"):
            comparisons_with("random", {})
