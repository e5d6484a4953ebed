"""Each handler alone, on a bare Ignite engine that fires nothing but its event."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ignite.engine import Engine, Events

from scripts.active.handlers import (
    CycleHandler,
    EvaluateHandler,
    OracleHandler,
    PhaseHandler,
    PseudoLabelHandler,
    QueryHandler,
    RoundEvents,
)
from scripts.active.methods import Method
from scripts.active.oracles import SimulatedOracle
from scripts.active.propagation import NearestNeighbours
from scripts.active.pseudo.by_confidence import Confident, soft
from scripts.active.pseudo.chain import PseudoCase
from scripts.active.round_context import RoundContext, Run
from scripts.active.strategies.at_random import random_order
from scripts.active.strategies.by_score import highest_score
from scripts.active.strategies.per_class import initial_query
from scripts.active.strategies.pool import Pool
from scripts.core.errors import InputError
from scripts.core.run_names import Stage
from scripts.images.png import png_to_mask
from scripts.images.regions import mask_cost
from scripts.images.targets import PixelTarget
from scripts.networks.outputs import pseudo_mask
from scripts.report.curve import curve_rows
from scripts.state.run_state import RunState
from scripts.training.losses import LABELLED, PSEUDO
from tests.active.test_round_context import label, open_run, pseudo
from tests.support.tiny_runs import make_images, open_tiny

LABEL_PROP = Method(cycles=2, propagation=NearestNeighbours(40))
ENTROPY = Method(strategy=highest_score, score=lambda maps: maps.probs)


@pytest.fixture()
def state(tmp_path: Path) -> Iterator[RunState]:
    with RunState.open(tmp_path / "run") as opened:
        yield opened


def fire(handler: PhaseHandler, run: Run, index: int) -> None:
    """Run one handler alone."""
    engine = Engine(lambda engine, _: engine.fire_event(handler.event))
    engine.register_events(*RoundEvents)
    engine.add_event_handler(Events.STARTED, lambda engine: setattr(engine.state, "round", RoundContext(run, index)))
    handler.attach(engine)
    engine.run([None], max_epochs=1)


def asked(run: Run, index: int) -> list[str]:
    return [row.id for row in run.state.queries(index)]


class TestPhaseHandler:
    def test_a_phase_that_is_done_is_skipped(self, state: RunState, shapes_data: Any) -> None:
        run = open_run(state, shapes_data, Method())
        fire(QueryHandler(), run, 0)
        before = asked(run, 0)
        run.settings = replace(run.settings, initial_per_class=5)
        fire(QueryHandler(), run, 0)
        assert asked(run, 0) == before
        assert state.phases(0) == ["query"]
        assert state.seconds(0)["query"] > 0

    def test_a_phase_that_fails_leaves_nothing(self, state: RunState, shapes_data: Any) -> None:
        class Failing(OracleHandler):
            def run(self, context: RoundContext) -> dict[str, Any]:
                super().run(context)
                raise RuntimeError("power cut")

        run = open_run(state, shapes_data, Method())
        fire(QueryHandler(), run, 0)
        with pytest.raises(RuntimeError, match="power cut"):
            fire(Failing(), run, 0)
        assert state.phases(0) == ["query"]
        assert state.labels() == []


class TestQueryHandler:
    def test_initial_draw_is_a_function_of_the_seed(self, state: RunState, shapes_data: Any) -> None:
        import random

        run = open_run(state, shapes_data, LABEL_PROP, seed=3, initial_per_class=2)
        fire(QueryHandler(), run, 0)
        assert asked(run, 0) == initial_query(
            random_order, Pool([], run.train_ids), run.class_of, random.Random(3), n_per_class=2
        )
        assert sorted(run.class_of[key] for key in asked(run, 0)) == ["a", "a", "b", "b"]
        assert [row.score for row in state.queries(0)] == [None] * 4

    def test_later_rounds_take_the_quota_of_each_class_from_the_unlabelled(
        self, state: RunState, shapes_data: Any
    ) -> None:
        run = open_run(state, shapes_data, Method(), query_per_class=2)
        label(state, 0, "train_00", "train_01")
        fire(QueryHandler(), run, 1)
        assert [run.class_of[key] for key in asked(run, 1)] == ["a", "a", "b", "b"]
        assert not {"train_00", "train_01"} & set(asked(run, 1))

    def test_highest_scores_are_asked_for_and_kept(self, state: RunState, shapes_data: Any) -> None:
        run = open_run(state, shapes_data, ENTROPY, query_per_class=2)
        label(state, 0, "train_00", "train_01")
        fire(QueryHandler(), run, 1)
        scores = run.learner.score([k for k in run.train_ids if k not in ("train_00", "train_01")], {"w": 0}, 0, 0, 1)
        for name, found in (("a", asked(run, 1)[:2]), ("b", asked(run, 1)[2:])):
            members = [key for key in scores if run.class_of[key] == name]
            assert found == sorted(members, key=lambda key: (-scores[key], key))[:2]
        assert {row.id: row.score for row in state.queries(1)} == {k: float(scores[k][0]) for k in asked(run, 1)}

    def test_scores_come_from_the_best_model_of_the_round_before(self, state: RunState, shapes_data: Any) -> None:
        run = open_run(state, shapes_data, ENTROPY)
        label(state, 0, "train_00", "train_01")
        fire(CycleHandler(0), run, 0)
        best = float(RoundContext(run, 0).weights()["w"])
        fire(QueryHandler(), run, 1)
        assert {value for _, value in run.learner.scored} == {best} != {0.0}

    def test_images_without_mask_are_never_asked_for(self, state: RunState, tmp_path: Path) -> None:
        dumb = {f"train_{i:02d}" for i in range(0, 12, 2) if i != 4}
        run = open_run(state, open_tiny(make_images(tmp_path / "d", without_mask=dumb)), Method(), initial_per_class=3)
        fire(QueryHandler(), run, 0)
        assert sorted(run.class_of[key] for key in asked(run, 0)) == ["a", "b", "b", "b"]
        assert "train_04" in asked(run, 0)

    def test_images_with_pseudo_masks_wait_while_others_are_left(self, state: RunState, shapes_data: Any) -> None:
        run = open_run(state, shapes_data, LABEL_PROP, query_per_class=1)
        label(state, 0, "train_00", "train_01")
        pseudo(state, 0, "final", {f"train_{i:02d}": "train_00" for i in range(2, 10)})
        fire(QueryHandler(), run, 1)
        assert set(asked(run, 1)) == {"train_10", "train_11"}
        run.settings = replace(run.settings, protect_pseudo=False, query_per_class=6)
        fire(QueryHandler(), run, 2)
        assert set(asked(run, 2)) == {f"train_{i:02d}" for i in range(2, 12)}

    def test_a_round_is_as_large_as_asked_whatever_has_a_pseudo_mask(self, state: RunState, shapes_data: Any) -> None:
        run = open_run(state, shapes_data, LABEL_PROP, query_per_class=2)
        label(state, 0, "train_00", "train_01")
        pseudo(state, 0, "final", {f"train_{i:02d}": "train_00" for i in range(2, 9)})
        fire(QueryHandler(), run, 1)
        found = asked(run, 1)
        assert sorted(run.class_of[key] for key in found) == ["a", "a", "b", "b"]
        assert found[0] == "train_10"  # alone of its class without a pseudo-mask, so it comes first
        assert set(found[2:]) == {"train_09", "train_11"}

    def test_budget_is_never_exceeded(self, state: RunState, shapes_data: Any) -> None:
        run = open_run(state, shapes_data, Method(), initial_per_class=2, query_per_class=2, budget=5)
        fire(QueryHandler(), run, 0)
        fire(OracleHandler(), run, 0)
        fire(QueryHandler(), run, 1)
        fire(OracleHandler(), run, 1)
        assert len(state.labelled()) == 5
        fire(QueryHandler(), run, 2)
        assert state.phases(2) == []
        run.settings = replace(run.settings, budget=6)
        fire(QueryHandler(), run, 2)
        assert len(asked(run, 2)) == 1

    def test_nothing_happens_when_the_pool_is_empty(self, state: RunState, shapes_data: Any) -> None:
        run = open_run(state, shapes_data, Method())
        label(state, 0, *run.train_ids)
        fire(QueryHandler(), run, 1)
        assert state.phases(1) == []

    def test_label_all_asks_for_every_mask_and_once(self, state: RunState, shapes_data: Any) -> None:
        run = open_run(state, shapes_data, Method(label_all=True), budget=3)
        fire(QueryHandler(), run, 0)
        fire(OracleHandler(), run, 0)
        assert asked(run, 0) == run.train_ids
        fire(QueryHandler(), run, 1)
        assert state.phases(1) == []

    def test_no_masks_without_segmentation_training(self, state: RunState, shapes_data: Any) -> None:
        run = open_run(state, shapes_data, Method(cycles=0))
        fire(QueryHandler(), run, 0)
        assert (state.phases(0), asked(run, 0)) == (["query"], [])


class TestOracleHandler:
    def test_stores_the_masks_with_their_cost(self, state: RunState, shapes_data: Any) -> None:
        run = open_run(state, shapes_data, Method(), initial_per_class=2)
        run.oracle.seconds_per_mask = 60.0  # type: ignore[attr-defined]
        fire(QueryHandler(), run, 0)
        fire(OracleHandler(), run, 0)
        assert list(state.labelled(0)) == asked(run, 0)
        for row in state.labels():
            truth = shapes_data.store.true_mask(row.id)
            np.testing.assert_array_equal(png_to_mask(state.read_blob(row.blob)), truth)
            assert (row.round, row.cost_px, row.seconds, row.user) == (0, int(truth.sum()), 60.0, "simulated")
            assert 0 < row.boundary_px < row.cost_px


class TestCycleHandler:
    def test_cycle_0_learns_from_last_rounds_pseudo_masks(self, state: RunState, shapes_data: Any) -> None:
        run = open_run(state, shapes_data, LABEL_PROP)
        label(state, 0, "train_00", "train_01")
        pseudo(state, 0, "cycle0", {"train_02": "train_00"})
        pseudo(state, 0, "final", {"train_03": "train_01"})
        label(state, 1, "train_04")
        pseudo(state, 1, "cycle0", {"train_05": "train_01"})
        fire(CycleHandler(0), run, 1)
        fire(CycleHandler(1), run, 1)
        first, second = run.learner.calls  # type: ignore[attr-defined]
        known = {"train_00": LABELLED, "train_01": LABELLED, "train_04": LABELLED}
        assert (first.purpose, first.kinds) == ((1, 0), {**known, "train_03": PSEUDO})
        assert (second.purpose, second.kinds) == ((1, 1), {**known, "train_05": PSEUDO})
        assert (first.theta, second.theta) == (0.0, 0.0)
        assert state.phases(1)[-2:] == ["cycle0", "cycle1"]
        assert set(state.metrics(1)[1]) == {"selection_cycle0", "selection_cycle1"}

    @pytest.mark.parametrize("cycles", [0, 1])
    def test_cycles_that_the_method_does_not_have(self, state: RunState, shapes_data: Any, cycles: int) -> None:
        run = open_run(state, shapes_data, Method(cycles=cycles))
        label(state, 0, "train_00")
        fire(CycleHandler(cycles), run, 0)
        assert (state.phases(0), run.learner.calls) == (["oracle"], [])  # type: ignore[attr-defined]

    def test_no_training_without_masks(self, state: RunState, shapes_data: Any) -> None:
        run = open_run(state, shapes_data, Method())
        fire(CycleHandler(0), run, 0)
        assert state.phases(0) == []


def test_a_warm_second_training_begins_with_the_weights_of_the_first(state: RunState, shapes_data: Any) -> None:
    run = open_run(state, shapes_data, replace(LABEL_PROP, warm=True))
    label(state, 0, "train_00", "train_01")
    for handler in (CycleHandler(0), PseudoLabelHandler("cycle0"), CycleHandler(1)):
        fire(handler, run, 0)
    first, second = run.learner.calls  # type: ignore[attr-defined]
    assert (first.theta, second.theta) == (0.0, float(RoundContext(run, 0).weights(upto_cycle=0)["w"]))
    with pytest.raises(InputError, match="no second training"):
        Method(warm=True)


class TestPseudoLabelHandler:
    def prepared(self, state: RunState, data: Any, metrics: tuple[float, float] = (0.6, 0.5)) -> Run:
        run = open_run(state, data, LABEL_PROP)
        run.learner.metric = lambda purpose: metrics[purpose[1]]  # type: ignore[attr-defined]
        label(state, 0, "train_00", "train_01")
        fire(CycleHandler(0), run, 0)
        return run

    def check_masks(self, run: Run, stage: str, weights: Any, threshold: float) -> None:
        rows = run.state.pseudo(0, stage)
        probs = {p.id: p.probs for p in run.learner.predict([row.id for row in rows], weights)}
        for row in rows:
            found = png_to_mask(run.state.read_blob(row.blob))
            np.testing.assert_array_equal(found, pseudo_mask(probs[row.id], threshold))
            assert row.threshold == threshold

    def test_mid_round_uses_cycle_0_and_its_own_threshold(self, state: RunState, shapes_data: Any) -> None:
        run = self.prepared(state, shapes_data)
        fire(PseudoLabelHandler("cycle0"), run, 0)
        metrics = state.metrics(0)[0]
        self.check_masks(run, "cycle0", RoundContext(run, 0).weights(upto_cycle=0), metrics["threshold_cycle0"])
        assert metrics["pseudo_n_cycle0"] == 10
        assert 0 < metrics["pseudo_dice_cycle0"] < 1

    @pytest.mark.parametrize("metrics", [(0.6, 0.5), (0.5, 0.6)])
    def test_refresh_uses_the_rounds_best_model_and_threshold(
        self, state: RunState, shapes_data: Any, metrics: tuple[float, float]
    ) -> None:
        run = self.prepared(state, shapes_data, metrics)
        for handler in (PseudoLabelHandler("cycle0"), CycleHandler(1), EvaluateHandler(), PseudoLabelHandler("final")):
            fire(handler, run, 0)
        found = state.metrics(0)[0]
        best = RoundContext(run, 0).weights()
        first = RoundContext(run, 0).weights(upto_cycle=0)
        assert (float(best["w"]) == float(first["w"])) == (metrics[0] > metrics[1])
        self.check_masks(run, "final", best, found["threshold"])
        assert {"pseudo_n", "pseudo_dice"} <= set(found)

    def test_provenance_of_each_mask(self, state: RunState, shapes_data: Any) -> None:
        run = self.prepared(state, shapes_data)
        fire(PseudoLabelHandler("cycle0"), run, 0)
        rows = state.pseudo(0, "cycle0")
        assert [row.id for row in rows] == [f"train_{i:02d}" for i in range(2, 12)]
        for row in rows:
            assert row.donor == ("train_00" if run.class_of[row.id] == "a" else "train_01")
            at, near = run.graph.ids.index(row.id), run.graph.ids.index(row.donor)
            place = list(run.graph.neighbours[at]).index(near)
            assert row.distance == pytest.approx(float(run.graph.distances[at, place]))

    def test_a_chain_makes_the_targets_that_the_next_training_gets(self, state: RunState, shapes_data: Any) -> None:
        run = self.prepared(state, shapes_data)
        run.method = replace(LABEL_PROP, chain=[soft, Confident(0.6)])
        fire(PseudoLabelHandler("cycle0"), run, 0)
        items = {item["id"]: item for item in RoundContext(run, 0).training_items(0, Stage.CYCLE_0)}
        weights = RoundContext(run, 0).weights(upto_cycle=0)
        rows = state.pseudo(0, "cycle0")
        assert len(rows) == 10
        for row, found in zip(rows, run.learner.predict([row.id for row in rows], weights), strict=True):
            target, weight = items[row.id]["mask"]
            odds = found.probs / (1 - found.probs) * (1 - row.threshold) / row.threshold
            np.testing.assert_allclose(target / 255, odds / (1 + odds), atol=0.6 / 255)
            sure = np.maximum(odds, 1 / odds) / (1 + np.maximum(odds, 1 / odds))
            clear = np.abs(sure - 0.6) > 1e-5  # rounding of the odds
            np.testing.assert_array_equal((weight > 0)[clear], (sure >= 0.6)[clear])
        assert {item["mask"].ndim for item in items.values() if item["kind"] == LABELLED} == {2}

    def test_the_chain_sees_image_and_donors_of_the_class(self, state: RunState, shapes_data: Any) -> None:
        run, seen = self.prepared(state, shapes_data), {}

        def look(case: PseudoCase, made: PixelTarget) -> tuple[np.ndarray, np.ndarray]:
            seen[case.id] = (case.image(), [donor.id for donor in case.donors()])
            return made.target, made.weight

        run.method = replace(LABEL_PROP, chain=[look])
        fire(PseudoLabelHandler("cycle0"), run, 0)
        assert len(seen) == 10
        for key, (image, donors) in seen.items():
            np.testing.assert_array_equal(image, run.data.store.original_image(key))
            assert donors == (["train_00"] if run.class_of[key] == "a" else ["train_01"])

    def test_nothing_for_methods_without_propagation(self, state: RunState, shapes_data: Any) -> None:
        run = open_run(state, shapes_data, Method())
        label(state, 0, "train_00")
        fire(PseudoLabelHandler("cycle0"), run, 0)
        fire(PseudoLabelHandler("final"), run, 0)
        assert state.phases(0) == ["oracle"]

    def test_one_cycle_with_propagation_has_no_mid_round(self, state: RunState, shapes_data: Any) -> None:
        run = open_run(state, shapes_data, Method(cycles=1, propagation=NearestNeighbours(40)))
        label(state, 0, "train_00")
        for handler in (CycleHandler(0), PseudoLabelHandler("cycle0"), EvaluateHandler(), PseudoLabelHandler("final")):
            fire(handler, run, 0)
        assert state.phases(0) == ["oracle", "cycle0", "evaluate", "refresh"]


class TestEvaluateHandler:
    def test_counts_masks_and_pixels(self, state: RunState, shapes_data: Any) -> None:
        run = open_run(state, shapes_data, Method(), initial_per_class=2)
        for handler in (QueryHandler(), OracleHandler(), CycleHandler(0), EvaluateHandler()):
            fire(handler, run, 0)
        found = state.metrics(0)[0]
        pixels = sum(int(shapes_data.store.true_mask(key).sum()) for key in asked(run, 0))
        assert (found["masks"], found["pixels"]) == (4, pixels)
        assert {"dice", "miou", "pxap", "accuracy", "threshold", "wsl_dice", "val_dice"} <= set(found)

    def test_validation_masks_cost_where_they_are_counted(self, state: RunState, shapes_data: Any) -> None:
        run = open_run(state, shapes_data, Method(), count_validation=True)
        run.oracle = SimulatedOracle(shapes_data, seconds_per_mask=30.0)
        for handler in (QueryHandler(), OracleHandler(), CycleHandler(0), EvaluateHandler()):
            fire(handler, run, 0)
        masks = [shapes_data.store.true_mask(item["id"]) for item in shapes_data.items("val")]
        (row,) = curve_rows(state)
        drawn = state.metrics(0)[0]["pixels"]
        assert (row["masks"], row["percent_masks"]) == (2 + len(masks), pytest.approx(100 * 2 / 12, abs=1e-6))
        assert row["pixels"] == drawn + sum(int(mask.sum()) for mask in masks)
        assert row["annotation_seconds"] == 30.0 * (2 + len(masks))
        outlines = [mask_cost(shapes_data.store.true_mask(key))[1] for key in asked(run, 0)]
        assert row["boundary_px"] == sum(outlines) + sum(mask_cost(mask)[1] for mask in masks)

    def test_keeps_the_dice_of_each_test_image(self, state: RunState, shapes_data: Any) -> None:
        run = open_run(state, shapes_data, Method())
        for handler in (QueryHandler(), OracleHandler(), CycleHandler(0), EvaluateHandler()):
            fire(handler, run, 0)
        each = json.loads(state.read_blob(state.artifact(0, "test_dice")))
        assert set(each) == {item["id"] for item in shapes_data.items("test")}
        assert np.mean(list(each.values())) == pytest.approx(state.metrics(0)[0]["dice"], abs=1e-12)

    def test_wsl_measures_the_masks_of_the_classifier(self, state: RunState, shapes_data: Any) -> None:
        run = open_run(state, shapes_data, Method(cycles=0))
        fire(EvaluateHandler(), run, 0)
        found = state.metrics(0)[0]
        assert found["dice"] == found["wsl_dice"]
        assert (found["masks"], found["threshold"]) == (0, 0.5)
        assert "val_dice" not in found
