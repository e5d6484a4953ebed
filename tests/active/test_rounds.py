from __future__ import annotations

import csv
import hashlib
import json
import math
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from PIL import Image

import scripts.active.rounds
from scripts.active.handlers import PhaseHandler, RoundEvents
from scripts.active.rounds import ActiveLearning, default_phases
from scripts.active.strategies.pool import Pool
from scripts.core.errors import InputError, StateError
from scripts.core.run_config import RunConfig
from scripts.data.run_data import RunData
from scripts.networks.theta0 import Theta0
from scripts.state.reader import StateReader
from scripts.training.losses import BACKGROUND, PSEUDO
from tests.support.tiny_runs import (
    CONFIGS,
    FakeLearner,
    fake_theta0,
    make_images,
    open_tiny,
    tiny_config,
    tiny_loop,
    what_happened,
)

LABEL_PROP = ["query", "oracle", "cycle0", "pseudo", "cycle1", "evaluate", "refresh"]
ONE_CYCLE = ["query", "oracle", "cycle0", "evaluate"]
METHODS = json.loads((CONFIGS / "train.json").read_text())["active"]["methods"]
WHOLE_IMAGES = sorted(name for name in set(METHODS) - {"wsl", "full_sup"} if "region" not in METHODS[name])
OWN_START = {"kmeans_start", "typiclust", "probcover", "coreset"}


def last_ones(pool: Pool, n: int, rng: Any) -> list[str]:
    """A start that takes the last of the list."""
    return list(pool.unlabelled[-n:])


class Interrupt(BaseException):
    """Ends a run as Ctrl-C does."""


class Bomb:
    """Ends the run at an event of a round."""

    def __init__(self, event: RoundEvents, index: int) -> None:
        self.event, self.index = event, index

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(self.event, self)

    def __call__(self, engine: Engine) -> None:
        if engine.state.round.index == self.index:  # type: ignore[attr-defined]
            raise Interrupt


@pytest.fixture()
def learners(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[FakeLearner]]:
    """Runs learn nothing and write no HTML; the list holds the learner of each."""
    made: list[FakeLearner] = []

    def learner(*arguments: Any) -> FakeLearner:
        made.append(FakeLearner(*arguments))
        return made[-1]

    monkeypatch.setattr(os, "fsync", lambda _: None)  # most of the time of a run that learns nothing
    monkeypatch.setattr(scripts.active.rounds, "Learner", learner)
    monkeypatch.setattr(scripts.active.rounds, "theta0", fake_theta0)
    monkeypatch.setattr(scripts.active.rounds, "write_report", lambda folder: Path(folder) / "report.html")
    yield made


