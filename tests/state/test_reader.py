"""What a state tells about annotators; the desk's tests (tests/state/test_desk.py) cover what is written there."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from scripts.core.errors import StateError
from scripts.report.page import write_report
from scripts.state.desk import Desk
from scripts.state.reader import StateReader, with_replacements
from scripts.state.rows import LabelRow
from scripts.state.run_state import RunState
from scripts.state.schema import VERSION
from tests.support.people import a_label, asking_run, png, query

LABELS = {"a0": 0, "a1": 0, "a2": 0, "b0": 1, "b1": 1, "b2": 1}


class TestWithReplacements:
    def test_nothing_skipped(self) -> None:
        assert with_replacements(query("a0", "b0"), query("a1", "b1"), LABELS, ()) == ["a0", "b0"]

    def test_the_next_of_the_class(self) -> None:
        assert with_replacements(query("a0", "b0"), query("a1", "b1", "b2"), LABELS, {"b0"}) == ["a0", "b1"]

    def test_reserves_that_are_skipped_too(self) -> None:
        assert with_replacements(query("a0", "b0"), query("a1", "b1", "b2"), LABELS, {"b0", "b1"}) == ["a0", "b2"]

    def test_no_reserve_left(self) -> None:
        assert with_replacements(query("a0", "b0"), query("a1"), LABELS, {"b0", "a0", "a1"}) == []


class TestAsked:
    def test_a_round_is_open_until_its_masks_are_taken(self, tmp_path: Path, shapes_data: Any) -> None:
        folder = asking_run(tmp_path, shapes_data)
        with RunState.open(folder) as state:
            assert state.open_round() == 0
            assert state.waiting(0) == ["train_00", "train_01"]
            state.commit(0, "oracle", claim=True)
            assert state.open_round() is None

    def test_who_was_asked(self, tmp_path: Path, shapes_data: Any) -> None:
        folder = asking_run(tmp_path, shapes_data, reserves=[("train_02", None), ("train_04", None)])
        with Desk.open(folder) as desk:
            assert [key for key in LABELS_OF_RUN if desk.was_asked(key)] == ["train_00", "train_01"]
            desk.skip("train_00", "a")  # now its reserve is asked for
            desk.hand_out("a", order=["train_07"])
            desk.submit(a_label("train_09"), png())
            found = [key for key in LABELS_OF_RUN if desk.was_asked(key)]
            assert found == ["train_00", "train_01", "train_02", "train_07", "train_09"]


LABELS_OF_RUN = [f"train_{i:02d}" for i in range(12)]


class TestDrawn:
    def test_the_latest_of_each_annotator(self, tmp_path: Path, shapes_data: Any) -> None:
        folder = asking_run(tmp_path, shapes_data)
        with Desk.open(folder) as desk, RunState.open(folder) as state:
            for user, left in (("a", 1), ("b", 2), ("a", 3)):
                desk.submit(a_label("train_00", user), png(left))
            assert state.drawn(0) == {}
            state.commit(0, "oracle", claim=True)
            assert [(row.user, row.version) for row in state.drawn(0)["train_00"]] == [("a", 3), ("b", 2)]

    def test_people_win_over_simulated_masks(self, tmp_path: Path, shapes_data: Any) -> None:
        folder = asking_run(tmp_path, shapes_data)
        with Desk.open(folder) as desk, RunState.open(folder) as state:
            for user in ("simulated", "a"):
                desk.submit(a_label("train_00", user), png())
            state.commit(0, "oracle", claim=True)
            assert [row.user for row in state.drawn(0)["train_00"]] == ["a"]


def contents(folder: Path) -> dict[Path, bytes]:
    """Bytes of all files of a run but its lock, which a writer may make."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lock"}


class TestOlderStates:
    """A state as version 0.1.0 of the first format left it."""

    @pytest.fixture()
    def old(self, tmp_path: Path, shapes_data: Any) -> Path:
        folder = asking_run(tmp_path / "run", shapes_data)
        with RunState.open(folder) as state:
            blob = state.put_blob(png(), ".png")
            state.commit(0, "oracle", labels=[LabelRow("train_00", 0, blob, 400, 76, 1.5)])
        with sqlite3.connect(folder / "state.sqlite") as db:
            for table in ("reserves", "skips", "leases", "refusals", "scores"):
                db.execute(f"DROP TABLE {table}")
            for column in ("at", "said", "origin", "origin_sha256"):
                db.execute(f"ALTER TABLE labels DROP COLUMN {column}")
            db.execute("PRAGMA user_version = 1")
        db.close()
        return folder

    @pytest.mark.parametrize("version", [1, 2, VERSION + 1])
    def test_of_another_version_is_refused_by_all_and_left_as_it_is(self, old: Path, version: int) -> None:
        with sqlite3.connect(old / "state.sqlite") as db:
            db.execute(f"PRAGMA user_version = {version}")
        db.close()
        before = contents(old)
        for opening in (RunState.open, StateReader.open, Desk.open):
            with pytest.raises(StateError) as error:
                opening(old)
            (problem,) = error.value.problems
            assert problem.expected == "format 3, with which this program begins"
            writer = {1: "format 1, of program 0.1", 2: "format 2, of program 0.2"}.get(version, f"format {version}")
            assert problem.found == writer
            assert "choose another output folder for a new run" in problem.cure
        assert contents(old) == before
        assert "another format" in write_report(old.parent).read_text()
