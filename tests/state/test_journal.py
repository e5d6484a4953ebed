"""A state that knows fewer drawn masks than people were told are kept is refused, and mended without a loss."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scripts.core.errors import StateError
from scripts.state import journal
from scripts.state.desk import Desk
from scripts.state.reader import StateReader
from scripts.state.rows import LabelRow
from scripts.state.run_state import RunState
from tests.support.people import TRAIN, a_label, asking_run, png

OPENERS: list[Callable[[Path], Any]] = [Desk.open, StateReader.open, RunState.open]


@pytest.fixture()
def folder(tmp_path: Path, shapes_data: Any) -> Path:
    return asking_run(tmp_path / "run", shapes_data, tuple(TRAIN))


def hand_in(folder: Path, numbers: range) -> None:
    with Desk.open(folder) as desk:
        for number in numbers:
            desk.submit(a_label(TRAIN[number], origin="x"), png(number))


@pytest.fixture()
def older(folder: Path, tmp_path: Path) -> Path:
    """The run with ten answered masks, of which its state knows five."""
    hand_in(folder, range(5))
    shutil.copy(folder / "state.sqlite", tmp_path / "copy")
    hand_in(folder, range(5, 10))
    shutil.copy(tmp_path / "copy", folder / "state.sqlite")
    return folder


def blobs(folder: Path) -> set[str]:
    return {path.name for path in (folder / "blobs").rglob("*.png")}


class TestOlderState:
    @pytest.mark.parametrize("opened", OPENERS)
    def test_an_older_copy_is_refused_and_nothing_is_removed(self, older: Path, opened: Callable[[Path], Any]) -> None:
        before = blobs(older)
        with pytest.raises(StateError) as caught:
            opened(older)
        text = str(caught.value)
        assert "state is older than its files" in text
        assert (
            "5 masks that it does not know, of train_05, train_06, train_07, train_08, train_09, drawn by ann" in text
        )
        assert f"python -m scripts.annotation restore {older}" in text
        assert blobs(older) == before
        assert len(before) == 10

    def test_a_lost_log(self, folder: Path, tmp_path: Path) -> None:
        reader = sqlite3.connect(folder / "state.sqlite", isolation_level=None)  # keeps the log from being folded in
        reader.execute("BEGIN")
        reader.execute("SELECT COUNT(*) FROM labels").fetchall()
        hand_in(folder, range(3))
        shutil.copytree(folder, tmp_path / "copy")
        reader.close()
        for suffix in ("-wal", "-shm"):
            (tmp_path / "copy" / f"state.sqlite{suffix}").unlink()
        with pytest.raises(StateError, match=r"3 masks that it does not know"):
            RunState.open(tmp_path / "copy")
        assert len(blobs(tmp_path / "copy")) == 3

    def test_restored_as_they_were(self, older: Path) -> None:
        expected = journal.read(older)
        assert [row.id for row in Desk.restore(older)] == TRAIN[5:10]
        with RunState.open(older) as state:
            assert state.labels() == expected
            assert [row.id for row in state.pending()] == TRAIN[:10]
            assert [state.read_blob(row.blob) for row in state.labels()] == [png(number) for number in range(10)]
        assert Desk.restore(older) == []

    def test_a_mask_whose_file_is_lost_too(self, older: Path) -> None:
        (name,) = [row.blob for row in journal.read(older) if row.id == "train_07"]
        (older / "blobs" / name[:2] / name).unlink()
        with pytest.raises(StateError, match=r"cannot be read"):
            Desk.restore(older)
        connection = sqlite3.connect(older / "state.sqlite")
        assert connection.execute("SELECT COUNT(*) FROM labels").fetchone() == (5,)  # all or nothing
        connection.close()


class TestJournal:
    def test_a_run_of_before_gets_one_at_its_next_start(self, folder: Path) -> None:
        hand_in(folder, range(2))
        (folder / "people.jsonl").unlink()
        with RunState.open(folder):
            pass
        assert [row.id for row in journal.read(folder)] == TRAIN[:2]
        with RunState.open(folder):
            pass
        assert (folder / "people.jsonl").read_bytes().count(b"train_00") == 1

    def test_a_line_that_was_cut_off_spoils_no_other(self, folder: Path) -> None:
        hand_in(folder, range(1))
        with (folder / "people.jsonl").open("ab") as file:
            file.write(b'\n{"id": "train_0')
        hand_in(folder, range(1, 2))
        assert [row.id for row in journal.read(folder)] == TRAIN[:2]

    @pytest.mark.parametrize("line", [b"7", b"[]", b"{}", b'{"id": 3}', b"\xff", b"[" * 100_000])
    def test_lines_that_are_none(self, folder: Path, line: bytes) -> None:
        (folder / "people.jsonl").write_bytes(line)
        assert journal.read(folder) == []

    def test_a_journal_that_cannot_be_written_keeps_no_mask_out(
        self, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (folder / "people.jsonl").mkdir()
        with pytest.raises(StateError, match="journal of the masks cannot be read"):
            Desk.open(folder)
        (folder / "people.jsonl").rmdir()
        with Desk.open(folder) as desk:
            (folder / "people.jsonl").mkdir()
            assert desk.submit(a_label("train_00"), png()).version == 1
            assert "people.jsonl: cannot be written" in caplog.text
            assert len(desk.pending()) == 1

    def test_simulated_masks_are_not_in_it(self, folder: Path) -> None:
        with RunState.open(folder) as state:
            blob = state.put_blob(png(), ".png")
            state.commit(0, "oracle", labels=[LabelRow("train_00", 0, blob, 400, 76, 0.0)])
        with RunState.open(folder):
            assert journal.read(folder) == []


class TestDrawnMasksWithoutARow:
    def test_they_are_set_aside_and_what_a_phase_made_is_removed(
        self, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with RunState.open(folder) as state:
            drawn = state.put_blob(png(1), ".drawn.png")
            made = [state.put_blob(png(2), ".png"), state.put_blob(b"weights", ".pt")]
        with RunState.open(folder):
            pass
        assert (folder / "set_aside" / drawn).read_bytes() == png(1)
        assert not any((folder / "blobs" / name[:2] / name).exists() for name in (drawn, *made))
        assert f"1 drawn masks that nobody was told are kept, set aside in {folder / 'set_aside'}" in caplog.text


def test_an_index_that_disagrees_with_its_table_is_found(folder: Path) -> None:
    hand_in(folder, range(8))
    connection = sqlite3.connect(folder / "state.sqlite", isolation_level=None)
    connection.execute("PRAGMA writable_schema = ON")
    sql = "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_labels_1'"
    page, size = connection.execute(sql).fetchone()[0], connection.execute("PRAGMA page_size").fetchone()[0]
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    data = bytearray((folder / "state.sqlite").read_bytes())
    at = data.index(b"train_03", (page - 1) * size, page * size)
    data[at : at + 8] = b"train_3x"
    (folder / "state.sqlite").write_bytes(data)
    with pytest.raises(StateError, match="state is damaged"):
        Desk.open(folder)
