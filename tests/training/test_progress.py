"""The progress bar: its length, its terms, and that it goes away however the training ends."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ignite.engine import Engine

from scripts.training import trainer as progress
from scripts.training.trainer import StepBar


class FakeBar:
    """Stands in for tqdm."""

    made: list[FakeBar]

    def __init__(self, **settings) -> None:
        self.settings, self.steps, self.postfix, self.closed = settings, 0, [], 0
        FakeBar.made.append(self)

    def set_postfix(self, terms: dict[str, str], refresh: bool) -> None:
        self.postfix.append(terms)

    def update(self) -> bool:
        self.steps += 1
        return self.steps % 3 == 0  # tqdm tells whether it has drawn the bar

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> list[FakeBar]:
    FakeBar.made = []
    monkeypatch.setattr(progress, "tqdm", FakeBar)
    return FakeBar.made


def trained(step, criterion: SimpleNamespace | None = None) -> Engine:
    trainer = Engine(step)
    StepBar("round_01_cycle0", criterion or SimpleNamespace(terms={})).attach(trainer)
    trainer.run(range(4), max_epochs=3)
    return trainer


def test_bar_counts_all_steps_and_shows_the_terms_in_use(bars: list[FakeBar]):
    criterion = SimpleNamespace(terms={})

    def step(engine: Engine, _batch: int) -> None:
        criterion.terms = {"total": engine.state.iteration / 8, "cl": 0.0}

    trained(step, criterion)
    (bar,) = bars
    assert bar.settings["total"] == bar.steps == 12
    assert bar.settings["desc"] == "round 01 cycle0"
    assert bar.settings["leave"] is False
    # terms are read only when the bar is drawn: each reading waits for the device
    assert bar.postfix == [{"total": f"{step / 8:.3f}"} for step in (3, 6, 9, 12)]
    assert bar.closed


@pytest.mark.parametrize("error", [ValueError("boom"), KeyboardInterrupt()])
def test_an_error_closes_the_bar_and_goes_on(bars: list[FakeBar], error: BaseException):
    def step(engine: Engine, _batch: int) -> None:
        if engine.state.iteration == 5:
            raise error

    with pytest.raises(type(error)) as caught:
        trained(step)
    assert caught.value is error
    assert bars[0].steps == 4
    assert bars[0].closed


def test_termination_closes_the_bar(bars: list[FakeBar]):
    trained(lambda engine, _: engine.terminate() if engine.state.iteration == 3 else None)
    assert bars[0].steps == 3
    assert bars[0].closed


def test_each_run_has_its_own_bar(bars: list[FakeBar]):
    trainer = trained(lambda *_: None)
    trainer.run(range(4), max_epochs=3)
    assert [bar.steps for bar in bars] == [12, 12]
