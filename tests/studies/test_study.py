"""A study from its first start to its table: what is done is not done again, what fails does not stop the rest."""

from __future__ import annotations

import csv
import importlib.util
import json
import logging
import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from scripts.core.errors import InputError, StateError
from scripts.core.lock import FileLock
from scripts.core.run_config import RunConfig
from scripts.studies import checks, study
from scripts.studies.plan import StudyRun
from scripts.studies.process import Ended
from scripts.studies.results import read_results, settings_hash
from scripts.studies.study import Study
from tests.studies.test_plan import config_of
from tests.studies.test_results import result_of
from tests.support.study_runs import start_study

DATA = SimpleNamespace(
    datalist=SimpleNamespace(root=Path("glas"), sha256="d" * 64, items=[]),
    classes=("a", "b"),
    native_size=lambda: (64, 64),
)


class FakeRunner:
    """It notes which runs it is given; ``codes`` says how those of a name end, else well."""

    def __init__(self, codes: dict[str, int] | None = None, then: Callable[[], None] = lambda: None) -> None:
        self.codes, self.then, self.asked = codes or {}, then, list[str]()

    def run(
        self, runs: Sequence[StudyRun], on_end: Callable[[StudyRun, Ended], None], look: Callable[[], None]
    ) -> None:
        self.asked = [run.name for run in runs]
        for run in runs:
            look()
            code = self.codes.get(run.name, 0)
            on_end(run, Ended(code, 1.0, 1.0, "error: the cause" if code else ""))
            self.then()


@pytest.fixture(autouse=True)
def _results_of_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings are the learning rate and what may grow; a run's result is made of those of its config."""
    monkeypatch.setattr(checks, "stored_settings", lambda config, data, settings: settings_of(config))

    def made(run: StudyRun, names: Any, ended: Ended) -> dict[str, Any]:
        read = [json.loads(path.read_bytes()) for path in (run.study / "config.json", run.config)]
        settings = settings_of(RunConfig(RunConfig(read[0]).parser(read[1]).get()))
        return result_of(
            study=names.study, data=names.data, split=names.split, method=run.arm, seed=run.seed,
            settings=settings, settings_sha256=settings_hash(settings), data_sha256=DATA.datalist.sha256,
        )  # fmt: skip

    monkeypatch.setattr(study, "run_result", made)


def settings_of(config: RunConfig) -> dict[str, Any]:
    return {"lr": config["lr"], "active": {"rounds": config["active#rounds"], "budget": config["active#budget"]}}


def study_of(folder: Path, runner: Any, methods: Any = ("random", "wsl"), seeds: Any = (0, 1), **changes: Any) -> Study:
    named = {key: changes.pop(key) for key in ("overlays", "split_name", "data_name", "results_dir") if key in changes}
    config = config_of(**changes)
    data: Any = DATA
    return Study(config, data, str(folder), "local", {"local": runner}, methods, seeds, **named)


def table(path: Path) -> list[tuple[str, str, str]]:
    with open(path, newline="") as file:
        return [(row["study"], row["method"], row["seed"]) for row in csv.DictReader(file) if row["round"] == "1"]


ALL = ["random, seed 0", "wsl, seed 0", "random, seed 1", "wsl, seed 1"]


