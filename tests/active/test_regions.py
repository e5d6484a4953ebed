"""Queries of windows: which are chosen, what is drawn and trained on, what it costs, and that runs repeat."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import scripts.active.rounds
from scripts.active.handlers import (
    CycleHandler,
    EvaluateHandler,
    OracleHandler,
    QueryHandler,
    RoundEvents,
)
from scripts.active.methods import Method
from scripts.active.oracles import SimulatedOracle
from scripts.active.propagation import NearestNeighbours
from scripts.active.regions import Windows, best_windows
from scripts.active.round_context import RoundContext, Run
from scripts.active.rounds import default_phases
from scripts.active.scores.pixel_maps import entropy
from scripts.active.strategies.by_score import highest_score
from scripts.annotation.asked_windows import asked_windows, asks, windows_of_round
from scripts.core.errors import InputError
from scripts.images.png import mask_to_png, png_to_mask
from scripts.images.windows import Window, covered, cut_out, drawn_cost
from scripts.networks.outputs import ImageMaps
from scripts.report.curve import curve_rows
from scripts.state.reader import StateReader
from scripts.state.rows import LabelRow
from scripts.state.run_state import RunState
from scripts.training.dataset import FromStored
from scripts.training.losses import LABELLED, PSEUDO
from tests.active.test_handlers import asked, fire
from tests.active.test_round_context import label, open_run, pseudo
from tests.active.test_rounds import Bomb, Interrupt, learners
from tests.support.tiny_runs import RegionLearner, make_images, open_tiny, tiny_loop, what_happened

__all__ = ["learners"]  # a fixture

REGION = Method(strategy=highest_score, score=lambda maps: maps.probs, region=Windows())
SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))
SHARES = st.sampled_from([0.05, 0.25, 0.3, 1 / 9, 0.5, 1.0])
STRIDES = st.sampled_from([0.05, 0.125, 0.3, 1.0])


def maps_of(values: np.ndarray) -> ImageMaps:
    return ImageMaps(torch.from_numpy(values.astype(np.float32))[None])


def probs(maps: ImageMaps) -> torch.Tensor:
    return maps.probs


class TestWindows:
    @given(SIZES, SHARES, STRIDES)
    def test_grid_reaches_every_edge_and_no_further(self, size: tuple[int, int], share: float, stride: float) -> None:
        windows = Windows(share, stride).of(size)
        assert len(set(windows)) == len(windows) >= 1
        assert windows == sorted(windows, key=lambda w: (w.top, w.left))
        for axis, (first, length) in enumerate((("top", "height"), ("left", "width"))):
            starts = sorted({getattr(w, first) for w in windows})
            side = getattr(windows[0], length)
            assert {getattr(w, length) for w in windows} == {side} and side >= 1
            assert side <= max(1, size[axis] * share**0.5 + 1e-6) and side + 1 > size[axis] * share**0.5 - 1e-6
            assert (starts[0], starts[-1] + side) == (0, size[axis])
            assert max(np.diff(starts), default=0) <= stride * size[axis] + 1

    def test_of_the_default_are_half_as_high_and_wide_and_moved_by_an_eighth(self) -> None:
        windows = Windows().of((64, 128))
        assert {(w.height, w.width) for w in windows} == {(32, 64)}
        assert sorted({w.top for w in windows}) == [0, 8, 16, 24, 32]
        assert sorted({w.left for w in windows}) == [0, 16, 32, 48, 64]

    @given(SIZES, SHARES, STRIDES, st.integers(0, 2**31), st.integers(0, 3))
    def test_best_is_that_of_a_plain_loop(
        self, size: tuple[int, int], share: float, stride: float, seed: int, before: int
    ) -> None:
        region, rng = Windows(share, stride), np.random.default_rng(seed)
        values = rng.integers(0, 3, size) / 2  # few values, so that windows tie
        scores = region.scores(maps_of(values), probs)
        taken: list[Window] = []
        for _ in range(before):
            found = region.best(scores, size, taken)
            taken += [] if found is None else [found[0]]
        best: tuple[float, Window] | None = None
        for window in region.of(size):
            inside = values[window.top : window.top + window.height, window.left : window.left + window.width]
            clash = covered(size, taken)[window.at].any()
            if not clash and (best is None or inside.mean() > best[0]):
                best = inside.mean(), window
        found = region.best(scores, size, taken)
        assert (found is None) == (best is None)
        if found is not None and best is not None:
            assert found[0] == best[1]
            assert found[1] == pytest.approx([best[0]])

    @pytest.mark.parametrize("value", [0.0, 0.3, float(np.log(2))])
    def test_equal_windows_tie_exactly(self, value: float) -> None:
        found = Windows().best(Windows().scores(maps_of(np.full((101, 67), value)), probs), (101, 67))
        assert found is not None and found[0] == Window(0, 0, 50, 33)

    @pytest.mark.parametrize("size", [(64, 64), (65, 67), (1, 9), (2, 2)])
    def test_a_share_of_1_is_the_whole_image_once(self, size: tuple[int, int]) -> None:
        region, values = Windows(share=1.0), np.random.default_rng(0).random(size)
        scores = region.scores(maps_of(values), probs)
        found = region.best(scores, size)
        assert found is not None and found[0] == Window(0, 0, *size)
        assert found[1] == pytest.approx([values.mean()])
        assert region.best(scores, size, [found[0]]) is None

    def test_the_first_of_several_maps_decides_and_all_are_told(self) -> None:
        values = np.zeros((8, 8))
        values[4:, 4:] = 1
        scores = Windows().scores(maps_of(values), lambda maps: torch.stack([maps.probs, 2 - maps.probs]))
        found = Windows().best(scores, (8, 8))
        assert found is not None and (found[0], found[1].tolist()) == (Window(4, 4, 4, 4), [1.0, 1.0])

    def test_images_without_a_free_window_are_left_out(self) -> None:
        scores = {key: Windows().scores(maps_of(np.ones((8, 8))), probs) for key in "ab"}
        found, windows = best_windows(Windows(), scores, lambda key: (8, 8), {"a": [Window(2, 2, 4, 4)]})
        assert (list(found), windows) == (["b"], {"b": Window(0, 0, 4, 4)})

    @pytest.mark.parametrize("values", [{"share": 0.0}, {"share": 1.5}, {"stride": 0.0}, {"stride": 2.0}])
    def test_numbers_that_make_no_window(self, values: dict[str, float]) -> None:
        with pytest.raises(InputError, match=f"region#{next(iter(values))}"):
            Windows(**values)


@pytest.mark.parametrize(
    "values", [{"score": None}, {"reduction": lambda score, maps: score.flatten(1).amax(1)}, {"label_all": True}]
)
def test_methods_whose_region_nothing_chooses(values: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="no region can be chosen"):
        Method(**{"score": entropy, "region": Windows(), **values})


# ---- rounds ------------------------------------------------------------------------------------------------------


@pytest.fixture()
def state(tmp_path: Path) -> Iterator[RunState]:
    with RunState.open(tmp_path / "run") as opened:
        yield opened


def region_run(state: RunState, data: Any, method: Method = REGION, **changes: Any) -> Run:
    run = open_run(state, data, method, **changes)
    run.learner = RegionLearner(None, data, None, run.learner.theta0)  # type: ignore[assignment]
    return run


def play(run: Run, rounds: int) -> None:
    for index in range(rounds):
        for handler in (QueryHandler(), OracleHandler(), CycleHandler(0), EvaluateHandler()):
            fire(handler, run, index)


def mask_of(state: StateReader, row: LabelRow) -> np.ndarray:
    return png_to_mask(state.read_blob(row.blob))


class TestRounds:
    def test_whole_images_first_then_the_best_window_of_each(self, state: RunState, shapes_data: Any) -> None:
        run = region_run(state, shapes_data, query_per_class=2)
        play(run, 2)
        assert windows_of_round(state, 0) == {}
        windows, weights = windows_of_round(state, 1), RoundContext(run, 0).weights()
        assert set(windows) == set(asked(run, 1)) and len(windows) == 4
        scores = {row.id: row.score for row in state.queries(1)}
        for p in run.learner.predict(list(windows), weights):
            means = {window: p.probs[window.at].mean(dtype=np.float64) for window in Windows().of((64, 64))}
            assert windows[p.id] == max(means, key=lambda window: means[window])
            assert scores[p.id] == pytest.approx(max(means.values()))
        for row in state.labels():
            truth = shapes_data.store.true_mask(row.id)
            expected = truth if row.round == 0 else cut_out(truth, [windows[row.id]])
            np.testing.assert_array_equal(mask_of(state, row), expected)

    def test_images_come_again_for_other_windows_and_never_twice_in_a_round(
        self, state: RunState, shapes_data: Any
    ) -> None:
        run = region_run(state, shapes_data, query_per_class=5)
        play(run, 7)
        whole, windows = set(asked(run, 0)), asked_windows(state, 6)
        assert not whole & set(windows) and max(map(len, windows.values())) > 1
        for index in range(7):
            assert len(set(asked(run, index))) == len(asked(run, index))
        for key, taken in windows.items():
            inside = sum(covered((64, 64), [window]).astype(int) for window in taken)
            assert np.max(inside) == 1, "windows of an image do not overlap"
            last = state.labelled(6)[key]
            assert last.version == len(taken)
            truth = shapes_data.store.true_mask(key)
            np.testing.assert_array_equal(mask_of(state, last), cut_out(truth, taken))
            assert (last.cost_px, last.boundary_px) == drawn_cost(cut_out(truth, taken), taken)
        free = [key for key, taken in windows.items() if any(Windows().free((64, 64), taken))]
        assert RoundContext(run, 7).begun() == set(free)

    def test_costs_are_those_of_all_windows_so_far(self, state: RunState, shapes_data: Any) -> None:
        run = region_run(state, shapes_data, query_per_class=5)
        run.oracle = SimulatedOracle(shapes_data, seconds_per_mask=10.0, seconds_per_boundary_px=0.5)
        play(run, 4)
        whole = asked(run, 0)
        for row in curve_rows(state):
            windows = {key: [] for key in whole} | asked_windows(state, row["round"])
            costs = {}
            for key, taken in windows.items():
                truth = shapes_data.store.true_mask(key)
                costs[key] = drawn_cost(cut_out(truth, taken) if taken else truth, taken)
            assert row["masks"] == len(windows)
            assert row["pixels"] == sum(pixels for pixels, _ in costs.values())
            assert row["boundary_px"] == sum(boundary for _, boundary in costs.values())
            assert row["annotation_seconds"] == 10.0 * asks(windows, windows) + 0.5 * row["boundary_px"]

    def test_a_window_spends_as_much_of_the_budget_as_a_mask(self, state: RunState, shapes_data: Any) -> None:
        run = region_run(state, shapes_data, query_per_class=5, budget=15)
        play(run, 3)
        assert [len(asked(run, index)) for index in range(3)] == [2, 10, 3]
        assert RoundContext(run, 3).spent() == 15 > len(state.labelled())
        fire(QueryHandler(), run, 3)
        assert state.phases(3) == []

    def test_a_run_ends_when_no_window_is_free(self, state: RunState, shapes_data: Any) -> None:
        run = region_run(state, shapes_data, query_per_class=6)
        play(run, 6)
        assert "query" not in state.phases(5) and RoundContext(run, 5).begun() == set()
        assert len(state.labelled()) == 12

    def test_persons_masks_wait_and_are_no_windows_of_a_simulation(self, state: RunState, shapes_data: Any) -> None:
        run = region_run(state, shapes_data, query_per_class=5)
        play(run, 2)
        begun = RoundContext(run, 2).begun()
        key = min(begun)
        blob = state.put_blob(mask_to_png(np.zeros((64, 64), np.uint8)), ".png")
        state.commit(2, "other", labels=[LabelRow(key, 2, blob, 1, 1, 0.0, "ann")])
        assert RoundContext(run, 3).begun() == begun - {key}

    def test_pseudo_masks_protect_images_but_not_begun_ones(self, state: RunState, shapes_data: Any) -> None:
        method = Method(
            strategy=highest_score, score=probs, region=Windows(), cycles=2, propagation=NearestNeighbours(40)
        )
        run = region_run(state, shapes_data, method, query_per_class=6)
        label(state, 0, "train_00", "train_01")
        pseudo(state, 0, "final", {f"train_{i:02d}": "train_00" for i in range(2, 12)})
        fire(QueryHandler(), run, 1)
        fire(OracleHandler(), run, 1)
        assert set(asked(run, 1)) == {f"train_{i:02d}" for i in range(2, 12)}
        context = RoundContext(run, 1)
        assert context.donors() == {} and {item["kind"] for item in context.training_items(0, "final")} == {LABELLED}

    def test_images_with_windows_lend_their_place_and_keep_their_mask(self, state: RunState, shapes_data: Any) -> None:
        method = Method(
            strategy=highest_score, score=probs, region=Windows(), cycles=2, propagation=NearestNeighbours(40)
        )
        run = region_run(state, shapes_data, method)
        label(state, 0, "train_00", "train_01")
        for handler in (QueryHandler(), OracleHandler()):
            fire(handler, run, 1)
        context = RoundContext(run, 1)
        kinds = {item["id"]: item["kind"] for item in context.training_items(None, "final")}
        assert set(context.donors()) == set(run.train_ids) - set(kinds)
        assert PSEUDO not in kinds.values()


class TestRuns:
    @pytest.fixture()
    def region(self, learners: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(scripts.active.rounds, "Learner", RegionLearner)

    CHANGES: Mapping[str, Any] = {"active#rounds": 4, "active#query_per_class": 5}

    def test_interrupted_runs_end_like_uninterrupted_ones(self, shapes_data: Any, tmp_path: Path, region: None) -> None:
        whole = tiny_loop(shapes_data, tmp_path / "whole", "entropy_region", **self.CHANGES)
        whole.run()
        expected = what_happened(whole.folder)
        with StateReader.open(whole.folder) as state:
            windows = [windows_of_round(state, index) for index in range(4)]
        assert windows[0] == {} and all(windows[1:])
        for event in (RoundEvents.QUERY, RoundEvents.ORACLE, RoundEvents.EVALUATE):
            for first in (False, True):  # after, and before, the phase has been committed
                folder = tmp_path / f"{event.value}{first}"
                loop = tiny_loop(shapes_data, folder, "entropy_region", **self.CHANGES)
                bomb: list[Any] = [Bomb(event, 2)]
                loop.phases = [*bomb, *default_phases()] if first else [*default_phases(), *bomb]
                with pytest.raises(Interrupt):
                    loop.run()
                tiny_loop(shapes_data, folder, "entropy_region", **self.CHANGES).run()
                assert what_happened(loop.folder) == expected, (event, first)
                with StateReader.open(loop.folder) as state:
                    assert [windows_of_round(state, index) for index in range(4)] == windows

    def test_a_share_of_1_asks_and_costs_what_whole_images_do(
        self, shapes_data: Any, tmp_path: Path, region: None
    ) -> None:
        rows = []
        for method, changes in (
            ("entropy", {}),
            ("entropy_region", {"active#methods#entropy_region#region#share": 1.0}),
        ):
            loop = tiny_loop(shapes_data, tmp_path, method, **{"active#rounds": 9}, **changes)
            loop.run()
            happened = what_happened(loop.folder)
            with open(loop.folder / "curve.csv", newline="") as file:
                costs = [[row[name] for name in ("masks", "pixels", "boundary_px")] for row in csv.DictReader(file)]
            rows.append([[(row.round, row.id) for row in happened["queries"]], happened["labels"], costs])
        assert rows[0] == rows[1]

    def test_windows_are_written_as_plain_numbers(self, shapes_data: Any, tmp_path: Path, region: None) -> None:
        loop = tiny_loop(shapes_data, tmp_path, "entropy_region", **{"active#rounds": 2})
        loop.run()
        with StateReader.open(loop.folder) as state:
            found = json.loads(state.read_blob(state.artifact(1, "windows")))
        assert len(found) == 2
        assert all(len(numbers) == 4 and numbers[2:] == [32, 32] for numbers in found.values())


def test_what_lies_outside_of_the_windows_teaches_nothing(tmp_path: Path) -> None:
    """Two real runs of which only the truth outside of the windows differs learn the same."""
    changes = {"active#rounds": 2, "val_interval": 1, "active#max_overlays": 1}
    tiny_loop(open_tiny(make_images(tmp_path / "a")), tmp_path / "one", "entropy_region", **changes).run()
    one = tmp_path / "one" / "entropy_region_seed0"
    with StateReader.open(one) as state:
        windows = windows_of_round(state, 1)
        known = {key: mask_of(state, row) for key, row in state.labelled().items()}
        weights = state.artifact(1, "weights_cycle0")
        values = state.metrics(1)[1]
    assert len(list((one / "overlays" / "round_01").glob("*.png"))) == 1
    assert len(windows) == 2 and np.isfinite(values["selection_cycle0"])
    data = open_tiny(make_images(tmp_path / "b"))
    true_mask = data.store.true_mask

    def other_outside(key: str) -> np.ndarray | None:
        mask = true_mask(key)
        return mask if mask is None or key not in windows else np.where(known[key] == 255, 1 - mask, mask)

    data.store.true_mask = other_outside  # type: ignore[method-assign]
    tiny_loop(data, tmp_path / "two", "entropy_region", **changes).run()
    with StateReader.open(tmp_path / "two" / "entropy_region_seed0") as state:
        assert windows_of_round(state, 1) == windows
        assert state.artifact(1, "weights_cycle0") == weights
        for key, row in state.labelled().items():
            np.testing.assert_array_equal(mask_of(state, row), known[key])


def test_ignored_pixels_stay_ignored_on_their_way_to_the_loss(shapes_data: Any) -> None:
    truth = cut_out(shapes_data.store.true_mask("train_00"), [Window(0, 0, 32, 32)])
    sample = FromStored(shapes_data.store)({"id": "train_00", "image": "train_00", "mask": truth, "label": 0})
    assert ((sample["mask"][0].numpy() == 255) == (truth == 255)).all()
