"""The harness that kills runs: it sees what it must see. Its full form is a command of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.active.rounds import HARMLESS
from scripts.core.errors import StateError
from scripts.state.run_state import RunState
from tests.support.kill_compare import compare, leftovers, lost_bytes, stored
from tests.support.kill_harness import ROOT, Trial, points, table
from tests.support.small_runs import item_list, make_run


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", "label_prop", 0, [0.5, 0.6])


class TestCompare:
    def test_numbers_may_differ_by_rounding_alone(self) -> None:
        assert compare({"metric": 0.5, "query": "a"}, {"metric": 0.5 + 1e-7, "query": "a"}) == []
        assert compare({"metric": 0.5}, {"metric": 0.5 + 1e-5}) == ["metric: 0.50001 instead of 0.5"]

    def test_what_is_missing_or_new_is_named(self) -> None:
        assert len(compare({"query 0.0": "a"}, {"query 0.1": "a"})) == 2


class TestLost:
    def test_nothing_is_lost_by_more_work(self, run_dir: Path) -> None:
        before = stored(run_dir)
        with RunState.open(run_dir) as state:
            state.commit(2, "query", queries=[("train_9", 0.5)])
        assert lost_bytes(before, stored(run_dir)) == 0
        assert lost_bytes(stored(run_dir), before) > 0

    def test_a_removed_or_cut_file_is_lost(self, run_dir: Path) -> None:
        before = stored(run_dir)
        with RunState.open(run_dir) as state:
            blob = state.blob_path(state.labels()[0].blob)
        blob.write_bytes(b"m")
        assert lost_bytes(before, stored(run_dir)) == len(b"mask") - 1
        blob.unlink()
        assert lost_bytes(before, stored(run_dir)) == len(b"mask")

    def test_looking_changes_nothing(self, run_dir: Path) -> None:
        files = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
        stored(run_dir)
        assert {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()} == files


def test_leftovers_are_seen_and_gone_at_the_next_start(run_dir: Path) -> None:
    (run_dir / ".write-0123456789abcdef.tmp").write_bytes(b"half")
    with RunState.open(run_dir) as state:
        state.put_blob(b"of an interrupted phase", ".pt")
    (run_dir / ".write-0123456789abcdef.tmp").write_bytes(b"half")
    assert len(leftovers(run_dir.parent, "run")) == 2
    RunState.open(run_dir).close()
    assert leftovers(run_dir.parent, "run") == []


class TestChangedSettings:
    def test_named_with_old_and_new_value(self, tmp_path: Path) -> None:
        with RunState.open(tmp_path) as state:
            state.register_run({"lr": 0.1, "train": {"epochs": 3}}, HARMLESS, item_list(), "d")
            with pytest.raises(StateError) as error:
                state.register_run({"lr": 0.2, "train": {"epochs": 4}}, HARMLESS, item_list(), "d")
        found = {(problem.where, problem.expected, problem.found) for problem in error.value.problems}
        assert len(found) == 2
        for name, old, new in (("lr", "0.1", "0.2"), ("train#epochs", "3", "4")):
            assert any(name in where and old in one and new in other for where, one, other in found)

    @pytest.mark.parametrize("name", ["device", "num_workers", "active#rounds", "active#max_overlays"])
    def test_harmless_ones_are_taken(self, tmp_path: Path, name: str) -> None:
        def settings(value: object) -> dict[str, object]:
            head, _, tail = name.partition("#")
            return {head: {tail: value} if tail else value}

        with RunState.open(tmp_path) as state:
            state.register_run(settings(1), HARMLESS, item_list(), "d")
            state.register_run(settings(2), HARMLESS, item_list(), "d")
            assert state.settings() == settings(2)


def test_table_counts_by_phase() -> None:
    done = [Trial("stage 0: start", 1, [], 0, 2), Trial("stage 0: end", 1, ["metric: 1 instead of 2"], 7, 4)]
    lines = table(done).splitlines()
    assert lines[2] == "| stage 0 | 2 | 2 | 1 | 7 | 4 |"
    assert lines[-1] == "| **all** | 2 | 2 | 1 | 7 | 4 |"


def test_a_moment_that_no_longer_comes_is_noticed() -> None:
    with pytest.raises(StopIteration):
        points(["start: before commit"], full=False)


@pytest.mark.slow
def test_a_run_killed_in_a_transaction_ends_the_same() -> None:
    at = "round 1 pseudo: inside the transaction"
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.kill_harness", "--at", at],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert f"{at}: 1 kills, equal, 0 bytes lost" in done.stdout, done.stdout + done.stderr[-2000:]
    assert done.returncode == 0