@pytest.fixture()
def threads_of_torch() -> Iterator[None]:
    """The number of threads is put back after the test."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def asked(happened: dict[str, Any], index: int) -> list[str]:
    return [row.id for row in happened["queries"] if row.round == index]


class TestAlgorithm:
    def test_phases_of_label_prop_in_order(self, shapes_data: Any, tmp_path: Path, learners: Any) -> None:
        loop = tiny_loop(shapes_data, tmp_path, **{"active#rounds": 3})
        loop.run()
        happened = what_happened(loop.folder)
        assert happened["phases"] == dict.fromkeys(range(3), LABEL_PROP)
        assert [call.purpose for call in learners[0].calls] == [(r, c) for r in range(3) for c in (0, 1)]

    @pytest.mark.parametrize("method", ["random", "entropy", "mc_dropout"])
    def test_phases_of_methods_with_one_cycle(
        self, shapes_data: Any, tmp_path: Path, learners: Any, method: str
    ) -> None:
        loop = tiny_loop(shapes_data, tmp_path, method)
        loop.run()
        happened = what_happened(loop.folder)
        assert happened["phases"] == dict.fromkeys(range(2), ONE_CYCLE)
        assert [len(asked(happened, r)) for r in range(2)] == [2, 2]
        assert all(PSEUDO not in call.kinds.values() for call in learners[0].calls)

    def test_every_training_starts_from_theta0(self, shapes_data: Any, tmp_path: Path, learners: Any) -> None:
        tiny_loop(shapes_data, tmp_path, **{"active#rounds": 3}).run()
        assert {call.theta for call in learners[0].calls} == {0.0}

    @pytest.mark.parametrize("carry", [True, False])
    def test_what_each_cycle_trains_on(self, shapes_data: Any, tmp_path: Path, learners: Any, carry: bool) -> None:
        loop = tiny_loop(shapes_data, tmp_path, **{"active#rounds": 3, "active#methods#label_prop#carry": carry})
        loop.run()
        happened = what_happened(loop.folder)
        final = {rows[0].round: {row.id for row in rows} for rows in happened["pseudo"][1::2]}
        middle = {rows[0].round: {row.id for row in rows} for rows in happened["pseudo"][0::2]}
        for call in learners[0].calls:
            round_, cycle = call.purpose
            oracle = {row.id for row in happened["labels"] if row.round <= round_}
            carried = final.get(round_ - 1, set()) - oracle if carry else set()
            expected = middle[round_] if cycle == 1 else carried
            assert {key for key, kind in call.kinds.items() if kind == PSEUDO} == expected
            assert {key for key, kind in call.kinds.items() if kind != PSEUDO} == oracle

    def test_queried_images_leave_p(self, shapes_data: Any, tmp_path: Path, learners: Any) -> None:
        loop = tiny_loop(shapes_data, tmp_path, **{"active#rounds": 3})
        loop.run()
        happened = what_happened(loop.folder)
        for rows in happened["pseudo"]:
            oracle = {row.id for row in happened["labels"] if row.round <= rows[0].round}
            assert not oracle & {row.id for row in rows}
            assert len(rows) + len(oracle) == 12  # k = 40 pairs all others

    def test_events_come_in_the_order_of_the_algorithm(self, shapes_data: Any, tmp_path: Path, learners: Any) -> None:
        seen: list[RoundEvents] = []

        class Listener:
            def attach(self, engine: Engine) -> None:
                for event in RoundEvents:
                    engine.add_event_handler(event, lambda _, event=event: seen.append(event))

        loop = tiny_loop(shapes_data, tmp_path, **{"active#rounds": 1})
        loop.phases = [Listener()]  # type: ignore[list-item]
        loop.run()
        assert seen == list(RoundEvents)

    def test_masks_of_the_oracle_are_never_changed(self, shapes_data: Any, tmp_path: Path, learners: Any) -> None:
        tiny_loop(shapes_data, tmp_path, **{"active#rounds": 3}).run()
        calls = learners[0].calls
        for call in calls:
            for key, kind in call.kinds.items():
                if kind != PSEUDO:
                    assert call.masks[key] == calls[-1].masks[key]


class TestMethods:
    """Every preset of the config."""

    @pytest.mark.parametrize("method", WHOLE_IMAGES)
    def test_asks_for_distinct_images_and_the_same_again(
        self, shapes_data: Any, tmp_path: Path, learners: Any, method: str
    ) -> None:
        runs = []
        changes = {"active#rounds": 3, "active#initial_per_class": 2, "active#query_per_class": 2}
        for name in ("one", "two"):
            loop = tiny_loop(shapes_data, tmp_path / name, method, **changes)
            loop.run()
            runs.append(what_happened(loop.folder))
        ids = [row.id for row in runs[0]["queries"]]
        assert [len(asked(runs[0], r)) for r in range(3)] == [4, 4, 4]
        assert len(set(ids)) == 12
        assert runs[0] == runs[1]
        scored = "score" in METHODS[method]
        assert all((row.score is not None) == (scored and row.round > 0) for row in runs[0]["queries"])

    def test_methods_without_a_start_of_their_own_share_the_draw(
        self, shapes_data: Any, tmp_path: Path, learners: Any
    ) -> None:
        drawn: dict[str, list[str]] = {}
        for method in sorted(set(METHODS) - {"wsl", "full_sup"}):
            loop = tiny_loop(shapes_data, tmp_path, method, **{"active#rounds": 1, "active#initial_per_class": 3})
            loop.run()
            drawn[method] = asked(what_happened(loop.folder), 0)
        assert {name for name in drawn if drawn[name] != drawn["random"]} == OWN_START
        assert {name for name in METHODS if "start" in METHODS[name]} == OWN_START

    @pytest.mark.parametrize("start", ["kmeans", "typiclust", "probcover", "coreset"])
    def test_a_start_of_the_config_serves_any_method(
        self, shapes_data: Any, tmp_path: Path, learners: Any, start: str
    ) -> None:
        own = "kmeans_start" if start == "kmeans" else start
        firsts = []
        for method, changes in (("entropy", {"active#start": start}), (own, {})):
            loop = tiny_loop(shapes_data, tmp_path, method, **{"active#rounds": 1, **changes})
            loop.run()
            firsts.append(asked(what_happened(loop.folder), 0))
        assert firsts[0] == firsts[1]


class TestEnds:
    def test_exhausted_pool_ends_the_run_without_a_further_round(
        self, shapes_data: Any, tmp_path: Path, learners: Any
    ) -> None:
        loop = tiny_loop(shapes_data, tmp_path, **{"active#rounds": 9, "active#query_per_class": 3})
        loop.run()
        happened = what_happened(loop.folder)
        assert [len(asked(happened, r)) for r in range(4)] == [2, 6, 4, 0]
        assert sorted(happened["metrics"]) == [0, 1, 2]
        assert happened["metrics"][2]["masks"] == 12

    def test_budget_ends_the_run_and_can_be_raised_later(self, shapes_data: Any, tmp_path: Path, learners: Any) -> None:
        changes = {"active#rounds": 4, "active#initial_per_class": 2}
        loop = tiny_loop(shapes_data, tmp_path, **changes, **{"active#budget": 5})
        loop.run()
        assert [values["masks"] for values in what_happened(loop.folder)["metrics"].values()] == [4, 5]
        tiny_loop(shapes_data, tmp_path, **changes, **{"active#budget": 8}).run()
        assert [values["masks"] for values in what_happened(loop.folder)["metrics"].values()] == [4, 5, 7, 8]

    def test_full_supervision_asks_for_everything_once(self, shapes_data: Any, tmp_path: Path, learners: Any) -> None:
        loop = tiny_loop(shapes_data, tmp_path, "full_sup")
        loop.run()
        happened = what_happened(loop.folder)
        assert (sorted(happened["metrics"]), happened["metrics"][0]["masks"]) == ([0], 12)

    def test_wsl_trains_nothing(self, shapes_data: Any, tmp_path: Path, learners: Any) -> None:
        loop = tiny_loop(shapes_data, tmp_path, "wsl")
        loop.run()
        happened = what_happened(loop.folder)
        assert happened["phases"] == {0: ["query", "oracle", "evaluate"]}
        assert (learners[0].calls, happened["metrics"][0]["masks"]) == ([], 0)


class TestSettings:
    def test_equal_steps_double_the_epochs_of_the_control(
        self, shapes_data: Any, tmp_path: Path, learners: Any
    ) -> None:
        changes = {"max_epochs": 3, "active#rounds": 1}
        for method, expected in (("random_equal_steps", 6), ("random", None), ("label_prop", None), ("full_sup", 8)):
            tiny_loop(shapes_data, tmp_path, method, **changes).run()
            assert learners[-1].overrides.get("max_epochs") == expected

    def test_methods_that_differ_in_steps_alone_ask_for_the_same(
        self, shapes_data: Any, tmp_path: Path, learners: Any
    ) -> None:
        queries = []
        for method in ("random", "random_equal_steps", "label_prop", "label_prop_lambda_0"):
            loop = tiny_loop(shapes_data, tmp_path, method, **{"active#rounds": 3})
            loop.run()
            queries.append(what_happened(loop.folder)["queries"])
        assert queries[1:] == queries[:1] * 3
        assert learners[-1].overrides["scale_seg_u"] == 0.0

    def test_a_start_chooses_round_0_alone(self, shapes_data: Any, tmp_path: Path, learners: Any) -> None:
        last = {"_target_": "tests.active.test_rounds.last_ones", "_mode_": "callable"}
        changes = {"active#starts#last": last, "active#start": "last", "active#rounds": 2}
        loop = tiny_loop(shapes_data, tmp_path, "random", **changes)
        loop.run()
        first = [row.id for row in what_happened(loop.folder)["queries"] if row.round == 0]
        assert sorted(first) == ["train_10", "train_11"]
        with pytest.raises(StateError, match="start"):
            tiny_loop(shapes_data, tmp_path, "random", **changes | {"active#start": "random"}).run()

    def test_unknown_method_is_refused_with_the_known_ones(self, shapes_data: Any, tmp_path: Path) -> None:
        with pytest.raises(RuntimeError) as error:
            tiny_loop(shapes_data, tmp_path, "guess")
        cause: BaseException | None = error.value
        while cause is not None and not isinstance(cause, InputError):
            cause = cause.__cause__
        assert cause is not None
        assert "unknown method" in str(cause)
        assert f"expected {', '.join(sorted(METHODS))}; " in str(cause)

    @pytest.mark.parametrize("name", ["rounds", "initial_per_class", "query_per_class"])
    def test_numbers_that_make_no_run(self, shapes_data: Any, tmp_path: Path, name: str) -> None:
        loop = tiny_loop(shapes_data, tmp_path)
        settings = replace(loop.settings, method="m", oracle="o", **{name: 0})
        with pytest.raises(InputError, match=f"active#{name}"):
            ActiveLearning(
                loop.config, shapes_data, {"m": loop.method}, {"o": loop.oracle}, {"random": loop.start}, settings
            )

    @pytest.mark.parametrize(
        ("key", "value"),
        [("lr", 0.5), ("selection", "joint"), ("val_interval", 2), ("scale_seg_u", 0.3), ("max_epochs", 2),
         ("active#query_per_class", 2), ("active#methods#label_prop#propagation#k", 3),
         ("active#stage0#overrides#max_epochs", 2),
         ("mask_rule#foreground", "over:127.5")],
    )  # fmt: skip
    def test_a_changed_setting_is_refused_by_name(
        self, shapes_data: Any, tmp_path: Path, learners: Any, key: str, value: Any
    ) -> None:
        tiny_loop(shapes_data, tmp_path, **{"active#rounds": 1}).run()
        with pytest.raises(StateError) as error:
            tiny_loop(shapes_data, tmp_path, **{"active#rounds": 1, key: value}).run()
        assert key.split("#")[-1] in str(error.value)
        assert str(value) in str(error.value) or json.dumps(value) in str(error.value)

    def test_settings_that_may_change(self, shapes_data: Any, tmp_path: Path, learners: Any) -> None:
        tiny_loop(shapes_data, tmp_path, **{"active#rounds": 1}).run()
        tiny_loop(shapes_data, tmp_path, **{"active#rounds": 1, "amp": False, "active#max_overlays": 0}).run()

    def test_the_number_of_threads_stays_that_of_the_start(
        self, shapes_data: Any, tmp_path: Path, learners: Any, threads_of_torch: None
    ) -> None:
        torch.set_num_threads(2)
        loop = tiny_loop(shapes_data, tmp_path, **{"active#rounds": 1})
        loop.run()
        torch.set_num_threads(1)  # what a busy machine would choose
        tiny_loop(shapes_data, tmp_path, **{"active#rounds": 2}).run()
        assert torch.get_num_threads() == 2
        with StateReader.open(loop.folder) as state:
            assert state.settings()["threads"] == 2
        torch.set_num_threads(1)
        with pytest.raises(StateError, match="threads"):
            tiny_loop(shapes_data, tmp_path, **{"active#rounds": 2, "threads": 1}).run()

    def test_another_theta0_is_refused(
        self, shapes_data: Any, tmp_path: Path, learners: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tiny_loop(shapes_data, tmp_path, **{"active#rounds": 1}).run()
        other = fake_theta0()
        monkeypatch.setattr(scripts.active.rounds, "theta0", lambda *_: Theta0(other.weights, "b" * 64, 0.5, 1.0))
        with pytest.raises(StateError, match="theta0 is not the one"):
            tiny_loop(shapes_data, tmp_path).run()

    def test_other_images_are_refused(self, shapes_data: Any, tmp_path: Path, learners: Any) -> None:
        from tests.support.tiny_runs import make_images, open_tiny

        tiny_loop(shapes_data, tmp_path / "out").run()
        fewer = open_tiny(make_images(tmp_path / "data", {"train": 10, "val": 4, "test": 4}))
        with pytest.raises(StateError, match="train_10"):
            tiny_loop(fewer, tmp_path / "out").run()


class TestRepeats:
    def test_same_seed_same_run(self, shapes_data: Any, tmp_path: Path, learners: Any) -> None:
        for name in ("one", "two"):
            tiny_loop(shapes_data, tmp_path / name).run()
        one, two = (what_happened(tmp_path / name / "label_prop_seed0") for name in ("one", "two"))
        assert one == two
        tiny_loop(shapes_data, tmp_path / "one", **{"active#seed": 1}).run()
        assert what_happened(tmp_path / "one" / "label_prop_seed1")["queries"] != one["queries"]

    def test_methods_share_the_initial_draw_of_a_seed(self, shapes_data: Any, tmp_path: Path, learners: Any) -> None:
        drawn = []
        for method in ("random", "entropy", "label_prop"):
            loop = tiny_loop(shapes_data, tmp_path, method, **{"active#rounds": 1})
            loop.run()
            drawn.append(asked(what_happened(loop.folder), 0))
        assert drawn[0] == drawn[1] == drawn[2]

    def test_interrupted_runs_end_like_uninterrupted_ones(
        self, shapes_data: Any, tmp_path: Path, learners: Any
    ) -> None:
        whole = tiny_loop(shapes_data, tmp_path / "whole")
        whole.run()
        expected = what_happened(whole.folder)
        for event in RoundEvents:
            for index, first in ((0, False), (1, True)):  # after, and before, the phase has been committed
                folder = tmp_path / f"{event.value}{index}"
                loop = tiny_loop(shapes_data, folder)
                bomb: list[PhaseHandler] = [Bomb(event, index)]  # type: ignore[list-item]
                loop.phases = [*bomb, *default_phases()] if first else [*default_phases(), *bomb]
                with pytest.raises(Interrupt):
                    loop.run()
                with StateReader.open(loop.folder) as state:
                    assert state.is_done(index, event.value) == (not first and event is not RoundEvents.REPORT)
                tiny_loop(shapes_data, folder).run()
                assert what_happened(loop.folder) == expected, (event, index)

    def test_a_finished_run_only_writes_its_report_again(
        self, shapes_data: Any, tmp_path: Path, learners: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        loop = tiny_loop(shapes_data, tmp_path)
        loop.run()
        before = what_happened(loop.folder)
        (loop.folder / "curve.csv").unlink()
        files = sorted((loop.folder / "tensorboard").iterdir())
        loop = tiny_loop(shapes_data, tmp_path)
        stored = (loop.folder / "state.sqlite").read_bytes()
        with caplog.at_level("INFO"):
            loop.run()
        assert "the whole run; only the report is written again" in caplog.text
        assert (loop.folder / "state.sqlite").read_bytes() == stored
        assert (learners[1].calls, learners[1].scored) == ([], [])
        assert what_happened(loop.folder) == before
        assert (loop.folder / "curve.csv").is_file()
        assert sorted((loop.folder / "tensorboard").iterdir()) == files

    def test_more_rounds_later(self, shapes_data: Any, tmp_path: Path, learners: Any) -> None:
        tiny_loop(shapes_data, tmp_path / "a", **{"active#rounds": 1}).run()
        tiny_loop(shapes_data, tmp_path / "a", **{"active#rounds": 3}).run()
        tiny_loop(shapes_data, tmp_path / "b", **{"active#rounds": 3}).run()
        assert what_happened(tmp_path / "a" / "label_prop_seed0") == what_happened(tmp_path / "b" / "label_prop_seed0")


class TestRealTraining:
    """The same with the real network, once."""

    def test_interrupted_and_repeated(self, shapes_data: Any, tmp_path: Path) -> None:
        changes = {"active#stage0#dir": str(tmp_path / "stage0")}
        whole = tiny_loop(shapes_data, tmp_path / "whole", **changes)
        report = whole.run()
        assert report == tmp_path / "whole" / "report.html"
        assert "label_prop" in report.read_text()
        loop = tiny_loop(shapes_data, tmp_path / "cut", **changes)
        loop.phases = [Bomb(RoundEvents.CYCLE_1, 1), *default_phases()]  # type: ignore[list-item]
        with pytest.raises(Interrupt):
            loop.run()
        tiny_loop(shapes_data, tmp_path / "cut", **changes).run()
        assert what_happened(loop.folder) == what_happened(whole.folder)

    def test_without_weight_on_pseudo_masks(self, shapes_data: Any, tmp_path: Path) -> None:
        loop = tiny_loop(shapes_data, tmp_path, **{"active#rounds": 1, "scale_seg_u": 0.0})
        loop.run()
        happened = what_happened(loop.folder)
        assert happened["phases"] == {0: LABEL_PROP}
        assert happened["metrics"][0]["pseudo_n"] == 10

    @pytest.mark.parametrize("method", ["wsl", "mc_dropout", "clasp_entropy", "disagreement", "probcover"])
    def test_other_methods(self, shapes_data: Any, tmp_path: Path, method: str) -> None:
        loop = tiny_loop(shapes_data, tmp_path, method, **{"active#methods#mc_dropout#passes": 3})
        loop.run()
        happened = what_happened(loop.folder)
        if "score" in METHODS[method]:
            assert all(row.score > 0 for row in happened["queries"] if row.round == 1)
        assert 0 <= happened["metrics"][0]["dice"] <= 1


class TestBackground:
    """Class n of three has no foreground: its images are in no query, no pseudo-mask and no count of masks."""

    NORMAL: ClassVar[dict[str, int]] = {"train": 5, "val": 2, "test": 2}
    THREE: ClassVar[dict[str, Any]] = {"num_classes": 3}

    @pytest.fixture(scope="class")
    def folder(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return make_images(tmp_path_factory.mktemp("normal"), normal=self.NORMAL, without_mask=["train_n3", "test_n1"])

    @pytest.fixture(scope="class")
    def data(self, folder: Path) -> RunData:
        return open_tiny(folder, background_classes=["n"])

    @pytest.mark.parametrize("method", ["label_prop", "random", "entropy", "coreset", "full_sup"])
    def test_they_are_never_asked_about_and_cost_nothing(
        self, data: RunData, tmp_path: Path, learners: Any, method: str
    ) -> None:
        loop = tiny_loop(data, tmp_path, method, **self.THREE, **{"active#rounds": 3})
        loop.run()
        happened = what_happened(loop.folder)
        ids = [row.id for name in ("queries", "labels") for row in happened[name]]
        ids += [key for rows in happened["pseudo"] for row in rows for key in (row.id, row.donor)]
        ids += [key for call in learners[0].calls for key in call.kinds] + [key for key, _ in learners[0].scored]
        assert ids and not [key for key in ids if "_n" in key]
        masks = [values["masks"] for values in happened["metrics"].values()]
        assert masks == ([12] if method == "full_sup" else [2, 4, 6])
        assert happened["metrics"][0].keys() >= {"dice", "dice_all", "clean_share", "false_area", "val_clean_share"}
        with open(loop.folder / "curve.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert float(rows[-1]["percent_masks"]) == pytest.approx(100 * masks[-1] / 12)
        assert 0 <= float(rows[-1]["clean_share"]) <= 1

    def test_people_are_given_none_of_them_in_reserve(self, data: RunData, tmp_path: Path, learners: Any) -> None:
        loop = tiny_loop(data, tmp_path, oracle="desk", **self.THREE)
        loop.run()
        with StateReader.open(loop.folder) as state:
            asked = [*state.waiting(0), *(row.id for row in state.queries(0))]
        assert asked and not [key for key in asked if "_n" in key]

    def test_with_a_weight_their_empty_masks_are_a_kind_of_their_own(
        self, data: RunData, tmp_path: Path, learners: Any
    ) -> None:
        loop = tiny_loop(data, tmp_path, scale_seg_b=0.5, **self.THREE)
        loop.run()
        empty = hashlib.sha256(np.zeros((64, 64), np.uint8).tobytes()).hexdigest()[:8]
        for call in learners[0].calls:
            theirs = {key: kind for key, kind in call.kinds.items() if "_n" in key}
            assert theirs == {f"train_n{i}": BACKGROUND for i in range(5)}
            assert {call.masks[key] for key in theirs} == {empty}
        assert [values["masks"] for values in what_happened(loop.folder)["metrics"].values()] == [2, 4]

    def test_the_weight_of_a_method_counts(self, data: RunData, tmp_path: Path, learners: Any) -> None:
        changes = {"active#methods#random#overrides": {"scale_seg_b": 1.0}, "active#rounds": 1}
        tiny_loop(data, tmp_path, "random", **self.THREE, **changes).run()
        assert BACKGROUND in learners[0].calls[0].kinds.values()

    def test_real_trainings(self, data: RunData, tmp_path: Path) -> None:
        found: dict[float, dict[str, float]] = {}
        weights: list[str] = []
        stage0 = {"active#stage0#dir": str(tmp_path / "stage0"), "active#rounds": 1, "batch_size": 4}
        for weight in (0.0, 1.0):
            loop = tiny_loop(data, tmp_path / str(weight), scale_seg_b=weight, **self.THREE, **stage0)
            loop.run()
            found[weight] = what_happened(loop.folder)["metrics"][0]
            assert all(math.isfinite(value) for value in found[weight].values())
            with StateReader.open(loop.folder) as state:
                weights.append(state.artifact(0, "weights_cycle0"))
        assert len(list((tmp_path / "stage0").glob("*.pt"))) == 1  # theta0 does not depend on it
        assert weights[0] != weights[1]
        text = (tmp_path / "0.0" / "report.html").read_text()
        assert "false area" in text and "Dice, empty as 0" in text

    def test_the_run_says_what_it_does(
        self, data: RunData, tmp_path: Path, learners: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level("INFO"):
            tiny_loop(data, tmp_path, **self.THREE).run()
        assert "n: 5 training images cost no mask; predicted, they leave nothing to draw" in caplog.text
        assert "2 masks first, 4 after 2 rounds" in caplog.text
        assert "cannot be asked" not in caplog.text and "are empty" not in caplog.text

    def test_a_class_whose_masks_are_empty_is_proposed_and_not_assumed(
        self, folder: Path, tmp_path: Path, learners: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        loop = tiny_loop(open_tiny(folder), tmp_path, **self.THREE, **{"active#rounds": 1})
        loop.run()
        assert "these classes are empty: n. " in caplog.text
        assert "--data#background_classes \"['n']\"" in caplog.text
        assert sorted(key[6] for key in asked(what_happened(loop.folder), 0)) == ["0", "0", "n"]
        with pytest.raises(StateError, match="background_classes"):
            data = open_tiny(folder, background_classes=["n"])
            tiny_loop(data, tmp_path, **self.THREE, **{"active#rounds": 1}).run()

    def test_a_classifier_that_trains_without_them_is_warned_about(
        self, data: RunData, tmp_path: Path, learners: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        tiny_loop(data, tmp_path / "a", freeze_classifier=False, scale_seg_b=0.1, **self.THREE).run()
        assert "or it forgets them" not in caplog.text
        tiny_loop(data, tmp_path / "b", freeze_classifier=False, **self.THREE).run()
        assert "the rounds train the classifier on no image of n: give --scale_seg_b a weight" in caplog.text

    @pytest.mark.parametrize(("key", "value"), [("scale_seg_b", 0.5), ("background_share", 0.5)])
    def test_a_change_is_refused(self, data: RunData, tmp_path: Path, learners: Any, key: str, value: float) -> None:
        tiny_loop(data, tmp_path, **self.THREE).run()
        with pytest.raises(StateError, match=key):
            tiny_loop(data, tmp_path, **self.THREE, **{key: value}).run()

    def test_the_gate_may_not_change(self, data: RunData, folder: Path, tmp_path: Path, learners: Any) -> None:
        tiny_loop(data, tmp_path, **self.THREE).run()
        ungated = open_tiny(folder, background_classes=["n"], background_gate=False)
        with pytest.raises(StateError, match="background_gate"):
            tiny_loop(ungated, tmp_path, **self.THREE).run()

    def test_one_class_with_foreground_is_enough(self, tmp_path: Path, learners: Any) -> None:
        folder = make_images(tmp_path / "data")
        with open(folder / "data.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            if row["label"] == "b":
                Image.new("L", (64, 64)).save(folder / row["mask"])
        loop = tiny_loop(open_tiny(folder, background_classes=["b"]), tmp_path, **{"active#rounds": 1})
        loop.run()
        assert [key for key in asked(what_happened(loop.folder), 0) if int(key[-1]) % 2] == []


class TestRunsOfBefore:
    """Switched off it is what it was: a config that lacks the new keys gives the same run, and goes on with them."""

    def before(self, data: RunData, output: Path, **changes: Any) -> ActiveLearning:
        config = tiny_config(Path("unused"), output, {"active#method": "label_prop", **changes}).content
        for key in ("scale_seg_b", "background_share", "background_gate"):
            del config[key]
        del config["loss"]["scale_seg_b"], config["train"]["batches"]["background_share"]
        del config["validate"]["key_metric"]["val_metric"]["background"]
        run_config = RunConfig(config)
        return run_config.parser(objects={"data": data, "config": run_config}).get_parsed_content("active#loop")

    def test_same_numbers_and_the_run_goes_on(self, shapes_data: RunData, tmp_path: Path) -> None:
        stage0 = {"active#stage0#dir": str(tmp_path / "stage0")}
        old = self.before(shapes_data, tmp_path / "old", **stage0, **{"active#rounds": 1})
        old.run()
        now = tiny_loop(shapes_data, tmp_path / "now", **stage0, **{"active#rounds": 1})
        now.run()
        assert what_happened(old.folder) == what_happened(now.folder)
        tables = [(loop.folder / "curve.csv").read_text().splitlines() for loop in (old, now)]
        assert tables[0][0] == tables[1][0]
        assert len(list((tmp_path / "stage0").glob("*.pt"))) == 1
        tiny_loop(shapes_data, tmp_path / "old", **stage0, **{"active#rounds": 2}).run()
        assert sorted(what_happened(old.folder)["metrics"]) == [0, 1]


def test_bits_of_16_bit_images_belong_to_a_run(tmp_path: Path, learners: Any) -> None:
    folder = make_images(tmp_path / "data")
    for path in folder.glob("*[0-9].png"):
        Image.fromarray(np.asarray(Image.open(path).convert("L")).astype(np.uint16) * 16).save(path)
    loop = tiny_loop(open_tiny(folder), tmp_path, **{"active#rounds": 1})
    loop.run()
    with StateReader.open(loop.folder) as state:
        assert state.settings()["bits"] == 12
    with pytest.raises(StateError, match="bits"):
        tiny_loop(open_tiny(folder, bits=16), tmp_path, **{"active#rounds": 2}).run()
