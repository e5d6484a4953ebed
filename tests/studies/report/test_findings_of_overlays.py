from __future__ import annotations

from typing import Any

import pytest

from scripts.studies.report.findings import Family, findings
from scripts.studies.report.method_curves import study_curves
from tests.support.study_results import make_result

BASES: dict[str, dict[str, Any]] = {
    "random": {},
    "random_equal_steps": {},
    "entropy": {},
    "label_prop": {"pseudo": True},
    "label_prop_lambda_0": {"pseudo": True, "overrides": {"scale_seg_u": 0.0}},
}
DROPOUT = {"network_def#dropout": 0.2}


def with_overlay(gain: float = 0.05, seeds: int = 5, without: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Methods that are all alike, each with an overlay besides that is better by ``gain``."""
    return [
        make_result(method + overlay, seed, gain=gain if overlay else 0.0, **settings)
        for method, settings in BASES.items()
        for overlay in ("", "+big")
        if method + overlay not in without
        for seed in range(seeds)
    ]


def told(family: Family) -> list[str]:
    return [*family.better, *family.worse, *family.not_shown]


def pairs(family: Family) -> set[tuple[str, str]]:
    found = (text.split(":")[0].replace(" below ", " over ").split(" over ") for text in told(family))
    return {(one[0], one[1]) for one in found}


def test_what_an_overlay_does_to_all_methods_is_no_merit_of_any() -> None:
    controls, random, overlays = findings(study_curves(with_overlay()))
    for family in (controls, random):
        assert not family.better and not family.worse and not family.notes
    assert len(overlays.better) == len(told(overlays)) == 2 * len(BASES) and not overlays.notes
    assert overlays.title == "Overlays against the config as it is"


def test_methods_meet_references_of_the_same_overlay() -> None:
    controls, random, overlays = findings(study_curves(with_overlay()))
    both = ("", "+big")
    assert pairs(controls) == {
        (f"label_prop{o}", f"{name}{o}") for name in ("random_equal_steps", "label_prop_lambda_0") for o in both
    }
    assert pairs(random) == {(f"{name}{o}", f"random{o}") for name in BASES if name != "random" for o in both}
    assert pairs(overlays) == {(f"{name}+big", name) for name in BASES}


def test_families_are_adjusted_apart() -> None:
    results = with_overlay()
    alone = [result for result in results if not result["method"].endswith("+big")]
    more = [*alone, *[make_result("random+big", seed, gain=0.05) for seed in range(5)]]
    without, along = findings(study_curves(alone)), findings(study_curves(more))
    assert len(along) == 3 and without == along[:2]


def test_controls_that_an_overlay_lacks_are_named() -> None:
    gone = ("random+big", "random_equal_steps+big", "label_prop_lambda_0+big", "entropy")
    controls, random, overlays = findings(study_curves(with_overlay(without=gone)))
    assert controls.notes == (
        "label_prop+big has no lambda-0 control with the overlay big here: "
        "whether its pseudo-masks do it is not tested.",
        "label_prop+big: random_equal_steps+big was not run, so the effect of more steps is not told apart.",
    )
    assert random.notes == ("random+big was not run; not compared with it: label_prop+big, entropy+big.",)
    assert overlays.notes == ("entropy was not run; not compared with it: entropy+big.",)
    assert all("+big" not in text for family in (controls, random) for text in told(family))


def test_overlays_are_compared_on_the_same_test_images_only() -> None:
    results = with_overlay(without=tuple(f"{name}+big" for name in BASES if name not in ("random", "entropy")))
    for result in results:
        if result["method"] == "entropy+big":
            result["test_dice"] = [{f"other_{key}": value for key, value in one.items()} for one in result["test_dice"]]
    _, random, overlays = findings(study_curves(results))
    assert overlays.notes == ("entropy+big and entropy do not have the same test images: not compared.",)
    assert pairs(overlays) == {("random+big", "random")}
    assert ("entropy+big", "random+big") in pairs(random)


def test_overlays_are_not_compared_where_results_do_not_tell_the_images() -> None:
    results = [{**make_result(name, 0), "test_dice": []} for name in ("random", "random+big")]
    random, overlays = findings(study_curves(results))
    assert random.notes == ("Only random was run.",)
    assert not told(overlays)
    assert overlays.notes == ("random+big and random: their results do not tell the test images: not compared.",)


def test_methods_trained_with_another_dropout_are_named() -> None:
    results = [make_result(name, 0) for name in ("random", "entropy")]
    results += [make_result(name, 0, overrides=DROPOUT) for name in ("bald", "mc_dropout")]
    (family,) = findings(study_curves(results))
    assert family.notes == (
        "mc_dropout, bald: trained with dropout 0.2, so the difference is of query and training together.",
    )


@pytest.mark.parametrize(("trained", "notes"), [(0.0, 1), (0.2, 0)])
def test_dropout_that_all_are_trained_with_is_no_difference(trained: float, notes: int) -> None:
    results = [make_result("random", 0), make_result("bald", 0, overrides=DROPOUT)]
    for result in results:
        result["settings"]["network_def"] = {"dropout": trained}
    (family,) = findings(study_curves(results))
    assert len(family.notes) == notes
