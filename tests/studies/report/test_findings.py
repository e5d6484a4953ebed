from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_rel

from scripts.studies.report.findings import findings
from scripts.studies.report.method_curves import study_curves
from tests.support.study_results import make_result, make_study


def holm_by_hand(p: list[float]) -> list[float]:
    order, largest, adjusted = sorted(range(len(p)), key=lambda i: p[i]), 0.0, [0.0] * len(p)
    for place, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - place) * p[i]))
        adjusted[i] = largest
    return adjusted


def test_pseudo_masks_meet_equal_steps_and_their_control_and_all_meet_random() -> None:
    controls, random = findings(study_curves(make_study()))
    told = [*controls.better, *controls.worse, *controls.not_shown]
    assert len(told) == 4 and all(text.startswith("label_prop over ") for text in told)
    assert (
        sum("random_equal_steps" in text for text in told) == sum("label_prop_lambda_0" in text for text in told) == 2
    )
    assert len([*random.better, *random.worse, *random.not_shown]) == 2 * 5
    assert controls.better == tuple(told) and not controls.notes and not controls.too_few
    assert all("full_sup" not in text for text in [*told, *random.not_shown])


def test_p_is_adjusted_over_both_quantities_and_all_methods_of_a_family() -> None:
    results = make_study(seeds=4)
    names = ["label_prop", "label_prop_lambda_0", "random_equal_steps", "entropy", "mc_dropout"]

    def per_seed(name: str) -> tuple[np.ndarray, np.ndarray]:
        curves = np.array(
            [
                [np.mean(list(one.values())) for one in result["test_dice"]]
                for result in results
                if result["method"] == name
            ]
        )
        return (curves[:, :-1] + curves[:, 1:]).mean(axis=1) / 2, curves[:, -1]

    reference = per_seed("random")
    p = [float(ttest_rel(per_seed(name)[i], reference[i]).pvalue) for name in names for i in (0, 1)]
    adjusted = holm_by_hand(p)
    family = findings(study_curves(results))[1]
    told = {text.split(":")[0] + text.split(" (")[0][-4:]: text for text in (*family.better, *family.worse)}
    held = {text for text in told.values() if text.startswith("label_prop ") and "AUBC" in text}
    assert len(held) == 1
    shown = next(iter(held))
    expected = adjusted[0]
    assert f"p {expected:.3f}" in shown or (expected < 0.001 and "p < 0.001" in shown)


def test_the_difference_told_is_that_of_the_means() -> None:
    results = make_study(seeds=3)
    last = {
        name: np.mean([r["rounds"][-1]["dice"] for r in results if r["method"] == name])
        for name in ("label_prop", "random")
    }
    family = findings(study_curves(results))[1]
    text = next(t for t in (*family.better, *family.not_shown) if t.startswith("label_prop over") and "Dice" in t)
    assert f"{last['label_prop'] - last['random']:+.3f} Dice in round 5" in text


def test_only_seeds_of_both_are_compared() -> None:
    results = [make_result("random", seed) for seed in (0, 1, 2, 3)]
    results += [make_result("entropy", seed) for seed in (2, 3, 7)]
    family = findings(study_curves(results))[0]
    assert all("2 seeds" in text for text in family.not_shown) and family.too_few


@pytest.mark.parametrize("seeds", [1, 2])
def test_nothing_is_claimed_of_few_seeds(seeds: int) -> None:
    for family in findings(study_curves(make_study(seeds))):
        assert not family.better and not family.worse and family.too_few
        assert all("too few seeds" in text for text in family.not_shown)


def test_what_was_not_run_is_told() -> None:
    controls, random = findings(study_curves([make_result("label_prop", 0, pseudo=True)]))
    assert len(controls.notes) == 2 and "lambda-0" in controls.notes[0] and "random_equal_steps" in controls.notes[1]
    assert random.notes == ("random was not run; not compared with it: label_prop.",)
    (none,) = findings(study_curves([]))
    assert none.notes == ("random was not run.",)
    (only,) = findings(study_curves([make_result("random", 0)]))
    assert only.notes == ("Only random was run.",)


@pytest.mark.parametrize("kept", [0, 1])
def test_results_without_single_images_are_compared_by_their_means(kept: int) -> None:
    results = [make_result(name, seed) for name in ("random", "entropy") for seed in range(3)]
    told = findings(study_curves(results))[0]
    means = [{**result, "test_dice": result["test_dice"][:kept]} for result in results]
    (family,) = findings(study_curves(means))

    def size(text: str) -> float:
        return float(text.split(": ")[1].split()[0])

    with_images, without = ([*f.better, *f.worse, *f.not_shown] for f in (told, family))
    assert sorted(map(size, without)) == pytest.approx(sorted(map(size, with_images)), abs=0.0011)
    assert all("over seeds," in text for text in without) and len(without) == 2


def test_methods_without_a_seed_in_common_are_not_compared() -> None:
    (family,) = findings(study_curves([make_result("random", 0), make_result("entropy", 1)]))
    assert "share no seed" in family.notes[0] and not family.not_shown


def test_a_reference_of_one_round_is_told() -> None:
    (family,) = findings(study_curves([make_result("random", 0, 1), make_result("entropy", 0, 3)]))
    assert family.notes == ("random has one round only; not compared with it: entropy.",)
