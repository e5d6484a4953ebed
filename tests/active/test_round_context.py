from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scripts.active.methods import Method
from scripts.active.oracles import SimulatedOracle
from scripts.active.propagation import NearestNeighbours
from scripts.active.round_context import RoundContext, Run
from scripts.active.run_record import RunSettings
from scripts.images.png import mask_to_png
from scripts.networks.weights import pack_weights
from scripts.state.rows import LabelRow, PseudoRow
from scripts.state.run_state import RunState
from scripts.training.losses import LABELLED, PSEUDO
from tests.support.tiny_runs import FakeLearner, fake_theta0

ONES, ZEROS = np.ones((64, 64), dtype=np.uint8), np.zeros((64, 64), dtype=np.uint8)


def open_run(state: RunState, data: Any, method: Method, **changes: Any) -> Run:
    items = [{**item, "sha256": data.datalist.image_sha256[item["id"]]} for item in data.datalist.items]
    state.register_run({}, (), items, data.datalist.sha256)
    learner = FakeLearner(None, data, None, fake_theta0())
    values = {"rounds": 2, "initial_per_class": 1, "query_per_class": 1, "seed": 0, **changes}
    settings = RunSettings("method", str(state.run_dir.parent), **values)
    return Run(state, data, learner, method, SimulatedOracle(data), settings)  # type: ignore[arg-type]


@pytest.fixture()
def state(tmp_path: Path) -> Iterator[RunState]:
    with RunState.open(tmp_path / "run") as opened:
        yield opened


@pytest.fixture()
def run(state: RunState, shapes_data: Any) -> Run:
    return open_run(state, shapes_data, Method(cycles=2, propagation=NearestNeighbours(40)))


def label(state: RunState, round_: int, *ids: str) -> None:
    blob = state.put_blob(mask_to_png(ONES), ".png")
    state.commit(round_, "oracle", labels=[LabelRow(key, round_, blob, 1, 1, 0.0) for key in ids])


def pseudo(state: RunState, round_: int, stage: str, donors: dict[str, str]) -> None:
    blob = state.put_blob(mask_to_png(ZEROS), ".png")
    rows = [PseudoRow(key, round_, stage, donor, 0.5, 0.4, blob) for key, donor in donors.items()]
    state.commit(round_, f"pseudo {stage}", pseudo=rows)


class TestRun:
    def test_ids_and_classes_follow_the_data_list(self, run: Run) -> None:
        assert run.train_ids == [f"train_{i:02d}" for i in range(12)]
        assert (run.class_of["train_00"], run.class_of["train_01"], run.class_of["test_03"]) == ("a", "b", "b")

    def test_graph_holds_training_images_of_one_class_per_row(self, run: Run) -> None:
        assert sorted(run.graph.ids) == run.train_ids
        for row, key in enumerate(run.graph.ids):
            near = [run.graph.ids[i] for i in run.graph.neighbours[row] if i >= 0]
            assert {run.class_of[other] for other in near} == {run.class_of[key]}
            assert key not in near


