from __future__ import annotations

import numpy as np
import pytest

from scripts.core.run_names import Metric
from scripts.studies.curves import aubc
from scripts.studies.report.method_curves import area, areas, common_range, study_curves
from tests.support.study_results import make_result, make_study


def test_methods_come_with_their_seeds_and_flat_ones_last() -> None:
    study = study_curves([*make_study(seeds=2, rounds=3), make_result("wsl", 0, rounds=1, masks=[0])])
    names = [method.name for method in study.methods]
    assert names == [
        "label_prop",
        "label_prop_lambda_0",
        "random",
        "random_equal_steps",
        "entropy",
        "mc_dropout",
        "wsl",
        "full_sup",
    ]
    assert [method.flat for method in study.methods] == [False] * 6 + [True] * 2
    assert study.methods[0].dice.shape == (2, 3) and study.methods[0].seeds == (0, 1)
    assert study.last == 2 and study.full is study.methods[-1]


def test_rounds_that_a_seed_lacks_are_left_out() -> None:
    study = study_curves([make_result("random", 0, 5), make_result("random", 1, 3), make_result("entropy", 0, 4)])
    assert {method.name: method.dice.shape for method in study.methods} == {"random": (2, 3), "entropy": (1, 4)}
    assert study.last == 2


def test_costs_that_are_zero_are_not_told() -> None:
    assert study_curves(make_study(1, 2)).costs() == (Metric.MASKS, Metric.PIXELS, "boundary_px")
    assert "annotation_seconds" in study_curves(make_study(1, 2, seconds_per_mask=3.0)).costs()


def test_the_control_of_a_method_is_the_same_without_the_weight_of_pseudo_masks() -> None:
    results = [
        make_result("label_prop", 0, 2, pseudo=True),
        make_result("any_name", 0, 2, pseudo=True, overrides={"scale_seg_u": 0.0}),
        make_result("another", 0, 2, pseudo=True, overrides={"scale_seg_u": 0.0, "lr": 0.1}),
        make_result("any_name+wide", 0, 2, pseudo=True, overrides={"scale_seg_u": 0.0}),
        make_result("random", 0, 2),
    ]
    study = study_curves(results)
    method = study.named("label_prop")
    assert method is not None
    assert [other.name for other in study.curves if other.is_control_of(method)] == ["any_name"]
    assert not any(method.is_control_of(other) for other in study.curves)


@pytest.mark.parametrize("within", [(8.0, 18.0), (9.0, 13.5), (10.0, 12.0), (11.2, 11.6)])
def test_area_is_the_mean_of_the_curve_there(within: tuple[float, float]) -> None:
    cost, values = np.array([8.0, 10, 12, 14, 18]), np.array([0.3, 0.5, 0.4, 0.8, 0.9])
    fine = np.linspace(*within, 200_001)
    assert area(cost, values, within) == pytest.approx(np.interp(fine, cost, values).mean(), abs=2e-6)


def test_area_over_all_is_the_area_of_the_curve() -> None:
    cost, values = np.array([8.0, 10, 15]), np.array([0.3, 0.5, 0.4])
    assert area(cost, values, (8.0, 15.0)) == pytest.approx(aubc(cost, values))


def test_area_counts_rounds_that_cost_nothing_from_the_side_they_are_seen_from() -> None:
    cost, values = np.array([0.0, 10, 10, 20]), np.array([0.0, 0.2, 0.6, 0.6])
    assert area(cost, values, (0.0, 10.0)) == pytest.approx(0.1)
    assert area(cost, values, (10.0, 20.0)) == pytest.approx(0.6)
    assert area(cost, values, (0.0, 20.0)) == pytest.approx(0.35)


def test_the_common_range_is_what_every_run_covers() -> None:
    results = [make_result("random", 0, masks=[8, 10, 12]), make_result("entropy", 0, masks=[10, 14, 20])]
    study = study_curves(results)
    within = common_range(study.curves, Metric.MASKS)
    assert within == (10.0, 12.0)
    assert areas(study.curves[0], Metric.MASKS, within) == pytest.approx(study.curves[0].dice[0, 1:].mean())
    apart = study_curves([make_result("random", 0, masks=[8, 10]), make_result("entropy", 0, masks=[10, 14])])
    assert common_range(apart.curves, Metric.MASKS) is None and common_range((), Metric.MASKS) is None
