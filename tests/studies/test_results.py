"""What a run leaves in a study, and the table of all rounds."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from scripts.core.errors import InputError, StateError
from scripts.state.run_state import RunState
from scripts.studies.process import Ended
from scripts.studies.results import (
    COLUMNS,
    SharedResults,
    StudyNames,
    read_results,
    round_rows,
    run_result,
    settings_hash,
    write_result,
    write_rounds,
)
from tests.support.small_runs import make_run
from tests.support.study_runs import FakeRun, fake_run

NAMES = StudyNames("s", "glas", "published")


def finished(folder: Path, dices: list[float], method: str = "random", seed: int = 0) -> FakeRun:
    run = fake_run(folder, method=method, seed=seed, rounds=len(dices))
    make_run(run.folder, method, seed, dices, threads=1)
    with RunState.open(run.folder) as state:
        for at, dice in enumerate(dices):
            blob = state.put_blob(json.dumps({"b": dice + 0.00004, "a": dice}).encode(), ".json")
            state.commit(at, "oracle", artifacts={"test_dice": blob})
    return run


def result_of(**changes: Any) -> dict[str, Any]:
    rows = [{"round": at, "masks": 2 * at + 2, "dice": 0.5 + at / 10, "annotation_seconds": 3.5} for at in range(2)]
    names = {"format": 1, "study": "s", "data": "glas", "split": "published", "method": "random", "seed": 0}
    return {**names, "seconds": 99.0, "rounds": rows, "test_dice": [{"a": 0.5}], **changes}


def put(folder: Path, content: Mapping[str, Any]) -> Path:
    path = folder / f"{content['method']}_seed{content['seed']}.json"
    write_result(path, content)
    return path


class TestOfARun:
    def test_has_what_the_state_has(self, tmp_path: Path) -> None:
        run = finished(tmp_path, [0.5, 0.75])
        found = run_result(run, NAMES, Ended(0, 5.0, 1.2345))
        assert {key: found[key] for key in ("study", "data", "split", "method", "seed", "peak_gb")} == {
            "study": "s", "data": "glas", "split": "published", "method": "random", "seed": 0, "peak_gb": 1.23,
        }  # fmt: skip
        assert [row["dice"] for row in found["rounds"]] == [0.5, 0.75]
        assert found["queries"] == [["train_0", "train_1"], ["train_2", "train_3"]]
        assert found["test_dice"] == [{"a": 0.5, "b": 0.5}, {"a": 0.75, "b": 0.75}]
        assert found["settings_sha256"] == settings_hash(found["settings"])
        assert found["machine"]["threads"] == 1 and found["data_sha256"] == "d" * 64
        write_result(run.result, found)
        assert read_results(run.result.parent) == [json.loads(json.dumps(found))]
        lines = run.result.read_text().splitlines()
        assert len(lines) < 60 and sum('"dice": 0.75' in line for line in lines) == 1  # a line per round

    def test_one_that_waits_for_people_has_none(self, tmp_path: Path) -> None:
        run = fake_run(tmp_path)
        make_run(run.folder, "random", 0, [0.5])
        with pytest.raises(StateError, match="masks of people are waited for"):
            run_result(run, NAMES, Ended(0, 1.0, 1.0))

    def test_a_damaged_state_is_told(self, tmp_path: Path) -> None:
        run = finished(tmp_path, [0.5])
        path = run.folder / "state.sqlite"
        path.write_bytes(b"x" * 4096 + path.read_bytes()[4096:])
        with pytest.raises(StateError, match="state"):
            run_result(run, NAMES, Ended(0, 1.0, 1.0))


class TestRead:
    def test_by_method_and_seed(self, tmp_path: Path) -> None:
        for method, seed in (("b", 0), ("a", 10), ("a", 2)):
            put(tmp_path, result_of(method=method, seed=seed))
        (tmp_path / "notes.txt").write_text("not looked at")
        assert [(one["method"], one["seed"]) for one in read_results(tmp_path)] == [("a", 2), ("a", 10), ("b", 0)]
        assert read_results(tmp_path / "nothing") == []

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"{", "JSONDecodeError"), (b"\xff", "UnicodeDecodeError"), (b"[" * 100_000, "RecursionError"),
            (b"[1]", "found list"), (b"null", "found NoneType"), (b"{}", "found format None"),
            (json.dumps(result_of(format=9)).encode(), "found format 9"),
            (json.dumps(result_of(seed="0")).encode(), "without seed"),
            (json.dumps(result_of(seed=True)).encode(), "without seed"),
            (json.dumps(result_of(rounds=[3], test_dice=[])).encode(), "without rounds"),
            (json.dumps(result_of(rounds=[{"dice": 1}])).encode(), "without rounds"),
            (json.dumps(result_of(rounds=None, test_dice=None)).encode(), "without rounds, test_dice"),
            (json.dumps(result_of(seed=3)).encode(), "found that of random_seed3.json"),
        ],
    )  # fmt: skip
    def test_what_is_no_result_is_named_with_all_others(self, tmp_path: Path, content: bytes, words: str) -> None:
        (tmp_path / "random_seed0.json").write_bytes(content)
        (tmp_path / "copy.json").write_text("{}")
        with pytest.raises(InputError, match=words) as caught:
            read_results(tmp_path)
        assert [problem.where for problem in caught.value.problems] == [
            str(tmp_path / name) for name in ("copy.json", "random_seed0.json")
        ]
        assert "Remove it" in str(caught.value)

    def test_a_folder_of_this_name(self, tmp_path: Path) -> None:
        (tmp_path / "a.json").mkdir()
        with pytest.raises(InputError, match="not a result of a study"):
            read_results(tmp_path)


class TestTable:
    def test_rows_have_the_annotators_seconds(self) -> None:
        rows = round_rows([result_of()])
        assert [tuple(row) for row in rows] == [COLUMNS] * 2
        assert [row["seconds"] for row in rows] == [3.5, 3.5]
        assert rows[1]["masks"] == 4 and rows[1]["study"] == "s" and rows[1]["miou"] is None

    def test_rows_of_other_studies_stay(self, tmp_path: Path) -> None:
        path = tmp_path / "deep" / "rounds.csv"
        write_rounds(path, [result_of(study="other", method='with "quotes",\nand lines')])
        before = path.read_bytes()
        write_rounds(path, [result_of()], NAMES)
        assert path.read_bytes().startswith(before)
        write_rounds(path, [], NAMES)  # no result of the study is left
        assert path.read_bytes() == before
        write_rounds(path, [result_of()], fresh=True)
        with open(path, newline="") as file:
            assert {row["study"] for row in csv.DictReader(file)} == {"s"}

    @pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"", b"\xff\xfe", b"\x00"])
    def test_another_table_is_not_written_over(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "rounds.csv"
        path.write_bytes(content)
        with pytest.raises(InputError, match="another table"):
            write_rounds(path, [result_of()])
        assert path.read_bytes() == content


class TestSharedResults:
    """A folder that several machines add to."""

    def rows(self, folder: Path) -> list[tuple[str, str, str]]:
        with open(folder / "rounds.csv", newline="") as file:
            return [(row["method"], row["seed"], row["round"]) for row in csv.DictReader(file)]

    def longer(self) -> dict[str, Any]:
        return result_of(rounds=[*result_of()["rounds"], {"round": 2, "masks": 6, "dice": 0.9}])

    def test_fewer_rounds_never_replace_more(self, tmp_path: Path) -> None:
        shared = SharedResults(tmp_path, NAMES)
        shared.put([self.longer()])
        shared.put([result_of()])
        assert self.rows(tmp_path) == [("random", "0", "0"), ("random", "0", "1"), ("random", "0", "2")]
        assert [len(result["rounds"]) for result in shared.newer([result_of()])] == [3]
        assert shared.newer([self.longer()]) == []

    def test_rows_of_another_machine_stay(self, tmp_path: Path) -> None:
        shared = SharedResults(tmp_path, NAMES)
        shared.put([result_of(seed=0)])
        shared.put([result_of(seed=1)])
        SharedResults(tmp_path, StudyNames("other", "glas", "published")).put([result_of(study="other", method="wsl")])
        assert {row[:2] for row in self.rows(tmp_path)} == {("random", "0"), ("random", "1"), ("wsl", "0")}
