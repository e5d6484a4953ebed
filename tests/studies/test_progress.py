"""How far a study is, on a terminal and in a file."""

from __future__ import annotations

import io
import logging
import sys
from pathlib import Path

import pytest

from scripts.report.curve import write_curve
from scripts.state.reader import StateReader
from scripts.studies import progress
from scripts.studies.progress import Progress, rounds_done
from tests.support.small_runs import make_run
from tests.support.study_runs import FakeRun, fake_run


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """Seed -> rounds that are done, instead of those of a state."""
    found: dict[int, int] = {}
    monkeypatch.setattr(
        progress, "rounds_done", lambda run: (found.get(run.seed, 0), 0.5 if run.seed in found else None)
    )
    return found


def runs_of(folder: Path, count: int = 2, rounds: int = 4) -> list[FakeRun]:
    runs = [fake_run(folder, seed=seed, rounds=rounds) for seed in range(count)]
    for run in runs:
        run.output_dir.mkdir(exist_ok=True)
        run.log.touch()
    return runs


def test_a_bar_per_run_and_one_for_all(tmp_path: Path, rounds: dict[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream := io.StringIO())
    runs = runs_of(tmp_path)
    runs[1].log.unlink()  # it has not begun
    shown = Progress(runs, 4, on_terminal=True)
    rounds[0] = 4
    shown.look()
    shown.ended(runs[0])
    shown.close()
    last = stream.getvalue().replace("\r", "\n")
    assert "random, seed 0: 100%" in last and "4/4" in last and "Dice 0.5000" in last
    assert "random, seed 1" not in last
    assert "study:  67%" in last and "8/12" in last


def test_a_run_that_failed_is_not_waited_for(tmp_path: Path, rounds: dict[int, int]) -> None:
    runs = runs_of(tmp_path)
    shown = Progress(runs, 0, on_terminal=True)
    rounds[0] = 1
    shown.ended(runs[0])
    assert (shown._all.total, shown._all.n) == (5, 1)
    shown.close()


def test_few_lines_in_a_file(
    tmp_path: Path, rounds: dict[int, int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(sys, "stderr", stream := io.StringIO())
    runs = runs_of(tmp_path, rounds=1000)
    with caplog.at_level(logging.INFO):
        shown = Progress(runs, 0)
        for second in range(1, 601):
            now[0] = float(second)
            rounds[0] = rounds[1] = second
            shown.look()
        for run in runs:
            shown.ended(run)
        shown.close()
    assert stream.getvalue() == ""
    assert len(caplog.messages) == 10 + 2
    assert caplog.messages[0] == "random, seed 0: 60 of 1000 rounds, Dice 0.5000; study: 119 of 2000 rounds, 15:48 left"
    assert caplog.messages[-1] == "random, seed 1: ended with 600 of 1000 rounds; study: 1200 of 1200 rounds"


def test_rounds_are_those_of_the_curve(tmp_path: Path) -> None:
    run = fake_run(tmp_path)
    assert rounds_done(run) == (0, None)
    make_run(run.folder, "random", 0, [0.5, 0.75])
    assert rounds_done(run) == (0, None)
    with StateReader.open(run.folder) as state:
        write_curve(state, run.folder)
    assert rounds_done(run) == (2, 0.75)


@pytest.mark.parametrize("content", [b"", b"round,dice\n", b"round,dice\n0,", b"round\n0\n", b"\xff\xfe\n\x00"])
def test_what_cannot_be_read_counts_as_not_begun(tmp_path: Path, content: bytes) -> None:
    run = fake_run(tmp_path)
    run.folder.mkdir(parents=True)
    (run.folder / "curve.csv").write_bytes(content)
    assert rounds_done(run) == (0, None)
