from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ignite.engine import Engine, Events
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

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
        with open(run.folder / "curve.csv") as file:
            rows = list(csv.DictReader(file))
        assert [row["masks"] for row in rows] == ["4", "6"]
        for index in (0, 1):
            asked = [row.id for row in run.state.queries(index)]
            pictures = list((run.folder / "overlays" / f"round_{index:02d}").iterdir())
            assert [path.name for path in pictures] == [f"{asked[0]}.png"]
            with Image.open(pictures[0]) as picture:
                assert picture.width > 5 * picture.height / 2
        events = EventAccumulator(str(run.folder / "tensorboard")).Reload()
        assert [event.step for event in events.Scalars("rounds/dice")] == [4, 6]
        assert [f"{event.value:.4f}" for event in events.Scalars("rounds/dice")] == [
            f"{float(row['dice']):.4f}" for row in rows
        ]

    def test_again_draws_and_appends_nothing(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        report(run, 0, pictures=2)
        files = sorted(path for path in run.folder.rglob("*") if path.is_file())

        def predict(*_: Any) -> Any:
            raise AssertionError("nothing is left to draw")

        monkeypatch.setattr(run.learner, "predict", predict)
        report(run, 0, pictures=2)
        assert sorted(path for path in run.folder.rglob("*") if path.is_file()) == files

    def test_no_pictures(self, run: Run) -> None:
        report(run, 0, pictures=0)
        assert not (run.folder / "overlays").exists()

    def test_ids_with_folders_stay_in_the_rounds_folder(self, run: Run) -> None:
        from scripts.active.report_handler import _file_name

        assert _file_name("001.Albatross/bird 1") == "001.Albatross__bird 1.png"