class TestWhatIsRun:
    def test_all_then_nothing(self, tmp_path: Path) -> None:
        runner = FakeRunner()
        path = study_of(tmp_path / "s", runner).run()
        assert runner.asked == ALL
        assert sorted(table(path)) == [("s", m, seed) for m in ("random", "wsl") for seed in "01"]
        before = path.read_bytes()
        again = FakeRunner()
        assert study_of(tmp_path / "s", again).run() == path
        assert again.asked == [] and path.read_bytes() == before

    def test_what_failed_is_told_and_run_again(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        with pytest.raises(StateError) as caught:
            study_of(tmp_path, FakeRunner({"wsl, seed 0": 3, "random, seed 1": -9})).run()
        told = str(caught.value)
        assert "2 problems" in told and "found 3: error: the cause" in told
        assert "wsl, seed 0: run of the study failed; expected exit code 0" in told
        assert str(tmp_path / "wsl" / "seed0.log") in told
        assert len(table(tmp_path / "rounds.csv")) == 2
        assert "wsl, seed 0 failed, the others go on" in caplog.text
        again = FakeRunner()
        study_of(tmp_path, again).run()
        assert again.asked == ["wsl, seed 0", "random, seed 1"]

    def test_a_run_whose_state_is_damaged_does_not_stop_the_rest(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = study.run_result

        def damaged(run: StudyRun, *others: Any) -> Any:
            if run.name == ALL[0]:
                raise StateError([])
            return made(run, *others)

        monkeypatch.setattr(study, "run_result", damaged)
        with pytest.raises(StateError):
            study_of(tmp_path, runner := FakeRunner()).run()
        assert runner.asked == ALL and len(table(tmp_path / "rounds.csv")) == 3

    def test_more_methods_and_seeds_are_added(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        study_of(tmp_path, FakeRunner()).run()
        runner = FakeRunner()
        with caplog.at_level(logging.INFO):
            study_of(tmp_path, runner, ["wsl", "entropy"], [1, 2]).run()
        assert runner.asked == ["entropy, seed 1", "wsl, seed 2", "entropy, seed 2"]
        assert len(table(tmp_path / "rounds.csv")) == 7  # those that it does not name any more stay
        assert "does not name any more are in the table too: random, seed 0, random, seed 1, wsl, seed 0" in caplog.text

    def test_an_interruption_keeps_what_is_done(self, tmp_path: Path) -> None:
        def interrupt() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            study_of(tmp_path, FakeRunner(then=interrupt)).run()
        again = FakeRunner()
        study_of(tmp_path, again).run()
        assert again.asked == ALL[1:]


class TestResultsOfBefore:
    def test_other_settings_are_refused_before_anything_is_written(self, tmp_path: Path) -> None:
        study_of(tmp_path, FakeRunner()).run()
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        runner = FakeRunner()
        with pytest.raises(StateError) as caught:
            study_of(tmp_path, runner, seeds=[0, 1, 2], lr=0.5).run()
        (problem,) = caught.value.problems
        assert problem.where == "lr of random_seed0, wsl_seed0, random_seed1 and 1 more"
        assert (problem.expected, problem.found) == ("0.002", "0.5")
        assert "choose another output folder" in problem.cure
        assert runner.asked == []
        assert {path: path.read_bytes() for path in before} == before

    def test_other_data_are_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        study_of(tmp_path, FakeRunner()).run()
        monkeypatch.setattr(DATA.datalist, "sha256", "e" * 64)
        with pytest.raises(StateError, match=r"data list \(SHA-256\) of random_seed0.*: changed"):
            study_of(tmp_path, FakeRunner()).run()

    def test_an_overlay_that_changed_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "o.json"
        path.write_text('{"lr": 0.1}')
        study_of(tmp_path / "s", FakeRunner(), overlays={"o": str(path)}).run()
        path.write_text('{"lr": 0.2}')
        with pytest.raises(StateError, match=r"lr of random\+o_seed0, wsl\+o_seed0, .*expected 0.1; found 0.2"):
            study_of(tmp_path / "s", FakeRunner(), overlays={"o": str(path)}).run()

    @pytest.mark.parametrize("changes", [{"active#rounds": 5}, {"active#budget": 9}])
    def test_more_rounds_go_on(self, tmp_path: Path, changes: dict[str, Any]) -> None:
        study_of(tmp_path, FakeRunner()).run()
        runner = FakeRunner()
        study_of(tmp_path, runner, **changes).run()
        assert runner.asked == ALL

    @pytest.mark.parametrize("key", ["settings", "settings_sha256"])
    def test_a_result_that_was_changed_is_refused(self, tmp_path: Path, key: str) -> None:
        study_of(tmp_path, FakeRunner()).run()
        path = tmp_path / "results" / "wsl_seed1.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), key: {"lr": 3}}))
        with pytest.raises(StateError, match=r"wsl_seed1\.json of wsl_seed1: result was changed, or is damaged"):
            study_of(tmp_path, FakeRunner()).run()

    def test_damage_is_told_before_the_first_run(self, tmp_path: Path) -> None:
        study_of(tmp_path, FakeRunner()).run()
        path = tmp_path / "results" / "wsl_seed1.json"
        path.write_bytes(path.read_bytes()[:100])
        runner = FakeRunner()
        with pytest.raises(InputError, match=r"wsl_seed1\.json: not a result of a study"):
            study_of(tmp_path, runner, seeds=[0, 1, 2]).run()
        assert runner.asked == []
        path.unlink()
        study_of(tmp_path, runner).run()
        assert runner.asked == ["wsl, seed 1"]

    def test_names_are_labels(self, tmp_path: Path) -> None:
        study_of(tmp_path / "s", FakeRunner()).run()
        (tmp_path / "s").rename(tmp_path / "t")
        runner = FakeRunner()
        path = study_of(tmp_path / "t", runner, split_name="fold 1").run()
        assert runner.asked == [] and {row[0] for row in table(path)} == {"t"}
        assert {one["split"] for one in read_results(tmp_path / "t" / "results")} == {"fold 1"}


class TestPlaces:
    def test_a_study_has_one_process(self, tmp_path: Path) -> None:
        lock = FileLock(tmp_path / "study.lock")
        with pytest.raises(StateError, match=f"the study is in use by another process; found pid {os.getpid()}"):
            study_of(tmp_path, FakeRunner()).run()
        lock.release()
        study_of(tmp_path, FakeRunner()).run()

    def test_tables_of_several_studies_share_a_folder(self, tmp_path: Path) -> None:
        shared = tmp_path / "shared"
        for name in ("a", "b", "a"):
            study_of(tmp_path / name, FakeRunner(), results_dir=str(shared)).run()
        assert sorted({row[0] for row in table(shared / "rounds.csv")}) == ["a", "b"]
        assert len(table(shared / "rounds.csv")) == 8 and len(table(tmp_path / "a" / "rounds.csv")) == 4

    def test_another_machine_goes_on_from_the_shared_results(self, tmp_path: Path) -> None:
        shared = tmp_path / "shared"
        study_of(tmp_path / "one" / "s", FakeRunner(), seeds=(0,), results_dir=str(shared)).run()
        assert sorted(path.name for path in (shared / "s").iterdir()) == ["random_seed0.json", "wsl_seed0.json"]
        runner = FakeRunner()
        study_of(tmp_path / "two" / "s", runner, results_dir=str(shared)).run()
        assert runner.asked == ["random, seed 1", "wsl, seed 1"]
        assert len(list((shared / "s").iterdir())) == 4
        assert table(shared / "rounds.csv") == table(tmp_path / "two" / "s" / "rounds.csv")
        with pytest.raises(StateError, match=r"shared/s: lr of random_seed0.*another last part"):
            study_of(tmp_path / "three" / "s", FakeRunner(), results_dir=str(shared), lr=0.5).run()
        study_of(tmp_path / "three" / "s", runner := FakeRunner(), lr=0.5).run()  # nothing foreign was kept
        assert runner.asked == ALL

    def test_results_are_shared_as_runs_end(self, tmp_path: Path) -> None:
        """A study that is killed leaves what it has found."""
        shared, seen = tmp_path / "shared", list[int]()
        runner = FakeRunner(then=lambda: seen.append(len(table(shared / "rounds.csv"))))
        study_of(tmp_path / "s", runner, results_dir=str(shared)).run()
        assert seen == [1, 2, 3, 4]

    def test_results_that_cannot_be_shared_yet_are_at_the_end(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        shared = tmp_path / "shared"
        blocked = shared / "s" / "random_seed1.json"

        def hinder_and_clear() -> None:
            if blocked.is_dir():
                blocked.rmdir()
            elif len(seen) == 1:
                blocked.mkdir()
            seen.append(1)

        seen: list[int] = []
        study_of(tmp_path / "s", FakeRunner(then=hinder_and_clear), results_dir=str(shared)).run()
        assert "random, seed 1 is not shared yet" in caplog.text
        assert len(table(shared / "rounds.csv")) == 4

    def test_a_place_that_cannot_be_written_is_told_before_the_first_run(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        for results_dir in ("file", "file/below"):
            with pytest.raises(StateError, match="cannot be written"):
                study_of(tmp_path / "s", runner := FakeRunner(), results_dir=str(tmp_path / results_dir)).run()
            assert runner.asked == []
        with pytest.raises(StateError, match="cannot be written"):
            study_of(tmp_path / "file" / "s", FakeRunner()).run()

    @pytest.mark.parametrize(
        "values", [{"split_name": 3}, {"data_name": 1.5}, {"results_dir": True}, {"split_name": None}]
    )
    def test_names_are_text(self, tmp_path: Path, values: dict[str, Any]) -> None:
        with pytest.raises(InputError, match=f"studies#{next(iter(values))}: value cannot be used"):
            study_of(tmp_path, FakeRunner(), **values)

    def test_unknown_runner(self, tmp_path: Path) -> None:
        data: Any = DATA
        with pytest.raises(InputError, match="runner: unknown runner; expected local; found 'cloud'"):
            Study(config_of(), data, str(tmp_path), "cloud", {"local": FakeRunner()}, ["random"], [0])


# ---- whole studies --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_study_that_is_killed_again_and_again_ends_in_the_same_table(tmp_path: Path) -> None:
    """By itself, so that its runs go on without it, and with all its processes; at random times.

    Where submitit is installed its jobs bring it to the end.
    """
    by_jobs = importlib.util.find_spec("submitit") is not None
    jobs = {"runner": "slurm", "studies#runners#slurm#cluster": "local"} if by_jobs else {}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start_study(whole).wait() == 0, (whole / "log.txt").read_text()[-3000:]
    log, rng = killed / "log.txt", random.Random(0)
    for start, (end, longest) in enumerate([(os.kill, 9.0), (os.killpg, 3.0)]):
        process = start_study(killed)
        while log.read_text().count("runs at a time") <= start:
            assert process.poll() is None, log.read_text()[-3000:]
            time.sleep(0.05)
        time.sleep(rng.uniform(0.0, longest))
        end(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    process = start_study(killed, jobs)
    assert process.wait() == 0, log.read_text()[-3000:]
    assert ("jobs of submitit" in log.read_text()) == by_jobs
    assert (killed / "out" / "rounds.csv").read_bytes() == (whole / "out" / "rounds.csv").read_bytes()
    logs = "".join(path.read_text() for path in (killed / "out").glob("*/seed0.log"))
    assert "in use by another process" not in logs
    assert len(list((killed / "out" / "stage0").glob("*.pt"))) == 1


@pytest.mark.slow
def test_ctrl_c_ends_a_study_quickly(tmp_path: Path) -> None:
    process = start_study(tmp_path)
    log = tmp_path / "out" / "random" / "seed0.log"
    while not log.exists():
        assert process.poll() is None, (tmp_path / "log.txt").read_text()[-3000:]
        time.sleep(0.05)
    time.sleep(1.0)
    begun = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    assert process.wait() == 130
    assert time.monotonic() - begun < 15
    told = (tmp_path / "log.txt").read_text()
    assert "interrupted. The same command goes on where this one stopped." in told
    assert "Traceback" not in told
    with pytest.raises(ProcessLookupError):  # no process of a run goes on
        os.killpg(process.pid, 0)
