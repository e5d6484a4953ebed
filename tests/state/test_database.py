"""The SQLite file: whole or not there, checked when opened, one transaction at a time."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.core.errors import StateError
from scripts.state.database import Database

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Database.create(tmp_path / "state.sqlite")
    return tmp_path / "state.sqlite"


def put(database: Database, key: str) -> None:
    with database.transaction() as db:
        db.execute("INSERT INTO run VALUES (?, 'value')", (key,))


def keys(database: Database) -> list[str]:
    return [key for (key,) in database.rows("SELECT key FROM run ORDER BY key")]


def test_durability_settings_are_in_force(path: Path) -> None:
    database = Database.open(path)
    pragmas = {name: database.rows(f"PRAGMA {name}")[0][0] for name in ("journal_mode", "synchronous", "foreign_keys")}
    database.close()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_create_leaves_one_file(path: Path) -> None:
    assert [entry.name for entry in path.parent.iterdir()] == ["state.sqlite"]


def test_block_that_raises_stores_nothing_and_the_next_one_works(path: Path) -> None:
    database = Database.open(path)
    with pytest.raises(KeyboardInterrupt), database.transaction() as db:
        db.execute("INSERT INTO run VALUES ('lost', '')")
        raise KeyboardInterrupt
    put(database, "kept")
    assert keys(database) == ["kept"]
    database.close()


def test_snapshot_does_not_move_and_does_not_stop_the_writer(path: Path) -> None:
    writer = Database.open(path)
    put(writer, "a")
    snapshot = Database.open_snapshot(path)
    put(writer, "b")
    assert keys(snapshot) == ["a"]
    assert keys(writer) == ["a", "b"]
    with pytest.raises(StateError, match="readonly"):
        snapshot.rows("INSERT INTO run VALUES ('c', '')")
    snapshot.close()
    writer.close()


def test_copy_of_the_one_file_is_complete_after_each_transaction(path: Path, tmp_path: Path) -> None:
    writer = Database.open(path)
    for key in "abc":
        put(writer, key)
        copy = tmp_path / f"{key}.sqlite"
        copy.write_bytes(path.read_bytes())
        with contextlib.closing(sqlite3.connect(copy)) as connection:
            assert connection.execute("SELECT MAX(key) FROM run").fetchone() == (key,)
    writer.close()


def test_every_truncation_is_refused(path: Path) -> None:
    database = Database.open(path)
    put(database, "a")
    database.close()
    whole = path.read_bytes()
    for length in [0, 1, 99, 100, *range(512, len(whole), 4096), len(whole) - 4096, len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(StateError, match=r"state\.sqlite.*backup"):
            Database.open(path)


def test_damage_is_refused_or_read_but_never_another_error(path: Path) -> None:
    database = Database.open(path)
    for key in range(200):
        put(database, f"{key:03}")
    database.close()
    whole = path.read_bytes()
    rng = random.Random(0)
    refused = 0
    for _ in range(120):
        spoiled = bytearray(whole)
        at = rng.randrange(len(whole) - 64)
        spoiled[at : at + 64] = rng.randbytes(64)
        path.write_bytes(spoiled)
        try:
            database = Database.open(path)
            keys(database)
            database.close()
        except StateError:
            refused += 1
    assert refused > 5  # most of a young file is unused space


@pytest.mark.parametrize("text", [b"", b"not a database at all" * 100])
def test_other_files_are_refused(path: Path, text: bytes) -> None:
    path.write_bytes(text)
    with pytest.raises(StateError, match=r"state\.sqlite"):
        Database.open(path)


@pytest.mark.parametrize(
    ("pragma", "match"), [("application_id", "not the state of a run"), ("user_version", "format")]
)
def test_other_databases_and_versions_are_refused(path: Path, pragma: str, match: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA {pragma} = 99")
    with pytest.raises(StateError, match=match):
        Database.open(path)


def test_use_after_close_is_a_fault_of_the_caller(path: Path) -> None:
    database = Database.open(path)
    database.close()
    database.close()
    with pytest.raises(sqlite3.ProgrammingError):
        keys(database)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user, so that permissions count")
def test_snapshot_of_a_folder_without_write_permission(path: Path) -> None:
    database = Database.open(path)
    put(database, "a")
    database.close()
    code = "import sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path; "
    code += "from scripts.state.database import Database; import os; os.setuid(65534); "
    code += "print(Database.open_snapshot(Path(sys.argv[1])).rows('SELECT key FROM run'))"
    for folder in path.parents:
        if folder.is_relative_to(path.parents[1]) or folder.stat().st_mode & 0o777 == 0o700:  # pytest's own
            folder.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(ROOT)], capture_output=True, text=True, check=False
    )
    assert done.stdout == "[('a',)]\n", done.stderr
