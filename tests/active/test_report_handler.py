from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from ignite.engine import Engine, Events
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from scripts.active.handlers import (
    CycleHandler,
    EvaluateHandler,
    OracleHandler,
    PseudoLabelHandler,
    QueryHandler,
    RoundEvents,
)
from scripts.active.methods import Method
from scripts.active.propagation import NearestNeighbours
from scripts.active.report_handler import ReportHandler
from scripts.active.round_context import RoundContext, Run
from scripts.state.rows import QueryRow
from scripts.state.run_state import RunState
from tests.active.test_handlers import fire
from tests.active.test_round_context import open_run

PHASES = (
    QueryHandler(), OracleHandler(), CycleHandler(0), PseudoLabelHandler("cycle0"), CycleHandler(1), EvaluateHandler(),
    PseudoLabelHandler("final"),
)  # fmt: skip


@pytest.fixture()
def run(tmp_path: Path, shapes_data: Any) -> Iterator[Run]:
    with RunState.open(tmp_path / "run") as state:
        run = open_run(state, shapes_data, Method(cycles=2, propagation=NearestNeighbours(40)), initial_per_class=2)
        for index in (0, 1):
            for handler in PHASES:
                fire(handler, run, index)
        yield run


def report(run: Run, index: int, pictures: int) -> None:
    engine = Engine(lambda engine, _: engine.fire_event(RoundEvents.REPORT))
    engine.register_events(*RoundEvents)
    engine.add_event_handler(Events.STARTED, lambda engine: setattr(engine.state, "round", RoundContext(run, index)))
    ReportHandler(pictures).attach(engine)
    engine.run([None], max_epochs=1)


class TestReportHandler:
    def test_curve_pictures_and_scalars(self, run: Run) -> None:
        for index in (0, 1):
            report(run, index, pictures=1)
        with open(run.state.run_dir / "curve.csv") as file:
            rows = list(csv.DictReader(file))
        assert [row["masks"] for row in rows] == ["4", "6"]
        for index in (0, 1):
            asked = [row.id for row in run.state.queries(index)]
            pictures = list((run.state.run_dir / "overlays" / f"round_{index:02d}").iterdir())
            assert [path.name for path in pictures] == [f"{asked[0]}.png"]
            with Image.open(pictures[0]) as picture:
                assert picture.width > 5 * picture.height / 2
        events = EventAccumulator(str(run.state.run_dir / "tensorboard")).Reload()
        assert [event.step for event in events.Scalars("rounds/dice")] == [4, 6]
        for tag in ("rounds/dice", "test_dice_over_masks"):
            shown = [(event.step, f"{event.value:.4f}") for event in events.Scalars(tag)]
            assert shown == [(int(row["masks"]), f"{float(row['dice']):.4f}") for row in rows]

    def test_again_draws_and_appends_nothing(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        report(run, 0, pictures=2)
        files = sorted(path for path in run.state.run_dir.rglob("*") if path.is_file())

        def predict(*_: Any) -> Any:
            raise AssertionError("nothing is left to draw")

        monkeypatch.setattr(run.learner, "predict", predict)
        report(run, 0, pictures=2)
        assert sorted(path for path in run.state.run_dir.rglob("*") if path.is_file()) == files

    def test_scalars_of_a_round_are_whole_or_not_there(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        class Killed(BaseException):
            pass

        with monkeypatch.context() as patch:
            patch.setattr(SummaryWriter, "add_scalar", Mock(side_effect=[None, Killed]))
            with pytest.raises(Killed):
                report(run, 0, pictures=0)
        report(run, 0, pictures=0)
        report(run, 0, pictures=0)
        events = EventAccumulator(str(run.state.run_dir / "tensorboard")).Reload()
        assert [event.step for event in events.Scalars("test_dice_over_masks")] == [4]

    def test_no_pictures(self, run: Run) -> None:
        report(run, 0, pictures=0)
        assert not (run.state.run_dir / "overlays").exists()

    def test_ids_that_differ_have_pictures_that_differ(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        ids = ["bird/a", "bird__a"]
        queries = [QueryRow(0, rank, key, None) for rank, key in enumerate(ids)]
        monkeypatch.setattr(run.state, "queries", lambda index=None: queries)
        known = iter(run.learner.predict(run.train_ids[:2], run.learner.theta0.weights))
        found = [replace(p, id=key) for p, key in zip(known, ids, strict=True)]
        monkeypatch.setattr(run.learner, "predict", lambda ids, weights: iter(found))
        item = run.data.items("train")[0]
        monkeypatch.setattr(run.data, "items", lambda split: [{**item, "id": key} for key in ids])
        for name, value in (("true_mask", None), ("original_image", np.zeros((64, 64, 3), dtype=np.uint8))):
            monkeypatch.setattr(run.data.store, name, lambda key, value=value: value)
        monkeypatch.setitem(run.class_of, "bird/a", "a")
        monkeypatch.setitem(run.class_of, "bird__a", "a")
        report(run, 0, pictures=2)
        names = sorted(path.name for path in (run.state.run_dir / "overlays" / "round_00").iterdir())
        assert names == ["bird%2Fa.png", "bird__a.png"]