class TestSets:
    def test_labelled_of_a_round_knows_nothing_of_later_ones(self, run: Run) -> None:
        label(run.state, 0, "train_02", "train_01")
        label(run.state, 1, "train_05")
        assert RoundContext(run, 0).labelled() == ["train_02", "train_01"]
        assert RoundContext(run, 1).labelled() == ["train_02", "train_01", "train_05"]
        assert RoundContext(run, -1).labelled() == []
        assert RoundContext(run, 1).unlabelled() == [
            key for key in run.train_ids if key not in ("train_02", "train_01", "train_05")
        ]
        assert RoundContext(run, 1).previous().index == 0

    def test_no_donors_without_propagation(self, state: RunState, shapes_data: Any) -> None:
        run = open_run(state, shapes_data, Method())
        label(state, 0, "train_00")
        assert RoundContext(run, 0).donors() == {}

    def test_donors_are_the_nearest_labelled_of_the_class(self, run: Run) -> None:
        label(run.state, 0, "train_00", "train_02", "train_01")
        donors = RoundContext(run, 0).donors()
        assert set(donors) == {f"train_{i:02d}" for i in range(3, 12)}
        for key, donor in donors.items():
            row = run.graph.ids.index(key)
            near = [run.graph.ids[i] for i in run.graph.neighbours[row] if i >= 0]
            assert donor.id == next(other for other in near if other in ("train_00", "train_01", "train_02"))

    def test_old_pairs_stay_and_queried_images_leave(self, state: RunState, shapes_data: Any) -> None:
        run = open_run(state, shapes_data, Method(cycles=2, propagation=NearestNeighbours(1)))
        label(state, 0, "train_00")
        pseudo(state, 0, "final", {"train_05": "train_00", "train_07": "train_00"})  # pairs k = 1 would not find
        label(state, 1, "train_07")
        donors = RoundContext(run, 1).donors()
        assert donors["train_05"].id in ("train_00", "train_07")
        assert "train_07" not in donors
        assert "train_00" not in donors


class TestTrainingItems:
    def test_oracle_masks_always_win(self, run: Run) -> None:
        label(run.state, 0, "train_00", "train_01")
        pseudo(run.state, 0, "final", {"train_02": "train_00", "train_03": "train_01"})
        label(run.state, 1, "train_03")
        items = RoundContext(run, 1).training_items(0, "final")
        assert {item["id"]: item["kind"] for item in items} == {
            "train_00": LABELLED, "train_01": LABELLED, "train_02": PSEUDO, "train_03": LABELLED,
        }  # fmt: skip
        masks = {item["id"]: item["mask"] for item in items}
        np.testing.assert_array_equal(masks["train_03"], ONES)
        np.testing.assert_array_equal(masks["train_02"], ZEROS)

    def test_order_is_that_of_the_data_list(self, run: Run) -> None:
        label(run.state, 0, "train_09", "train_01")
        pseudo(run.state, 0, "cycle0", {"train_04": "train_01"})
        assert [i["id"] for i in RoundContext(run, 0).training_items(0, "cycle0")] == [
            "train_01", "train_04", "train_09",
        ]  # fmt: skip

    def test_the_newest_version_of_a_mask_is_taken(self, run: Run) -> None:
        label(run.state, 0, "train_00")
        blob = run.state.put_blob(mask_to_png(ZEROS), ".png")
        run.state.commit(1, "oracle", labels=[LabelRow("train_00", 1, blob, 1, 1, 0.0)])
        assert RoundContext(run, 0).training_items(-1, "final")[0]["mask"].max() == 1
        assert RoundContext(run, 1).training_items(-1, "final")[0]["mask"].max() == 0


class TestWeights:
    def store(self, run: Run, cycle: int, metric: float, value: float) -> None:
        blob = run.state.put_blob(pack_weights({"w": torch.tensor(value)}, run.learner.theta0.weights), ".pt")
        run.state.commit(
            0, f"cycle{cycle}", artifacts={f"weights_cycle{cycle}": blob}, metrics={f"selection_cycle{cycle}": metric}
        )

    def value(self, run: Run, **arguments: int) -> float:
        return float(RoundContext(run, 0).weights(**arguments)["w"])

    def test_theta0_before_any_training(self, run: Run) -> None:
        assert self.value(run) == 0.0

    @pytest.mark.parametrize(("metrics", "best"), [((0.7, 0.6), 1.0), ((0.6, 0.7), 2.0), ((0.7, 0.7), 2.0)])
    def test_best_validation_of_both_cycles_later_of_ties(
        self, run: Run, metrics: tuple[float, float], best: float
    ) -> None:
        self.store(run, 0, metrics[0], 1.0)
        self.store(run, 1, metrics[1], 2.0)
        assert self.value(run) == best
        assert self.value(run, upto_cycle=0) == 1.0
