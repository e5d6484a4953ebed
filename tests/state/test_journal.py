"""A state that knows fewer drawn masks than people were told are kept is refused, and mended without a loss."""

from __future__ import annotations

import json
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


def line_with(**other: Any) -> bytes:
    """A mask in the journal, with something else in place of a value."""
    row = LabelRow("train_00", None, "0" * 64 + ".drawn.png", 1, 1, 0.0, "a")
    return json.dumps({"mask": {**vars(row), **other}}).encode()


class TestOlderState:
    @pytest.mark.parametrize("opened", OPENERS)
    def test_an_older_copy_is_refused_and_nothing_is_removed(self, older: Path, opened: Callable[[Path], Any]) -> None:
        before = blobs(older)
        with pytest.raises(StateError) as caught:
            opened(older)
        text = str(caught.value)
        assert "state is older than its files" in text
        images = "train_05, train_06, train_07, train_08, train_09"
        assert f"it does not know 5 masks, of {images}, drawn by ann" in text
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
        with pytest.raises(StateError, match=r"does not know 3 masks"):
            RunState.open(tmp_path / "copy")
        assert len(blobs(tmp_path / "copy")) == 3

    def test_restored_as_they_were(self, older: Path) -> None:
        expected = list(journal.read(older).masks)
        assert [row.id for row in Desk.restore(older)] == TRAIN[5:10]
        with RunState.open(older) as state:
            assert state.labels() == expected
            assert [row.id for row in state.pending()] == TRAIN[:10]
            assert [state.read_blob(row.blob) for row in state.labels()] == [png(number) for number in range(10)]
        assert Desk.restore(older) == []

    def test_a_mask_whose_file_is_lost_too(self, older: Path) -> None:
        (name,) = [row.blob for row in journal.read(older).masks if row.id == "train_07"]
        (older / "blobs" / name[:2] / name).unlink()
        with pytest.raises(StateError, match=r"cannot be read"):
            Desk.restore(older)
        connection = sqlite3.connect(older / "state.sqlite")
        assert connection.execute("SELECT COUNT(*) FROM labels").fetchone() == (5,)  # all or nothing
        connection.close()


class TestOlderPhases:
    @pytest.fixture()
    def fallen(self, folder: Path, tmp_path: Path) -> Path:
        """A run whose state has lost two phases, with the weights that one of them named."""
        hand_in(folder, range(12))
        shutil.copy(folder / "state.sqlite", tmp_path / "copy")
        with RunState.open(folder) as state:
            state.commit(0, "oracle", claim=True)
            weights = state.put_blob(b"weights", ".pt")
            state.commit(0, "cycle0", artifacts={"weights_cycle0": weights})
        shutil.copy(tmp_path / "copy", folder / "state.sqlite")
        return folder

    def test_are_named_and_nothing_is_removed(self, fallen: Path) -> None:
        with pytest.raises(StateError, match=r"does not know 2 phases: round 0 oracle, round 0 cycle0\."):
            RunState.open(fallen)
        assert list((fallen / "blobs").rglob("*.pt"))

    def test_are_done_anew_after_restore(self, fallen: Path) -> None:
        assert Desk.restore(fallen) == []
        with RunState.open(fallen) as state:
            assert state.last() == (0, "query")
            assert len(state.pending()) == 12
            state.commit(0, "oracle", claim=True)
        assert journal.read(fallen).phases == ((0, "query"), (0, "oracle"))

    def test_a_simulated_run_too(self, folder: Path, tmp_path: Path) -> None:
        shutil.copy(folder / "state.sqlite", tmp_path / "copy")
        with RunState.open(folder) as state:
            blob = state.put_blob(png(), ".png")
            state.commit(0, "oracle", labels=[LabelRow("train_00", 0, blob, 400, 76, 0.0)])
        shutil.copy(tmp_path / "copy", folder / "state.sqlite")
        with pytest.raises(StateError, match=r"does not know 1 phases: round 0 oracle"):
            StateReader.open(folder)


