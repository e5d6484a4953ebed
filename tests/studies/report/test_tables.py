from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy.stats import rankdata

from scripts.studies.report.method_curves import study_curves
from scripts.studies.report.tables import dice_table, methods_table, penalties
from tests.support.study_results import make_result, make_study


def spread(values: list[float]) -> str:
    return f"{np.mean(values):.4f} ± {np.std(values):.4f}"


def row_of(results: list[dict[str, Any]], name: str) -> dict[str, Any]:
    columns, rows = methods_table(study_curves(results))
    return dict(zip(columns, next(row for row in rows if row[0] == name), strict=True))


def test_a_row_has_the_means_over_seeds() -> None:
    results = make_study(seeds=4)
    curves = [[row["dice"] for row in r["rounds"]] for r in results if r["method"] == "label_prop"]
    row = row_of(results, "label_prop")
    assert row["seeds"] == 4 and row["masks"] == "8 to 18"
    assert row["Dice, first"] == spread([curve[0] for curve in curves])
    assert row["Dice, last"] == spread([curve[-1] for curve in curves])
    areas = [sum((a + b) / 2 for a, b in pairwise(curve)) / 5 for curve in curves]
    assert row["AUBC"] == row["AUC as published"] == spread(areas)


def test_masks_needed_are_read_off_the_mean_curve() -> None:
    results = make_study()
    target = 0.95 * np.mean([r["rounds"][0]["dice"] for r in results if r["method"] == "full_sup"])
    curve = np.mean([[row["dice"] for row in r["rounds"]] for r in results if r["method"] == "label_prop"], axis=0)
    at = int(np.argmax(curve >= target))
    expected = 8 + 2 * (at - 1 + (target - curve[at - 1]) / (curve[at] - curve[at - 1]))
    assert row_of(results, "label_prop")["masks for 95 % of full_sup"] == f"{expected:.1f}"
    assert row_of(results, "mc_dropout")["masks for 95 % of full_sup"] == "more than 18"
    assert row_of(make_study(full_sup=False), "label_prop")["masks for 95 % of full_sup"] is None


def test_efficiency_is_that_of_the_exponential_the_curve_is_made_of() -> None:
    results = [make_result("random", 0, 6), make_result("full_sup", 0, masks=[50])]
    results[1]["rounds"][0]["dice"] = 0.9
    for row in results[0]["rounds"]:
        megapixels = (row["pixels"] - results[0]["rounds"][0]["pixels"]) / 1e6
        row["dice"] = 0.9 - 0.5 * np.exp(-4.0 * megapixels)
    assert row_of(results, "random")["foreground efficiency"] == "4"


def test_ranks_are_within_seeds() -> None:
    results = make_study(seeds=3, full_sup=False)
    columns, rows = methods_table(study_curves(results))
    names = [row[0] for row in rows]
    values = [
        [
            np.trapezoid([row["dice"] for row in r["rounds"]])
            for name in names
            for r in results
            if r["method"] == name and r["seed"] == seed
        ]
        for seed in range(3)
    ]
    means = np.mean([rankdata(-np.array(one)) for one in values], axis=0)
    shown = [float(row[columns.index("mean rank")].split(" (")[0]) for row in rows]
    assert shown == pytest.approx(means, abs=0.0501)


def test_dice_stands_below_the_number_of_masks_it_was_measured_at() -> None:
    columns, rows = dice_table(
        study_curves([make_result("random", 0, masks=[8, 10]), make_result("entropy", 0, masks=[8, 12])])
    )
    assert columns == ["method", "8 masks", "10 masks", "12 masks"]
    assert [[value is None for value in row[1:]] for row in rows] == [[False, False, True], [False, True, False]]


def test_penalties_need_seeds_and_count_rounds() -> None:
    assert penalties(study_curves(make_study(seeds=2))) is None
    assert penalties(study_curves([make_result("random", seed) for seed in range(5)])) is None
    results = [make_result("random", seed) for seed in range(5)]
    for result in [make_result("random", seed) for seed in range(5)]:
        rows = [{**row, "dice": row["dice"] + (0.1 if row["round"] < 3 else 0.0)} for row in result["rounds"]]
        results.append({**result, "method": "ahead", "rounds": rows})
    found = penalties(study_curves(results))
    assert found is not None and found["names"] == ["random", "ahead"]
    assert found["matrix"] == [[None, 0.0], [0.5, None]] and found["wins"] == [0.0, 0.5] == found["losses"][::-1]


def test_one_round_and_one_seed_make_a_row() -> None:
    row = row_of([make_result("random", 0, 1)], "random")
    assert row["masks"] == "8" and "±" not in row["Dice, last"]
    assert row["AUBC"] is row["AUC as published"] is row["Dice, first"] is row["mean rank"] is None
