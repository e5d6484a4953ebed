"""Plans of many kinds of data; the rules must give what is known to work where that is known."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from scripts.data.planning.plan import WORKING_AREA, Fingerprint, Speed, plan_of, seconds_of, within, working_size
from tests.support.plans import KINDS, PAGE, page
from tests.support.tiny_runs import CONFIGS

GLAS = Fingerprint({"benign": 29, "malignant": 38}, (522, 775), (430, 567), (522, 775), 111.2, has_patients=True)
DEMO = Fingerprint({"benign": 12, "malignant": 12}, (192, 256), (192, 256), (192, 256), 27.9)
SPEED = Speed(stage0_step=0.5, step=0.1, image=0.05)


def values(found: Fingerprint) -> dict[str, Any]:
    return {choice.key: choice.value for choice in plan_of(found) if choice.is_set}


def proposals(found: Fingerprint) -> dict[str, Any]:
    return {choice.key: choice.value for choice in plan_of(found) if not choice.is_set}


def config(name: str) -> dict[str, Any]:
    return json.loads((CONFIGS / name).read_text())


def test_glas_is_planned_as_its_overlay_has_it() -> None:
    base, overlay = config("train.json"), config("glas.json")
    planned = values(GLAS)
    for key in ("image_size", "max_epochs", "active#rounds", "active#initial_per_class"):
        assert planned[key] == overlay[key], key
    assert planned["active#stage0#overrides#epoch_length"] == overlay["active#stage0#overrides#epoch_length"]
    assert (planned["batch_size"], planned["epoch_length"]) == (base["batch_size"], base["epoch_length"])
    assert planned["active#query_per_class"] == base["active"]["query_per_class"]


def test_the_demo_is_planned_as_the_whole_config_has_it() -> None:
    base, planned = config("train.json"), values(DEMO)
    for key in ("num_classes", "image_size", "batch_size", "max_epochs", "epoch_length"):
        assert planned[key] == base[key], key
    for key in ("rounds", "initial_per_class", "query_per_class"):
        assert planned[f"active#{key}"] == base["active"][key], key


def test_every_choice_has_a_reason_and_an_id_of_the_config() -> None:
    base = config("train.json")
    for choice in plan_of(replace(GLAS, empty_classes=("benign",), rule="nonzero", has_split=False)):
        assert len(choice.reason) > 10
        owner: Any = base
        for part in choice.key.split("#"):
            assert part in owner, choice.key
            owner = owner[part]


class TestSize:
    @pytest.mark.parametrize("native", [(64, 64), (192, 256), (256, 384), (100, 900), (7, 5)])
    def test_small_images_keep_their_own(self, native: tuple[int, int]) -> None:
        size, _ = working_size(native, None)
        for side, own in zip(size, native, strict=True):
            assert side % 32 == 0
            assert side == max(64, 32 * round(own / 32))

    @pytest.mark.parametrize("native", [(522, 775), (1000, 1000), (3000, 2000), (4000, 6000)])
    def test_large_ones_come_near_the_published_area_in_their_shape(self, native: tuple[int, int]) -> None:
        (height, width), _ = working_size(native, 1000.0)
        assert 0.85 * WORKING_AREA < height * width < 1.15 * WORKING_AREA
        assert height / width == pytest.approx(native[0] / native[1], rel=0.15)

    def test_small_objects_get_more_pixels_up_to_a_bound(self) -> None:
        plain, _ = working_size((1000, 1000), 60.0)
        larger, why = working_size((1000, 1000), 25.0)
        assert larger[0] > plain[0]
        assert larger[0] / 1000 * 25 == pytest.approx(12, abs=0.5)
        assert "objects of 25 pixels" in why
        tiny, why = working_size((4000, 4000), 8.0)
        assert tiny[0] * tiny[1] <= 4.5 * WORKING_AREA
        assert "cut the images into tiles" in why

    def test_images_are_never_enlarged_for_their_objects(self) -> None:
        assert working_size((128, 128), 4.0)[0] == (128, 128)


class TestMasks:
    def test_many_classes_begin_with_one_mask_each(self) -> None:
        planned = values(replace(GLAS, images={f"class_{i}": 20 for i in range(50)}))
        assert (planned["active#initial_per_class"], planned["num_classes"]) == (1, 50)

    def test_a_class_of_few_images_is_not_asked_for_more(self) -> None:
        assert values(replace(GLAS, images={"rare": 1, "common": 90}))["active#initial_per_class"] == 1

    def test_classes_without_foreground_are_proposed_and_not_counted(self) -> None:
        found = replace(GLAS, images={"normal": 200, "lesion": 20}, empty_classes=("normal",))
        assert proposals(found)["data#background_classes"] == ["normal"]
        assert "data#background_classes" not in values(found)
        assert values(found)["active#initial_per_class"] == 2  # of 20, not of 220

    @pytest.mark.parametrize("count", [2, 5, 20, 30, 33, 1000, 50_000])
    def test_rounds_and_steps_stay_within_bounds(self, count: int) -> None:
        planned = values(replace(GLAS, images={"a": count, "b": count}))
        assert 3 <= planned["active#rounds"] <= 11
        assert 80 <= planned["max_epochs"] * planned["epoch_length"] <= 400
        assert planned["max_epochs"] % config("train.json")["val_interval"] == 0  # the last epoch may be kept, too
        assert 6 <= planned["active#stage0#overrides#epoch_length"] <= 100


class TestProposals:
    def test_patients_stay_together_where_splits_are_drawn(self) -> None:
        assert "data#group_by_patient" not in values(GLAS)
        assert values(replace(GLAS, has_split=False))["data#group_by_patient"] is True
        assert "data#group_by_patient" not in values(replace(GLAS, has_split=False, has_patients=False))

    def test_rules_and_shapes_are_for_a_person_to_decide(self) -> None:
        odd = replace(GLAS, rule="--mask_rule#foreground over:1.5", smallest=(400, 400), largest=(400, 1200))
        assert proposals(odd) == {"mask_rule": "--mask_rule#foreground over:1.5", "image_size": None}
        assert proposals(GLAS) == {}


class TestTime:
    def test_is_the_sum_of_what_a_run_does(self) -> None:
        seconds = seconds_of(plan_of(GLAS), GLAS, SPEED, evaluated=98)
        assert seconds["stage0"] == pytest.approx(10 * 9 * 0.5)
        images = 67 + 98 + 10 * 98 / 2
        assert seconds["round"] == pytest.approx(2 * 200 * 0.1 + images * 0.05)
        assert seconds["all"] == pytest.approx(seconds["stage0"] + 11 * seconds["round"])

    def test_a_budget_takes_rounds_first_and_steps_then(self) -> None:
        whole = plan_of(GLAS)
        full = seconds_of(whole, GLAS, SPEED, 98)["all"]
        assert within(whole, GLAS, SPEED, 98, full) == whole
        fewer = {choice.key: choice.value for choice in within(whole, GLAS, SPEED, 98, full / 2)}
        assert 3 < fewer["active#rounds"] < 11
        assert fewer["max_epochs"] == 10
        shorter = within(whole, GLAS, SPEED, 98, full / 5)
        least = {choice.key: choice.value for choice in shorter}
        assert least["active#rounds"] == 3
        assert 4 <= least["max_epochs"] < 10
        assert seconds_of(shorter, GLAS, SPEED, 98)["all"] <= full / 5

    def test_what_says_nothing_is_not_planned(self) -> None:
        least = {choice.key: choice.value for choice in within(plan_of(GLAS), GLAS, SPEED, 98, 1.0)}
        assert (least["active#rounds"], least["max_epochs"]) == (3, 4)


def test_the_page_of_plans_is_what_is_planned() -> None:
    assert PAGE.read_text() == page(), "run python -m tests.support.plans"
    planned = [values(found) for _, found in KINDS.values()]
    assert len(planned) == 8
    assert len({json.dumps(each) for each in planned}) == 8