class TestJournal:
    def test_a_run_of_before_gets_one_at_its_next_start(self, folder: Path) -> None:
        hand_in(folder, range(2))
        (folder / "journal.jsonl").unlink()
        with RunState.open(folder):
            pass
        assert [row.id for row in journal.read(folder).masks] == TRAIN[:2]
        assert journal.read(folder).phases == ((0, "query"),)
        with RunState.open(folder):
            pass
        assert (folder / "journal.jsonl").read_bytes().count(b"train_00") == 1

    def test_a_line_that_was_cut_off_spoils_no_other(self, folder: Path) -> None:
        hand_in(folder, range(1))
        with (folder / "journal.jsonl").open("ab") as file:
            file.write(b'\n{"mask": {"id": "train_0')
        hand_in(folder, range(1, 2))
        assert [row.id for row in journal.read(folder).masks] == TRAIN[:2]
        assert journal.read(folder).phases == ((0, "query"),)

    @pytest.mark.parametrize("line", [b"7", b"[]", b"{}", b'{"mask": {"id": 3}}', b'{"phase": [1]}', b'{"phase": "x"}',
                                      b'{"mask": []}', b"\xff", b"[" * 100_000, line_with(id=[]), line_with(id=5),
                                      line_with(user=None), line_with(version="1"), line_with(round="0")])  # fmt: skip
    def test_lines_that_are_none(self, folder: Path, line: bytes) -> None:
        (folder / "journal.jsonl").write_bytes(line)
        assert journal.read(folder) == journal.Entries()

    def test_a_mask_whose_line_failed_is_written_down_when_it_is_told_again(self, folder: Path) -> None:
        """The same file sent again was answered as kept, and stood in the state alone."""
        with Desk.open(folder) as desk:
            (folder / "journal.jsonl").rename(folder / "aside")
            (folder / "journal.jsonl").mkdir()
            with pytest.raises(StateError, match="cannot be written"):
                desk.submit(a_label("train_00", origin="x"), png())
            (row,) = desk.labels()
            (folder / "journal.jsonl").rmdir()
            (folder / "aside").rename(folder / "journal.jsonl")
            for _ in range(2):
                desk.confirm(row)
                assert journal.read(folder).masks == (row,)
            assert (folder / "journal.jsonl").read_bytes().count(b"train_00") == 1

    def test_a_journal_that_cannot_be_written_is_told_and_keeps_no_mask_out(self, folder: Path) -> None:
        (folder / "journal.jsonl").rename(folder / "aside")
        (folder / "journal.jsonl").mkdir()
        with pytest.raises(StateError, match="journal of the run cannot be read"):
            Desk.open(folder)
        (folder / "journal.jsonl").rmdir()
        with Desk.open(folder) as desk:
            (folder / "journal.jsonl").mkdir()
            with pytest.raises(StateError, match=r"journal.jsonl: cannot be written"):
                desk.submit(a_label("train_00"), png())
            assert len(desk.pending()) == 1
            (folder / "journal.jsonl").rmdir()
        with RunState.open(folder):  # adds what is not in it
            assert [row.id for row in journal.read(folder).masks] == ["train_00"]

    def test_simulated_masks_are_not_in_it(self, folder: Path) -> None:
        with RunState.open(folder) as state:
            blob = state.put_blob(png(), ".png")
            state.commit(0, "oracle", labels=[LabelRow("train_00", 0, blob, 400, 76, 0.0)])
        with RunState.open(folder):
            assert journal.read(folder).masks == ()


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

    def test_lines_of_before_answers_had_kinds_are_read(self, folder: Path) -> None:
        hand_in(folder, range(1))
        lines = [json.loads(line) for line in (folder / "journal.jsonl").read_bytes().splitlines() if line]
        for line in lines:
            for name in ("kind", "objects"):
                line.get("mask", {}).pop(name, None)
        (folder / "journal.jsonl").write_text("".join(f"\n{json.dumps(line)}" for line in lines))
        (row,) = journal.read(folder).masks
        assert (row.id, row.kind, row.objects) == ("train_00", "outline", 0)
